"""Compute the desired Secret from the definition and the documents of the backend. Pure.

`resolve` finds the value, or the problem, of each key; `desired` combines them into a Secret, or a problem.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from secrets_manager.backends import BackendError, Document, Source
from secrets_manager.controller import encoding, secret
from secrets_manager.controller.data_from import TOO_MANY_NAMES, Work, chosen_keys
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.documents import Documents, json_fields, value_at
from secrets_manager.controller.problem import Problem, read_problem, summarize
from secrets_manager.controller.spec import DataFrom, DataSource, Spec
from secrets_manager.controller.templated import Texts, has_templates
from secrets_manager.controller.validation import MAX_SECRET_BYTES, validate_data

Resolved = Mapping[str, bytes | Problem]
"""The value or the problem of each key, and the problem of each entry of `dataFrom` that has one: `dataFrom[0]`."""


NO_TEXTS: Texts = MappingProxyType({})

_Fields = Callable[[str], Mapping[str, str | None] | None]
"""`json_fields`, which takes each text apart once: thousands of keys may be fields of one value."""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The desired content of a Secret. Its repr shows no value."""

    name: str
    type: str
    data: dict[str, bytes]
    digest: bytes
    immutable: bool = False
    inputs: tuple[str, ...] | None = ()
    """Values that are in `data` only as parts, as templates were made from them: no message may quote them either.

    None where they are too many to be kept.
    """

    @property
    def values(self) -> Iterable[bytes] | None:
        """All that no message may quote; None where that may be any text."""
        if self.inputs is None:
            return None
        return chain(self.data.values(), (text.encode(errors="replace") for text in self.inputs))

    def __repr__(self) -> str:
        return f"Desired({self.name!r}, type={self.type!r}, keys={sorted(self.data)})"


def resolve(spec: Spec, documents: Documents, texts: Texts = NO_TEXTS) -> Resolved:
    """Return the value or the problem of each key. A key that later ones replace is not resolved.

    `texts` are those of its templates. What is made of a value is made once, however many keys it serves.
    """
    return dict(filter(None, resolving(spec, documents, texts)))


def resolving(spec: Spec, documents: Documents, texts: Texts) -> Iterator[tuple[str, bytes | Problem] | None]:
    """Yield what `resolve` returns, and None where others are to have a turn.

    It may take long: the caller decides what runs between two of them. What has more names than a Secret holds is not
    resolved.
    """
    fields: _Fields = cache(json_fields)
    decode = cache(_decode)
    work = Work()
    taken: dict[str, _Taken] = {}
    for number, entry in enumerate(spec.data_from):
        found = yield from _taken(entry, spec, documents, fields, work, where=f"dataFrom[{number}]")
        if isinstance(found, _Taken):
            taken |= dict.fromkeys(found.names, found)
            yield None
        if found is TOO_MANY_NAMES or sum(map(len, taken)) > MAX_SECRET_BYTES:
            yield f"dataFrom[{number}]", TOO_MANY_NAMES
            return
        if isinstance(found, Problem):
            yield f"dataFrom[{number}]", found
    for key in sorted([*taken, *(spec.keys_map.keys() - taken.keys())]):  # faster than a set: they are in order mostly
        data_source = spec.keys_map.get(key)
        text, encoded, where = (
            taken[key].found(key) if data_source is None else _found(key, data_source, documents, texts, fields)
        )
        value = text if isinstance(text, Problem) else decode(text, encoded)
        yield key, Problem(Reason.SOURCE_INVALID, f"{where}: {value}") if isinstance(value, str) else value


def desired(spec: Spec, documents: Documents, texts: Texts = NO_TEXTS) -> Desired | Problem:
    """Return the desired Secret, or a problem if any key has one."""
    return combine(spec, resolve(spec, documents, texts), inputs=inputs_of(spec, documents, texts))


