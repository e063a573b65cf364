"""Kubernetes types, with the fields that this program uses."""

from datetime import UTC, date, datetime
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

MAX_OBJECT_BYTES = 16 * 1024 * 1024
"""Bytes of JSON. etcd takes objects of 1.5 MiB by default; escaping in JSON may need six times that."""

Content: TypeAlias = "dict[object, Content] | list[Content] | str | bytes | bool | int | float | date | None"
"""What a document of YAML or JSON holds."""


class ObjectKey(NamedTuple):
    """Namespace and name of an object: client-go's ObjectName, the key of stores and queues."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The JSON form of the API: camelCase, defaults omitted."""


class OwnerReference(Wire, frozen=True):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Wire, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


class KubeObject(Protocol):
    """Any object with metadata."""

    @property
    def metadata(self) -> ObjectMeta: ...


class ObjectReference(Wire, frozen=True):
    """A reference to the object that an Event regards."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


def without_nulls(content: Content) -> Content:
    """Return the content without null fields, at any depth: to Kubernetes null means absent."""
    if isinstance(content, list):
        return [without_nulls(item) for item in content]
    if isinstance(content, dict):
        return {name: without_nulls(value) for name, value in content.items() if value is not None}
    return content


def micro_time(moment: datetime) -> str:
    """Format a time as MicroTime, which Events and Leases use."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
