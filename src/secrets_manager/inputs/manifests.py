"""Load SecretDefinitions from files and folders: YAML or JSON, several documents, lists of `kubectl get -o yaml`.

A file that is not YAML is an error, as it may contain definitions. Objects of other kinds are skipped.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from secrets_manager.controller.decode_errors import fault
from secrets_manager.controller.definition import API_VERSION, KIND, SecretDefinition, decode
from secrets_manager.controller.spec import InvalidSpec
from secrets_manager.errors import UsageError
from secrets_manager.inputs.admission import unknown_fields
from secrets_manager.kube.objects import Content, without_nulls
from secrets_manager.kube.safeyaml import NotYaml, load_all

SUFFIXES = (".json", ".yaml", ".yml")
STDIN = "-"


class FoundDefinition(NamedTuple):
    """A definition, or why its document is not one, and its location."""

    location: str
    definition: SecretDefinition | str


class Manifests(NamedTuple):
    """The definitions of files, in order. `skipped` has a line for each other document."""

    found: list[FoundDefinition]
    skipped: list[str]

    @property
    def definitions(self) -> list[SecretDefinition]:
        """Those that could be read."""
        return [each.definition for each in self.found if isinstance(each.definition, SecretDefinition)]


class _Document(NamedTuple):
    location: str
    content: Content


class _Header(msgspec.Struct, rename="camel"):
    """The kind of an object."""

    kind: str = ""
    api_version: str = ""


def load(paths: Sequence[str], *, stdin: TextIO | None) -> Manifests:
    """Load all files, and those in folders. Blocks on the disk.

    Raises:
        UsageError: a file can't be read, or there is no definition.
    """
    found: list[FoundDefinition] = []
    skipped: list[str] = []
    for document in (document for path in paths for document in _documents(path, stdin)):
        header = _header(document.content)
        if header == _Header(KIND, API_VERSION):
            found.append(FoundDefinition(document.location, _definition(document.content)))
        else:
            what = f"{header.kind or 'not a Kubernetes object'} {header.api_version}".rstrip()
            skipped.append(f"{document.location} is skipped: it is {what}")
    if not found:
        raise UsageError(f"there is no {KIND} of {API_VERSION} in {', '.join(paths)}{_nearest(skipped)}")
    return Manifests(found, skipped)


def _nearest(skipped: Sequence[str]) -> str:
    """Return the end of a message: the skipped document that was most likely meant, if there is one."""
    return "".join(f": {line}" for line in sorted(skipped, key=lambda line: f" {KIND} " not in line)[:1])


def _documents(path: str, stdin: TextIO | None) -> Iterator[_Document]:
    for name, text in _texts(path, stdin):
        for number, content in enumerate(_parsed(name, text), start=1):
            if content is not None:
                yield from _items(f"{name}, document {number}", content)


def _items(location: str, content: Content) -> Iterator[_Document]:
    """Yield the objects of a list, or the object itself."""
    match content:
        case {"kind": str(kind), "items": list(items)} if kind.endswith("List"):
            for number, item in enumerate(items, start=1):
                yield _Document(f"{location}, item {number}", item)
        case _:
            yield _Document(location, content)


def _texts(path: str, stdin: TextIO | None) -> Iterator[tuple[str, str]]:
    try:
        if path == STDIN:
            if stdin is None:
                raise UsageError("standard input is closed: name a file")
            yield "standard input", stdin.read()
            return
        for file in _files(Path(path)):
            yield _printable(file), file.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename or path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} can't be read: it is not UTF-8") from None


def _printable(file: Path) -> str:
    """Return a path as text that can be encoded, whatever bytes it has."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _files(path: Path) -> list[Path]:
    """Return the file, or all manifests in a folder but hidden ones."""
    if not path.is_dir():
        return [path]
    below = (file for file in sorted(path.rglob("*")) if file.suffix in SUFFIXES and file.is_file())
    return [file for file in below if not any(part.startswith(".") for part in file.relative_to(path).parts)]


def _parsed(name: str, text: str) -> list[Content]:
    try:
        return load_all(text)
    except NotYaml as error:
        raise UsageError(f"{name} is not YAML{error.where}: {error.problem}") from None


def _header(content: Content) -> _Header:
    try:
        return msgspec.convert(content, _Header)
    except msgspec.ValidationError:
        return _Header()


def _definition(content: Content) -> SecretDefinition | str:
    """Decode a definition as the API server would return it; or return why it is refused."""
    try:
        content = without_nulls(content)
        definition = decode(msgspec.json.encode(content))
    except msgspec.MsgspecError as error:
        return f"it can't be read: {fault(error)}"
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "it can't be read: it has a value that JSON can't represent"
    if not definition.metadata.name:
        return "it has no metadata.name"
    if unknown := unknown_fields(content):
        message = f"there is no field {' nor '.join(unknown)}: correct its name or place, for kubectl refuses it"
        return msgspec.structs.replace(definition, spec=InvalidSpec(message))
    return definition
