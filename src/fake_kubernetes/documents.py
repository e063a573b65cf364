"""JSON documents as the Kubernetes API speaks them, and safe ways to read what a client sent.

Any field may be missing or of another type than expected. The readers here answer with an empty value then; what
must not pass is said by validation, not by a crash at the place that reads. Documents are never changed in place:
the storage, its history and every watch share them.
"""

from typing import TypeAlias

import msgspec

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]


def parse(content: bytes) -> Object:
    """Read one JSON object. Raises: ValueError for anything else."""
    value: Json = msgspec.json.decode(content)
    if not isinstance(value, dict):
        raise ValueError("a JSON object was expected")  # noqa: TRY004 - one error for all that can't be a document
    return value


def at(value: Json, *path: str) -> Json:
    """Look up what stands at the end of the path, None where there is nothing."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def text(value: Json, *path: str) -> str:
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def number(value: Json, *path: str) -> int:
    found = at(value, *path)
    return found if isinstance(found, int) else 0


def mapping(value: Json, *path: str) -> Object:
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def items(value: Json, *path: str) -> list[Json]:
    found = at(value, *path)
    return found if isinstance(found, list) else []


def without(document: Object, *names: str) -> Object:
    return {name: value for name, value in document.items() if name not in names}


def with_metadata(document: Object, **changes: Json) -> Object:
    """Copy the document with some fields of `metadata` set, or taken out where the new value is None."""
    metadata = mapping(document, "metadata") | changes
    return {**document, "metadata": {name: value for name, value in metadata.items() if value is not None}}
