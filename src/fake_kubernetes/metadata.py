"""What holds for the metadata of every kind: which names and labels can be, and which fields the server owns."""

import json
import re
from collections.abc import Iterator

from fake_kubernetes.documents import Object, at, items, mapping, number, text, with_metadata
from fake_kubernetes.kinds import NAMESPACE, Kind
from fake_kubernetes.refusals import Cause, forbidden_change, required, wrong

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
MAX_NAME = 253
MAX_LABEL = 63
MAX_ANNOTATIONS = 256 * 1024

OWNED_BY_SERVER = (
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def tidy(document: Object) -> Object:
    """Take out what is empty, as the real server's encoder does."""
    metadata = mapping(document, "metadata")
    kept: Object = {name: value for name, value in metadata.items() if value not in (None, "", {}, [])}
    return {**document, "metadata": kept}


def kept_from(before: Object, after: Object) -> Object:
    """Give the new state the fields that no client may set."""
    earlier = mapping(before, "metadata")
    return tidy(with_metadata(after, **{name: earlier.get(name) for name in OWNED_BY_SERVER}))


def causes(kind: Kind, document: Object) -> Iterator[Cause]:
    metadata = mapping(document, "metadata")
    yield from name_causes(kind, text(metadata, "name"))
    yield from key_causes("metadata.labels", mapping(metadata, "labels"))
    for value in mapping(metadata, "labels").values():
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value) or len(value) > MAX_LABEL:
            yield wrong("metadata.labels", json.dumps(value), "a valid label must be an empty string or consist of ...")
    annotations = mapping(metadata, "annotations")
    yield from key_causes("metadata.annotations", {key.lower(): value for key, value in annotations.items()})
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > MAX_ANNOTATIONS:
        yield Cause("metadata.annotations", "FieldValueTooLong", f"Too long: must have at most {MAX_ANNOTATIONS} bytes")
    for index, owner in enumerate(items(metadata, "ownerReferences")):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not text(owner, field):
                yield wrong(f"metadata.ownerReferences[{index}].{field}", '""', "must not be empty")
    if sum(at(owner, "controller") is True for owner in items(metadata, "ownerReferences")) > 1:
        why = "Only one reference can have Controller set to true"
        yield wrong("metadata.ownerReferences", '"..."', why)
    for finalizer in items(metadata, "finalizers"):
        yield from key_causes("metadata.finalizers", {str(finalizer): None})
        if "/" not in str(finalizer) and not kind.custom:
            yield wrong(
                "metadata.finalizers", json.dumps(finalizer), "name is neither a standard finalizer name nor ..."
            )


def name_causes(kind: Kind, name: str) -> Iterator[Cause]:
    form, limit, words = SUBDOMAIN, MAX_NAME, "a lowercase RFC 1123 subdomain must consist of ..."
    if kind == NAMESPACE:
        form, limit, words = LABEL, MAX_LABEL, "a lowercase RFC 1123 label must consist of ..."
    if not name:
        yield Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
    elif not form.fullmatch(name):
        yield wrong("metadata.name", json.dumps(name), words)
    elif len(name) > limit:
        yield wrong("metadata.name", json.dumps(name), f"must be no more than {limit} characters")


def key_causes(field: str, keys: Object) -> Iterator[Cause]:
    for key in keys:
        prefix, slash, name = key.rpartition("/")
        if not QUALIFIED.fullmatch(name) or len(name) > MAX_LABEL:
            yield wrong(field, json.dumps(key), "name part must consist of alphanumeric characters, ...")
        if slash and (not SUBDOMAIN.fullmatch(prefix) or len(prefix) > MAX_NAME):
            yield wrong(field, json.dumps(key), "prefix part a lowercase RFC 1123 subdomain must consist of ...")


def update_causes(before: Object, after: Object) -> Iterator[Cause]:
    """Say what a client may not change."""
    uid = text(after, "metadata", "uid")
    if uid and uid != text(before, "metadata", "uid"):
        yield wrong("metadata.uid", json.dumps(uid), "field is immutable")
    if text(before, "metadata", "deletionTimestamp"):
        present = items(before, "metadata", "finalizers")
        new = [str(each) for each in items(after, "metadata", "finalizers") if each not in present]
        if new:
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {new}"
            yield forbidden_change("metadata.finalizers", why)


def next_generation(kind: Kind, before: Object, after: Object) -> int | None:
    """Count the changes of what the user wrote, for kinds that have a generation."""
    current = number(before, "metadata", "generation")
    if not current:
        return None
    ignored = ("metadata", "status") if kind.status_subresource else ("metadata",)
    same = {name: before[name] for name in before if name not in ignored} == {
        name: after[name] for name in after if name not in ignored
    }
    return current if same else current + 1


def missing(field: str, document: Object) -> Iterator[Cause]:
    if not at(document, *field.split(".")):
        yield required(field)
