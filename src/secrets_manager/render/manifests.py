"""SecretDefinitions in files: YAML or JSON, one or many documents, folders of them, `kubectl get -o yaml`'s lists.

A file that is no YAML ends all: nobody knows what else it should have held. Other kinds of objects lie between the
definitions in most folders and are passed over.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec
import yaml

from secrets_manager.controller.definition import API_VERSION, KIND, InvalidSpec, SecretDefinition, decode
from secrets_manager.errors import UsageError
from secrets_manager.kube.objects import without_nulls
from secrets_manager.render.admission import unknown_fields

SUFFIXES = (".json", ".yaml", ".yml")
STDIN = "-"


class Found(NamedTuple):
    """One definition, or why there is none in its document, and where that stands."""

    place: str
    definition: SecretDefinition | str


class Manifests(NamedTuple):
    """What the files hold, in their order. `passed_over` tells, a line each, of documents that are something else."""

    found: list[Found]
    passed_over: list[str]


class _Document(NamedTuple):
    place: str
    content: object


class _Header(msgspec.Struct, rename="camel"):
    """What tells the kind of an object."""

    kind: str = ""
    api_version: str = ""


def load(paths: Sequence[str], *, stdin: TextIO) -> Manifests:
    """Read all files, and those in folders. It blocks on the disk.

    Raises: UsageError for a file that can't be read, or for files without any definition.
    """
    found: list[Found] = []
    passed_over: list[str] = []
    for document in (document for path in paths for document in _documents(path, stdin)):
        header = _header(document.content)
        if header == _Header(KIND, API_VERSION):
            found.append(Found(document.place, _definition(document.content)))
        else:
            what = f"{header.kind or 'no object of Kubernetes'} {header.api_version}".rstrip()
            passed_over.append(f"{document.place} is passed over: it is {what}")
    if not found:
        raise UsageError(f"there is no {KIND} of {API_VERSION} in {', '.join(paths)}")
    return Manifests(found, passed_over)


def _documents(path: str, stdin: TextIO) -> Iterator[_Document]:
    for name, text in _texts(path, stdin):
        for number, content in enumerate(_parsed(name, text), start=1):
            if content is not None:
                yield from _items(f"{name}, document {number}", content)


def _items(place: str, content: object) -> Iterator[_Document]:
    """The objects of a list, or the one object that it is."""
    if isinstance(content, dict) and str(content.get("kind", "")).endswith("List") and _is_list(content.get("items")):
        for number, item in enumerate(content["items"], start=1):
            yield _Document(f"{place}, item {number}", item)
    else:
        yield _Document(place, content)


def _is_list(items: object) -> bool:
    return isinstance(items, list)


def _texts(path: str, stdin: TextIO) -> Iterator[tuple[str, str]]:
    try:
        if path == STDIN:
            yield "standard input", stdin.read()
            return
        for file in _files(Path(path)):
            yield str(file), file.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename or path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} can't be read: it is not UTF-8") from None


def _files(path: Path) -> list[Path]:
    """The file itself, or all manifests below a folder, without hidden ones."""
    if not path.is_dir():
        return [path]
    below = (file for file in sorted(path.rglob("*")) if file.suffix in SUFFIXES and file.is_file())
    return [file for file in below if not any(part.startswith(".") for part in file.relative_to(path).parts)]


def _parsed(name: str, text: str) -> list[object]:
    try:
        return list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{name} is no YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"{name} is no YAML: it holds a character or a date that can't be, or is too deep") from None


def _header(content: object) -> _Header:
    try:
        return msgspec.convert(content, _Header)
    except msgspec.ValidationError:
        return _Header()


def _definition(content: object) -> SecretDefinition | str:
    """Read a definition as the controller is shown it, or tell why it never is."""
    try:
        content = without_nulls(content)
        definition = decode(msgspec.json.encode(content))
    except msgspec.MsgspecError as error:
        return f"it can't be read: {error}"
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "it can't be read: it holds what JSON has no form for"
    if not definition.metadata.name:
        return "it has no metadata.name"
    if unknown := unknown_fields(content):
        fault = f"there is no field {' nor '.join(unknown)}: correct its name or place, for kubectl refuses it"
        return msgspec.structs.replace(definition, spec=InvalidSpec(fault))
    return definition