def combine(spec: Spec, resolved: Resolved, *, inputs: tuple[str, ...] | None = ()) -> Desired | Problem:
    """Combine the values of all keys into the desired Secret."""
    problems = [value for value in resolved.values() if isinstance(value, Problem)]
    if problems:
        return summarize(problems)
    data = {key: value for key, value in resolved.items() if isinstance(value, bytes)}
    problem = validate_data(spec.secret_type, data)
    if problem is not None:
        return problem
    return Desired(
        name=spec.name,
        type=spec.secret_type,
        data=data,
        digest=secret.digest(data),
        immutable=spec.immutable,
        inputs=inputs,
    )


def inputs_of(spec: Spec, documents: Documents, texts: Texts) -> tuple[str, ...] | None:
    """Return the values of the sources of templates, and what their filters made of them; None if that is not kept.

    They are as they are: encoding them takes long, and few are ever needed.
    """
    if not has_templates(spec):
        return ()
    found = (documents[named.source] for named in spec.sources.values())
    whole = [text for each in found if isinstance(each, Document) for text in each.values.values()]
    parts: list[str] = []
    for made in texts.values():
        if isinstance(made, Problem):
            continue
        if made.parts is None:
            return None
        parts += made.parts
    return tuple(filter(None, (*whole, *parts)))


class _Found(NamedTuple):
    """The text that was found for a key of the Secret, and where."""

    text: str | Problem
    encoding: str
    where: str


def _decode(text: str, encoded: str) -> bytes | str:
    """Return the value, or why there is none."""
    try:
        return encoding.decode(text, encoded)
    except encoding.EncodingError as error:
        return str(error)


class _Taken(NamedTuple):
    """What an entry of `dataFrom` takes. `names` are those in the document, by the keys of the Secret."""

    names: Mapping[str, str]
    values: Mapping[str, str | None]
    encoding: str
    source: Source

    def found(self, key: str) -> _Found:
        name = self.names[key]
        where = f"key {key}: {name!r} at {self.source}"
        return _Found(value_at(self.values, name, where, remedy="exclude it"), self.encoding, where)


def _taken(
    entry: DataFrom, spec: Spec, documents: Documents, fields: _Fields, work: Work, *, where: str
) -> Generator[None, None, _Taken | Problem]:
    """Find the keys that an entry of `dataFrom` takes."""
    source = spec.document(entry)
    assert source is not None, "validated"
    document = documents[source]
    if isinstance(document, BackendError):
        return read_problem(document, where=where)
    values = document.values
    if document.keyless:
        whole = fields(values[document.key("")] or "")
        if whole is None:
            text = f"{where}: {source} is one value and not a JSON object: write one, or take the value by keysMap"
            return Problem(Reason.SOURCE_INVALID, text)
        values = whole
    names = yield from chosen_keys(entry, values, work, where=f"{where}: {source}")
    return names if isinstance(names, Problem) else _Taken(names, values, entry.encoding, source)


def _found(key: str, data_source: DataSource, documents: Documents, texts: Texts, fields: _Fields) -> _Found:
    """Find the text of a key of `keysMap`."""
    where = f"key {key}"
    if data_source.template is not None:
        made = texts[key]
        text = made if isinstance(made, Problem) else made.text
        return _Found(text, data_source.encoding, f"{where}: template")
    source = data_source.source
    assert source is not None, "validated"
    document = documents[source]
    if isinstance(document, BackendError):
        text = read_problem(document, where=where)
    else:
        name = data_source.key or ""
        where = f"{where}: {name!r} at {source}"
        text = value_at(document.values, document.key(name), where, remedy="remove the key here")
        if data_source.property and isinstance(text, str):
            text = _property(fields(text), data_source.property, where)
    return _Found(text, data_source.encoding, where)


def _property(fields: Mapping[str, str | None] | None, name: str, where: str) -> str | Problem:
    """Return a field of a value; there are none if it is not a JSON object."""
    if fields is None:
        return Problem(Reason.SOURCE_INVALID, f"{where} is not a JSON object: write one, or remove property: {name}")
    return value_at(fields, name, f"{where}, property {name!r}", remedy="remove the key here")
