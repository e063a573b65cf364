"""Derive what a definition wants its Secret to hold, from what Vault holds. Nothing here asks the program."""

import base64
import re
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from fake_kubernetes.documents import Json, Object, items, mapping, number, text
from tests.simulation.plan import Settings
from tests.simulation.servers import COMMON, Vault
from tests.simulation.workload import BROKEN_TEMPLATE

VARIABLE = re.compile(r"{{ (\w+)\.(\w+) }}")
"""A variable of a template: the name of a source, and a key of its document."""


class Wanted(NamedTuple):
    """The content of a definition's Secret."""

    versions: list[tuple[str, int]]
    """Each source by its path and the version that is read, sorted."""
    data: dict[str, str]
    reasons: set[str]
    """Reasons why the Secret can't be built; empty where it can."""
    covered: bool
    """Whether listings may hide the reasons: a path that becomes forbidden is not read before it changes."""


def wanted_by(definition: Object, namespace: str, vault: Vault, settings: Settings) -> Wanted:
    """Return what a definition wants."""
    allowed = {namespace, COMMON}
    if settings.restricted and not {_folder(path) for path in paths(definition)} <= allowed:
        return Wanted([], {}, {"PathNotAllowed"}, covered=False)
    if BROKEN_TEMPLATE in {text(each, "template") for each in mapping(definition, "spec", "keysMap").values()}:
        return Wanted([], {}, {"DefinitionInvalid"}, covered=False)
    reading = _Reading(vault, covered=settings.lists and settings.list_period > 0)
    spec = mapping(definition, "spec")
    named = {name: reading.document(source) for name, source in mapping(spec, "sources").items()}
    found: dict[str, _Value | None] = {}
    for entry in items(spec, "dataFrom"):
        found |= reading.all_of(entry)
    for key, source in mapping(spec, "keysMap").items():
        found[key] = (
            reading.rendered(text(source, "template"), named)
            if "template" in mapping(source)
            else (reading.field(source, text(source, "key")))
        )
    return reading.result(found)


def paths(definition: Object) -> set[str]:
    """Return all paths that a definition names."""
    spec = mapping(definition, "spec")
    places = (*mapping(spec, "keysMap").values(), *mapping(spec, "sources").values(), *items(spec, "dataFrom"))
    return {text(each, "path") for each in places} - {""}


def _folder(path: str) -> str:
    return path.removeprefix("secret/data/").split("/")[0]


class _Document(NamedTuple):
    values: Object
    readable: bool


class _Value(NamedTuple):
    """A text that was found, and how it is written."""

    text: str
    readable: bool = True
    encoding: str = ""
    property: str = ""

    def decoded(self) -> str | None:
        """Return what a definition takes from the text; None where that is not possible."""
        try:
            value = text(msgspec.json.decode(self.text), self.property) if self.property else self.text
            return base64.b64decode(value, validate=True).decode() if self.encoding == "base64" else value
        except (ValueError, msgspec.DecodeError):
            return None


class _Reading:
    """Reads the documents of one definition, and notes what is wrong."""

    def __init__(self, vault: Vault, *, covered: bool) -> None:
        self._vault = vault
        self._covered = covered
        self._reasons: set[str] = set()
        self._versions: dict[tuple[str, int], tuple[str, int]] = {}

    def document(self, source: Json) -> _Document | None:
        """Read what a source names; None where there is nothing."""
        path, fixed = text(source, "path"), number(source, "version")
        folder, held = _folder(path), self._vault.held(path.removeprefix("secret/data/"), fixed)
        readable = self._vault.readable[folder]
        if not readable:
            self._reasons.add("SourceForbidden")
            self._covered = self._covered and self._vault.listable[folder] and held is not None
        if held is None:
            self._miss(readable=readable)
            return None
        self._versions[path, fixed] = (path, held[0])
        return _Document(held[1], readable)

    def field(self, source: Json, name: str) -> _Value | None:
        """Read one key of a document."""
        return self._value(self.document(source), name, text(source, "encoding"), text(source, "property"))

    def all_of(self, entry: Json) -> dict[str, _Value | None]:
        """Read all keys of a document that an entry of `dataFrom` takes."""
        document = self.document(entry)
        if document is None:
            return {}
        include, exclude = ([str(glob) for glob in items(entry, field)] for field in ("include", "exclude"))
        names = [
            name
            for name in document.values
            if (not include or any(fnmatchcase(name, glob) for glob in include))
            and not any(fnmatchcase(name, glob) for glob in exclude)
        ]
        if not names and document.readable:
            self._reasons.add("SourceInvalid")
        renamed, prefix, encoding = mapping(entry, "rename"), text(entry, "prefix"), text(entry, "encoding")
        return {text(renamed, name) or prefix + name: self._value(document, name, encoding, "") for name in names}

    def rendered(self, template: str, named: dict[str, _Document | None]) -> _Value | None:
        """Fill in the variables of a template."""
        values = {match: self._value(named[match[0]], match[1], "", "") for match in VARIABLE.findall(template)}
        if None in values.values():
            return None
        return _Value(VARIABLE.sub(lambda match: _text(values[match.groups()]), template))

    def result(self, found: dict[str, _Value | None]) -> Wanted:
        """Decode all values."""
        data: dict[str, str] = {}
        for key, value in found.items():
            decoded = None if value is None else value.decoded()
            if decoded is not None:
                data[key] = decoded
            elif value is not None and value.readable:
                self._reasons.add("SourceInvalid")
        return Wanted(sorted(self._versions.values()), data, self._reasons, self._covered)

    def _value(self, document: _Document | None, name: str, encoding: str, property_: str) -> _Value | None:
        if document is None:
            return None
        if name not in document.values:
            self._miss(readable=document.readable)
            return None
        return _Value(text(document.values, name), document.readable, encoding, property_)

    def _miss(self, *, readable: bool) -> None:
        """Note that something is not there."""
        self._covered = False
        if readable:
            self._reasons.add("SourceNotFound")


def _text(value: _Value | None) -> str:
    return "" if value is None else value.text
