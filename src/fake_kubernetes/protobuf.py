"""The binary form in which `kubectl create namespace` and `kubectl create secret` send their objects.

Kubernetes wraps a message in an envelope: four magic bytes, then the type and the raw bytes. Only what those commands
send is known here; the numbers are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery.
"""

import base64
from collections.abc import Iterator
from typing import NamedTuple

from fake_kubernetes.documents import Json, Object, mapping, text

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
FIXED = {FIXED_64: 8, FIXED_32: 4}


class Field(NamedTuple):
    """`form` is text, bytes, bool, a map's value form behind `map:`, or the name of a message."""

    name: str
    form: str
    repeated: bool = False


MESSAGES: dict[str, dict[int, Field]] = {
    "Unknown": {1: Field("type", "TypeMeta"), 2: Field("raw", "bytes")},
    "TypeMeta": {1: Field("apiVersion", "text"), 2: Field("kind", "text")},
    "Namespace": {1: Field("metadata", "ObjectMeta")},
    "Secret": {
        1: Field("metadata", "ObjectMeta"),
        2: Field("data", "map:bytes"),
        3: Field("type", "text"),
        4: Field("stringData", "map:text"),
        5: Field("immutable", "bool"),
    },
    "ObjectMeta": {
        1: Field("name", "text"),
        2: Field("generateName", "text"),
        3: Field("namespace", "text"),
        5: Field("uid", "text"),
        6: Field("resourceVersion", "text"),
        11: Field("labels", "map:text"),
        12: Field("annotations", "map:text"),
        14: Field("finalizers", "text", repeated=True),
    },
}


def parse(content: bytes) -> Object:
    """Read an envelope and the object in it. Raises: ValueError, also for kinds that are not known here."""
    if not content.startswith(MAGIC):
        raise ValueError("not an envelope of Kubernetes")
    envelope = message("Unknown", content[len(MAGIC) :])
    head, raw = mapping(envelope, "type"), text(envelope, "raw")
    kind = text(head, "kind")
    if kind not in ("Namespace", "Secret"):
        raise ValueError("this kind is not known in protobuf")
    return head | message(kind, base64.b64decode(raw))


def message(name: str, content: bytes) -> Object:
    known = MESSAGES[name]
    document: Object = {}
    for number, value in wire_fields(content):
        field = known.get(number)
        if field is None:
            continue
        if field.form.startswith("map:") and isinstance(value, bytes):
            entry = dict(wire_fields(value))
            pairs = document.setdefault(field.name, {})
            assert isinstance(pairs, dict)
            pairs[str(scalar("text", entry.get(1, b"")))] = scalar(field.form.removeprefix("map:"), entry.get(2, b""))
        elif field.repeated:
            listed = document.setdefault(field.name, [])
            assert isinstance(listed, list)
            listed.append(scalar(field.form, value))
        else:
            document[field.name] = scalar(field.form, value)
    return document


def scalar(form: str, value: bytes | int) -> Json:
    """Turn one value of the wire into its JSON; bytes are base64 there, as in a Secret."""
    if isinstance(value, int):
        return bool(value) if form == "bool" else value
    if form == "text":
        return value.decode()
    if form == "bytes":
        return base64.b64encode(value).decode()
    return message(form, value)


def wire_fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Split a message into its fields. Raises: ValueError for one that is cut."""
    at = 0
    while at < len(content):
        key, at = varint(content, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(content, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = varint(content, at)
        else:
            size = FIXED.get(wire, len(content) + 1)
        if at + size > len(content):
            raise ValueError("the message is cut")
        yield number, content[at : at + size]
        at += size


def varint(content: bytes, at: int) -> tuple[int, int]:
    """Read a number and tell where it ends. Raises: ValueError."""
    value = shift = 0
    for end in range(at, len(content)):
        value |= (content[end] & 0x7F) << shift
        shift += 7
        if not content[end] & 0x80:
            return value, end + 1
    raise ValueError("the number is cut")
