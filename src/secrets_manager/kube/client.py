"""A client for the Kubernetes API: typed requests, decoded responses. One method is one request (restclient.py)."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import TypeVar

import httpx
import msgspec

from secrets_manager.kube.credentials import Cluster
from secrets_manager.kube.errors import MalformedResponse
from secrets_manager.kube.objects import MAX_OBJECT_BYTES, KubeObject, ObjectKey, Wire
from secrets_manager.kube.page import Page, decode_page
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.restclient import JSON, WATCH_READ_TIMEOUT, RequestCounter, RestClient, no_count
from secrets_manager.kube.warning import parse_warnings
from secrets_manager.net.client import HttpClient, Response
from secrets_manager.net.hosts import for_messages
from secrets_manager.net.transport import Transport

T = TypeVar("T", bound=KubeObject)

FIELD_MANAGER = "secrets-manager"
USER_AGENT = f"secrets-manager/{version('secrets-manager')}"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

WarningHandler = Callable[[str], None]
"""Called with each warning of a response; see kube/warning.py."""


class _Preconditions(Wire, frozen=True):
    uid: str
    resource_version: str = ""


class _DeleteOptions(Wire, frozen=True, omit_defaults=False):
    preconditions: _Preconditions
    api_version: str = "v1"
    kind: str = "DeleteOptions"
    propagation_policy: str = "Background"


class _Kind(Wire, frozen=True):
    """The response to a deletion: the object or a Status."""

    kind: str


_kind_decoder = msgspec.json.Decoder(_Kind)


class KubeClient:
    """A client of one API server. Every method raises KubeError; see kube/errors.py."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def with_own_throttle(self) -> "KubeClient":
        """Return a client that does not wait while this one is throttled."""
        return KubeClient(self._rest.with_own_throttle())

    async def list_page(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[T]:
        """Return the first page of a list, or the page after `continue_token`, of the same snapshot.

        Raises:
            Expired: The token is too old: start the list over.
            ResponseTooLarge: Retry with a smaller `limit` and the same token.
        """
        path = resource.path(namespace)
        query = {"limit": str(limit), "labelSelector": label_selector, "continue": continue_token}
        accept = METADATA_LIST if resource.metadata_only else JSON
        response = await self._rest.request("GET", path, query=query, accept=accept)
        with _translating_decode_errors(f"GET {path}"):
            return await decode_page(resource, response.body)

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Stream the events after `resource_version`: one JSON object per line, in chunks of any size.

        The server ends the stream after about `timeout_seconds`. Errors while reading are raised inside the block.

        Raises:
            Expired: The version is too old: list again.
            WatchTimedOut: Nothing came within the read timeout.
        """
        path = resource.path(namespace)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": f"{timeout_seconds:.0f}",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
        }
        async with self._rest.stream(path, query, accept=_accept(resource)) as chunks:
            yield chunks

    async def read(self, path: str) -> Response:
        """Return the response to a GET of a path that is no resource, such as /version."""
        return await self._rest.request("GET", path)

    async def get(self, resource: Resource[T], key: ObjectKey) -> T:
        return await self._request_object(resource, "GET", resource.path(key.namespace, key.name))

    async def create(
        self,
        resource: Resource[T],
        namespace: str,
        body: msgspec.Struct | Mapping[str, object],
        *,
        dry_run: bool = False,
        on_warning: WarningHandler | None = None,
    ) -> T:
        """Create an object; with `dry_run` the server checks all as if it would, and stores nothing.

        Raises:
            AlreadyExists: Also when an earlier attempt succeeded and its response was lost.
        """
        return await self._request_object(
            resource,
            "POST",
            resource.path(namespace),
            body=body,
            query={"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""},
            on_warning=on_warning,
        )

    async def patch(
        self,
        resource: Resource[T],
        key: ObjectKey,
        body: msgspec.Struct | Mapping[str, object],
        *,
        subresource: str = "",
        on_warning: WarningHandler | None = None,
    ) -> T:
        """Apply a JSON merge patch (RFC 7396): null removes a field, a list is replaced whole.

        Raises:
            Conflict: `body` has a `metadata.resourceVersion`, and the object is at another one.
        """
        path = resource.path(key.namespace, key.name, subresource)
        return await self._request_object(
            resource, "PATCH", path, body=body, content_type=MERGE_PATCH, on_warning=on_warning
        )

    async def apply(
        self,
        resource: Resource[T],
        key: ObjectKey,
        body: msgspec.Struct | Mapping[str, object],
        *,
        field_manager: str,
        force: bool = False,
        on_warning: WarningHandler | None = None,
    ) -> T:
        """Apply the fields of `body` (server-side apply); those that this manager drops go, unless others own them.

        With a `metadata.uid` in `body` nothing is created.

        Raises:
            FieldConflict: Others own fields that `body` would change, and `force` does not take them.
            Conflict: There is no object of the uid, or it is not at the resourceVersion of `body`.
            Invalid: The object has another uid, or the result is rejected.
        """
        return await self._request_object(
            resource,
            "PATCH",
            resource.path(key.namespace, key.name),
            body=body,
            content_type=APPLY_PATCH,
            query={"fieldManager": field_manager, "force": "true" if force else ""},
            on_warning=on_warning,
        )

    async def delete(self, resource: Resource[T], key: ObjectKey, *, uid: str, resource_version: str = "") -> None:
        """Delete an object with uid and, if given, resourceVersion as preconditions. Its dependents follow.

        Raises:
            Conflict: A precondition failed.
            NotFound: There is no such object.
        """
        options = _DeleteOptions(preconditions=_Preconditions(uid=uid, resource_version=resource_version))
        path = resource.path(key.namespace, key.name)
        response = await self._rest.request("DELETE", path, content=msgspec.json.encode(options))
        with _translating_decode_errors(f"DELETE {path}"):
            _kind_decoder.decode(response.body)

    async def _request_object(
        self,
        resource: Resource[T],
        method: str,
        path: str,
        *,
        body: msgspec.Struct | Mapping[str, object] | None = None,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
        on_warning: WarningHandler | None = None,
    ) -> T:
        content = b"" if body is None else msgspec.json.encode(body)
        if query is None:
            query = {"fieldManager": FIELD_MANAGER} if content else {}
        response = await self._rest.request(
            method, path, query=query, content=content, content_type=content_type, accept=_accept(resource)
        )
        if on_warning is not None:
            for warning in parse_warnings(response.headers.get_list("Warning")):
                on_warning(warning)
        with _translating_decode_errors(f"{method} {path}"):
            return resource.decode(response.body)


def _accept(resource: Resource[T]) -> str:
    """Return the form in which an object is wanted."""
    return METADATA_ONLY if resource.metadata_only else JSON


@contextmanager
def _translating_decode_errors(request: str) -> Generator[None]:
    """Translate errors of msgspec, without their text: the body may hold a Secret."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedResponse(f"{request}: the response does not match the API") from None


@asynccontextmanager
async def open_client(
    cluster: Cluster,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - httpx's timeout
    read_timeout: float = WATCH_READ_TIMEOUT,
    count: RequestCounter = no_count,
) -> AsyncGenerator[KubeClient]:
    """Open a client for the length of the block.

    No response is compressed: for lists gzip doubles the CPU of the server (measured on Kubernetes 1.37), and of a
    watch, which comes in several gzip members, httpx decodes the first alone.

    Args:
        cluster: The API server.
        transport: Replaces the network.
        timeout: Seconds to connect, and for each read.
        read_timeout: Seconds that a watch may receive nothing.
        count: Called once for each request.
    """
    http = HttpClient(
        transport or Transport(tls=cluster.tls, proxy=cluster.proxy),
        base_url=cluster.url,
        headers=[("User-Agent", USER_AGENT), *cluster.impersonation],
        timeout=timeout,
        max_body=MAX_OBJECT_BYTES,
        authorization=cluster.auth,
    )
    async with aclosing(http):
        yield KubeClient(RestClient(http, where=_where(cluster), read_timeout=read_timeout, count=count))


def _where(cluster: Cluster) -> str:
    """Return the address of a server and its proxy, without users and passwords."""
    proxy = f" through the proxy {for_messages(cluster.proxy)}" if cluster.proxy else ""
    return f"{for_messages(cluster.url)}{proxy}"
