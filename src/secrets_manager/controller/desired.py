"""Compute the desired Secret from the definition and the documents of the backend. Pure.

`resolve` finds the value, or the problem, of each key; `desired` combines them into a Secret, or a problem.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from secrets_manager.backends import BackendError, Document, Source, text_of
from secrets_manager.controller import encoding, secret
from secrets_manager.controller.data_from import chosen_keys
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.problem import Problem, read_problem, summarize
from secrets_manager.controller.spec import DataFrom, DataSource, Spec
from secrets_manager.controller.validation import validate_data

Documents = Mapping[Source, Document | BackendError]
Resolved = Mapping[str, bytes | Problem]
"""The value or the problem of each key, and the problem of each entry of `dataFrom` that has one: `dataFrom[0]`."""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The desired content of a Secret. Its repr shows no value."""

    name: str
    type: str
    data: dict[str, bytes]
    digest: bytes
    immutable: bool = False

    def __repr__(self) -> str:
        return f"Desired({self.name!r}, type={self.type!r}, keys={sorted(self.data)})"


def resolve(spec: Spec, documents: Documents) -> Resolved:
    """Return the value or the problem of each key. A key that later ones replace is not resolved."""
    resolved: dict[str, bytes | Problem] = {}
    taken: dict[str, _Found] = {}
    for number, entry in enumerate(spec.data_from):
        found = _keys_of_document(entry, spec, documents, where=f"dataFrom[{number}]")
        if isinstance(found, Problem):
            resolved[f"dataFrom[{number}]"] = found
        else:
            taken |= found
    for key in sorted(taken.keys() | spec.keys_map.keys()):
        data_source = spec.keys_map.get(key)
        resolved[key] = taken[key].decode() if data_source is None else _value(key, data_source, documents)
    return resolved


def desired(spec: Spec, resolved: Resolved) -> Desired | Problem:
    """Return the desired Secret, or a problem if any key has one."""
    problems = [value for value in resolved.values() if isinstance(value, Problem)]
    if problems:
        return summarize(problems)
    data = {key: value for key, value in resolved.items() if isinstance(value, bytes)}
    problem = validate_data(spec.secret_type, data)
    if problem is not None:
        return problem
    return Desired(
        name=spec.name, type=spec.secret_type, data=data, digest=secret.digest(data), immutable=spec.immutable
    )


class _Found(NamedTuple):
    """The text that was found for a key of the Secret, and where."""

    text: str | Problem
    encoding: str
    where: str

    def decode(self) -> bytes | Problem:
        if isinstance(self.text, Problem):
            return self.text
        try:
            return encoding.decode(self.text, self.encoding)
        except encoding.EncodingError as error:
            return Problem(Reason.SOURCE_INVALID, f"{self.where}: {error}")


def _keys_of_document(entry: DataFrom, spec: Spec, documents: Documents, *, where: str) -> dict[str, _Found] | Problem:
    """Find the keys that an entry of `dataFrom` takes."""
    source = spec.document(entry)
    assert source is not None, "validated"
    document = documents[source]
    if isinstance(document, BackendError):
        return read_problem(document, where=where)
    values = document.values
    if document.keyless:
        fields = _fields(values[document.key("")] or "")
        if fields is None:
            text = f"{where}: {source} is one value and not a JSON object: write one, or take the value by keysMap"
            return Problem(Reason.SOURCE_INVALID, text)
        values = fields
    keys = chosen_keys(entry, values, where=f"{where}: {source}")
    if isinstance(keys, Problem):
        return keys
    found: dict[str, _Found] = {}
    for key, name in keys.items():
        place = f"key {key}: {name!r} at {source}"
        found[key] = _Found(_entry(values, name, place, "exclude it"), entry.encoding, place)
    return found


def _value(key: str, data_source: DataSource, documents: Documents) -> bytes | Problem:
    source = data_source.source
    assert source is not None, "validated"
    document = documents[source]
    if isinstance(document, BackendError):
        return read_problem(document, where=f"key {key}")
    name = data_source.key or ""
    where = f"key {key}: {name!r} at {source}"
    text = _entry(document.values, document.key(name), where, "remove the key here")
    if data_source.property and isinstance(text, str):
        text = _property(text, data_source.property, where)
    return _Found(text, data_source.encoding, where).decode()


def _property(text: str, name: str, where: str) -> str | Problem:
    """Return a field of a value that is a JSON object."""
    fields = _fields(text)
    if fields is None:
        return Problem(Reason.SOURCE_INVALID, f"{where} is not a JSON object: write one, or remove property: {name}")
    return _entry(fields, name, f"{where}, property {name!r}", "remove the key here")


def _fields(text: str) -> dict[str, str | None] | None:
    """Return the fields of a JSON object as texts; None if it is not one."""
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return {field: text_of(value) for field, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _entry(values: Mapping[str, str | None], name: str, where: str, remedy: str) -> str | Problem:
    if name not in values:
        return Problem(Reason.SOURCE_NOT_FOUND, f"{where} does not exist: write it, or correct the name")
    text = values[name]
    if text is None:
        return Problem(Reason.SOURCE_INVALID, f"{where} is null: give it a value, or {remedy}")
    return text
