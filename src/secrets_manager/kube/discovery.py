"""What an API server says of itself: its version, the resources of an API and the schemas of its kinds.

Every user that has logged in may read it, by the ClusterRole system:discovery.
"""

from typing import NamedTuple, TypeVar

import msgspec

from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import MalformedResponse
from secrets_manager.kube.objects import Wire

T = TypeVar("T")


class ServerVersion(NamedTuple):
    """The version of the server, such as v1.34.0, and the header Date of its response; empty without one."""

    version: str
    date: str


class _Version(Wire, frozen=True):
    git_version: str


class _Resource(Wire, frozen=True):
    name: str


class _Resources(Wire, frozen=True):
    resources: tuple[_Resource, ...]


class _Schema(msgspec.Struct, frozen=True):
    kinds: msgspec.Raw = msgspec.field(name="x-kubernetes-group-version-kind", default=msgspec.Raw(b"[]"))


class _GroupVersionKind(Wire, frozen=True):
    kind: str


class _Components(Wire, frozen=True):
    schemas: dict[str, msgspec.Raw]


class _OpenApi(Wire, frozen=True):
    components: _Components


async def server_version(client: KubeClient) -> ServerVersion:
    """Return the version of the server.

    Raises:
        KubeError: A request failed, as for those below.
    """
    response = await client.read("/version")
    return ServerVersion(_decoded(response.body, _Version, "/version").git_version, response.headers.get("Date", ""))


async def resources(client: KubeClient, api_version: str) -> frozenset[str]:
    """Return the names of an API's resources; those of subresources have a slash in them.

    Raises:
        NotFound: There is no such API.
    """
    path = f"/apis/{api_version}"
    return frozenset(each.name for each in _decoded((await client.read(path)).body, _Resources, path).resources)


async def schema(client: KubeClient, api_version: str, kind: str, shape: type[T]) -> T | None:
    """Return the schema of a kind, decoded as `shape`; None if the API does not describe it."""
    path = f"/openapi/v3/apis/{api_version}"
    document = _decoded((await client.read(path)).body, _OpenApi, path)
    for each in document.components.schemas.values():
        kinds = _decoded(_decoded(each, _Schema, path).kinds, tuple[_GroupVersionKind, ...], path)
        if any(known.kind == kind for known in kinds):
            return _decoded(each, shape, path)
    return None


def _decoded(body: bytes | msgspec.Raw, shape: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedResponse(f"GET {path}: the response does not match the API") from None
