"""Compute the desired Secret from the definition and the documents of the backend. Pure.

`resolve` finds the value, or the problem, of each key; `desired` combines them into a Secret, or a problem.
"""

from collections.abc import Mapping

import msgspec

from secrets_manager.backends import BackendError, Document, Source, text_of
from secrets_manager.controller import encoding, secret
from secrets_manager.controller.definition import DataSource, Reason, Spec
from secrets_manager.controller.problem import Problem, read_problem, summarize
from secrets_manager.controller.validation import validate_data

Documents = Mapping[Source, Document | BackendError]
Resolved = Mapping[str, bytes | Problem]


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The desired content of a Secret. Its repr shows no value."""

    name: str
    type: str
    data: dict[str, bytes]
    digest: bytes

    def __repr__(self) -> str:
        return f"Desired({self.name!r}, type={self.type!r}, keys={sorted(self.data)})"


def resolve(spec: Spec, documents: Documents) -> Resolved:
    """Return the value or the problem of each key."""
    return {key: _value(key, spec.keys_map[key], documents) for key in sorted(spec.keys_map)}


def desired(spec: Spec, resolved: Resolved) -> Desired | Problem:
    """Return the desired Secret, or a problem if any key has one."""
    problems = [value for value in resolved.values() if isinstance(value, Problem)]
    if problems:
        return summarize(problems)
    data = {key: value for key, value in resolved.items() if isinstance(value, bytes)}
    problem = validate_data(spec.secret_type, data)
    if problem is not None:
        return problem
    return Desired(name=spec.name, type=spec.secret_type, data=data, digest=secret.digest(data))


def _value(key: str, data_source: DataSource, documents: Documents) -> bytes | Problem:
    document = documents[data_source.source]
    if isinstance(document, BackendError):
        return read_problem(document, key=key)
    where = f"key {key}: {data_source.key!r} at {data_source.source}"
    text = _entry(document.values, document.key(data_source.key), where)
    if data_source.property and isinstance(text, str):
        text = _property(text, data_source.property, where)
    if isinstance(text, Problem):
        return text
    try:
        return encoding.decode(text, data_source.encoding)
    except encoding.EncodingError as error:
        return Problem(Reason.SOURCE_INVALID, f"{where}: {error}")


def _property(text: str, name: str, where: str) -> str | Problem:
    """Return a field of a value that is a JSON object."""
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        fields = {field: text_of(value) for field, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Problem(Reason.SOURCE_INVALID, f"{where} is not a JSON object: write one, or remove property: {name}")
    return _entry(fields, name, f"{where}, property {name!r}")


def _entry(values: Mapping[str, str | None], name: str, where: str) -> str | Problem:
    if name not in values:
        return Problem(Reason.SOURCE_NOT_FOUND, f"{where} does not exist: write it, or correct the name")
    text = values[name]
    if text is None:
        return Problem(Reason.SOURCE_INVALID, f"{where} is null: give it a value, or remove the key here")
    return text
