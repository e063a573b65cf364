"""Find fields that the CRD does not have: the API server refuses them, as kubectl requests strict validation."""

from collections.abc import Iterator
from functools import cache

import msgspec

from secrets_manager.controller import crd
from secrets_manager.kube.objects import Content


class _Schema(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a structural schema that lists the fields."""

    properties: dict[str, "_Schema"] = {}
    additional_properties: "_Schema | None" = None
    items: "_Schema | None" = None

    def below(self, name: str) -> "_Schema | None":
        return self.properties.get(name, self.additional_properties)


METADATA = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""The fields of ObjectMeta (k8s.io/apimachinery), which are not in a CRD."""


def unknown_fields(content: Content) -> list[str]:
    """Return the paths of all unknown fields."""
    if not isinstance(content, dict):
        return []
    metadata = content.get("metadata")
    unknown = [f"metadata.{name}" for name in metadata if name not in METADATA] if isinstance(metadata, dict) else []
    others: Content = {name: value for name, value in content.items() if name != "metadata"}
    return [*unknown, *_unknown(others, _schema(), "")]


def _unknown(value: Content, schema: _Schema, path: str) -> Iterator[str]:
    if isinstance(value, list) and schema.items is not None:
        for number, item in enumerate(value):
            yield from _unknown(item, schema.items, f"{path}[{number}]")
    if isinstance(value, dict):
        for name, part in value.items():
            location = f"{path}.{name}" if path else f"{name}"
            below = schema.below(str(name))
            if below is None:
                yield location
            else:
                yield from _unknown(part, below, location)


@cache
def _schema() -> _Schema:
    return msgspec.convert(crd.schema(), _Schema)
