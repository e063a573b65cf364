"""Kubernetes' own objects, reduced to the fields that this program uses."""

from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

LARGEST_OBJECT = 16 * 1024 * 1024
"""Bytes of JSON. etcd takes objects of 1.5 MiB by default; JSON may need six times that for what it must escape."""


class ObjectKey(NamedTuple):
    """What identifies an object of one kind: the only thing that travels on a work queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The form of everything that is sent to or read from the API: camelCase, defaults left out."""


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
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


class KubeObject(Protocol):
    """Whatever has metadata can be listed, watched and stored."""

    @property
    def metadata(self) -> ObjectMeta: ...


class ObjectReference(Wire, frozen=True):
    """Names the object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


def without_nulls(content: object) -> object:
    """The same without the fields that are null, at any depth: Kubernetes takes them for left out."""
    if isinstance(content, list):
        return [without_nulls(item) for item in content]
    if isinstance(content, dict):
        return {name: without_nulls(value) for name, value in content.items() if value is not None}
    return content


def micro_time(moment: datetime) -> str:
    """A moment as the API's MicroTime, which Events and Leases bear."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
