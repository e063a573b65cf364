"""A client for the Kubernetes API: typed requests, decoded responses, translated errors.

One method is one request. Nothing is retried here: only the caller knows whether that is safe. Every failure is a
KubeError that names method and path, never a body. Responses are read whole, within a deadline. A watch streams for
minutes and has a read timeout: an API server sends a bookmark about once a minute, so silence means a lost connection.

A server that sheds load (Overloaded) throttles the whole client: it sends nothing until the Retry-After has passed,
then paces its requests (kube/throttle.py). Any other 429 concerns one request.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import TypeVar

import httpx
import msgspec
import trio

from secrets_manager.kube.credentials import Cluster
from secrets_manager.kube.errors import (
    ApiError,
    MalformedResponse,
    Overloaded,
    ResponseTooLarge,
    Unreachable,
    WatchTimedOut,
)
from secrets_manager.kube.objects import MAX_OBJECT_BYTES, KubeObject, ObjectKey, Wire
from secrets_manager.kube.page import Page, decode_page
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.status import error_from_status
from secrets_manager.kube.throttle import Throttle
from secrets_manager.kube.warning import parse_warnings
from secrets_manager.net import errors as http_errors
from secrets_manager.net.client import HttpClient, Response, StreamedResponse
from secrets_manager.net.transport import Transport

T = TypeVar("T", bound=KubeObject)

FIELD_MANAGER = "secrets-manager"
USER_AGENT = f"secrets-manager/{version('secrets-manager')}"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
WATCH_READ_TIMEOUT = 90.0
"""Seconds without a byte after which a watch fails: one and a half times the interval of bookmarks."""
ERROR_BODY_TIMEOUT = 10.0
"""Seconds for the body of a refused watch."""
MAX_ERROR_BODY = 1024 * 1024
"""Bytes that are read of the response to a failed watch."""
NO_STATUS = "<error>"
"""client-go's label value for a request without a response."""

RequestCounter = Callable[[str, str], None]
"""Called once for each request, with its method and its status or NO_STATUS."""


def no_count(method: str, code: str) -> None:
    """Count nothing."""


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
    """A client of one API server. Every method raises KubeError; see kube/errors.py.

    Args:
        http: Sends the requests.
        read_timeout: Seconds that a watch may receive nothing.
        count: Called when the head of a response has come, or the request has failed.
    """

    def __init__(
        self, http: HttpClient, *, read_timeout: float = WATCH_READ_TIMEOUT, count: RequestCounter = no_count
    ) -> None:
        self._http = http
        self._read_timeout = read_timeout
        self._count = count
        self._throttle = Throttle()

    def with_own_throttle(self) -> "KubeClient":
        """Return a client that does not wait while this one is throttled."""
        return KubeClient(self._http, read_timeout=self._read_timeout, count=self._count)

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
        response = await self._request("GET", path, query=query, accept=accept)
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
        await self._throttle_request()
        with _translating_http_errors(f"watch of {path}"):
            async with self._stream(path, query, accept=_accept(resource)) as chunks:
                try:
                    yield chunks
                except http_errors.TimedOut:
                    raise WatchTimedOut(f"watch of {path}: no data for {self._read_timeout:g} s") from None

    async def read(self, path: str) -> Response:
        """Return the response to a GET of a path that is no resource, such as /version."""
        return await self._request("GET", path)

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
        response = await self._request("DELETE", path, content=msgspec.json.encode(options))
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
        response = await self._request(
            method, path, query=query, content=content, content_type=content_type, accept=_accept(resource)
        )
        if on_warning is not None:
            for warning in parse_warnings(response.headers.get_list("Warning")):
                on_warning(warning)
        with _translating_decode_errors(f"{method} {path}"):
            return resource.decode(response.body)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Response:
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content else {})
        await self._throttle_request()
        with _translating_http_errors(f"{method} {path}"), self._count_failures(method):
            response = await self._http.request(
                method, path, query=_without_empty(query or {}), content=content, headers=headers
            )
        self._count(method, str(response.status))
        if not response.is_success:
            raise self._note_throttling(
                error_from_status(response.status, response.headers, response.body, request=f"{method} {path}")
            )
        return response

    async def _throttle_request(self) -> None:
        """Wait until the throttle lets the request go."""
        slot = self._throttle.reserve(trio.current_time())
        while trio.current_time() < slot:
            await trio.sleep_until(slot)
            if self._throttle.is_stale(slot):
                slot = self._throttle.reserve(trio.current_time())

    def _note_throttling(self, error: ApiError) -> ApiError:
        """Throttle later requests if the error concerns the whole client. Returns the error."""
        if isinstance(error, Overloaded):
            self._throttle.back_off(trio.current_time(), retry_after=error.retry_after)
        return error

    @contextmanager
    def _count_failures(self, method: str) -> Generator[None]:
        """Count a request that gets no response."""
        try:
            yield
        except http_errors.HttpError:
            self._count(method, NO_STATUS)
            raise

    @asynccontextmanager
    async def _stream(
        self, path: str, query: Mapping[str, str], *, accept: str
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Send a watch request and wait for the head of its response."""
        async with AsyncExitStack() as stack:
            with self._count_failures("GET"):
                response = await stack.enter_async_context(
                    self._http.stream(
                        "GET",
                        path,
                        query=_without_empty(query),
                        headers={"Accept": accept},
                        silence=self._read_timeout,
                    )
                )
                body = b"" if response.is_success else await _error_body(response)
            self._count("GET", str(response.status))
            if not response.is_success:
                raise self._note_throttling(
                    error_from_status(response.status, response.headers, body, request=f"watch of {path}")
                )
            yield response.chunks


async def _error_body(response: StreamedResponse) -> bytes:
    """Read the body of a refused watch, which may not last as a watch does."""
    with trio.move_on_after(ERROR_BODY_TIMEOUT):
        return await response.read(max_body=MAX_ERROR_BODY)
    raise http_errors.TimedOut(f"no whole response within {ERROR_BODY_TIMEOUT:g} s")


def _accept(resource: Resource[T]) -> str:
    """Return the form in which an object is wanted."""
    return METADATA_ONLY if resource.metadata_only else JSON


def _without_empty(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


@contextmanager
def _translating_http_errors(request: str) -> Generator[None]:
    """Translate errors of the HTTP client."""
    try:
        yield
    except http_errors.ResponseTooLarge as error:
        raise ResponseTooLarge(f"{request}: {error}") from None
    except http_errors.MalformedResponse as error:
        raise MalformedResponse(f"{request}: {error}") from None
    except http_errors.HttpError as error:
        raise Unreachable(f"{request}: {error}") from None


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
        yield KubeClient(http, read_timeout=read_timeout, count=count)
