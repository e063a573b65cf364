"""The requests to the Kubernetes API that this program makes, each with its answer decoded or its failure translated.

One method is one request; nothing is repeated here, for only the caller knows whether that is safe. Whatever fails
is a KubeError that names method and path, never a body. Responses are read whole, within a deadline; a watch streams
for minutes, and is judged by the silence between two chunks.
An API server sends a bookmark about once a minute, so a watch that brings nothing for longer has lost its connection.

A server that sheds load (Priority and Fairness) says so in front of its API, with 429 and no Status: that is meant for
the whole client, so no request is made before the time that it asks for, and then they go one by one (kube/hold.py). A
429 with a Status speaks of one request alone.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import TypeVar

import httpx
import msgspec
import trio

from secrets_manager.kube.credentials import Cluster
from secrets_manager.kube.errors import ApiError, MalformedReply, Silent, Throttled, TooLarge, Unreachable
from secrets_manager.kube.hold import Hold
from secrets_manager.kube.objects import LARGEST_OBJECT, KubeObject, ObjectKey, Wire
from secrets_manager.kube.page import Page, decode_page
from secrets_manager.kube.refusal import error_of
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.warning import warnings_in
from secrets_manager.net.client import HttpClient, Response
from secrets_manager.net.errors import HttpError, MalformedResponse, ResponseTooLarge, TimedOut
from secrets_manager.net.transport import Transport

T = TypeVar("T", bound=KubeObject)

FIELD_MANAGER = "secrets-manager"
USER_AGENT = f"secrets-manager/{version('secrets-manager')}"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
SILENCE = 90.0
"""Seconds without a byte after which a watch is given up: one and a half times what lies between two bookmarks."""
LARGEST_REFUSAL = 1024 * 1024
"""Bytes that are read of an answer that denies a watch."""
NO_ANSWER = "<error>"
"""client-go's word in place of a status."""

Count = Callable[[str, str], None]
"""Called for each request with its method, and its status or NO_ANSWER. Sent again with a new token, it stays one."""


def uncounted(method: str, code: str) -> None:
    """For whom nobody counts."""


Warn = Callable[[str], None]
"""Is called with each warning of an answer; see kube/warning.py."""


class _Preconditions(Wire, frozen=True):
    uid: str
    resource_version: str = ""


class _DeleteOptions(Wire, frozen=True, omit_defaults=False):
    preconditions: _Preconditions
    api_version: str = "v1"
    kind: str = "DeleteOptions"
    propagation_policy: str = "Background"


class _Kind(Wire, frozen=True):
    """What the answer to a deletion has at least, be it the object or a Status."""

    kind: str


_kind_decoder = msgspec.json.Decoder(_Kind)


class KubeClient:
    """Speaks with one API server.

    `silence` is in seconds: how long a watch may bring nothing. `count` is called when an answer has begun, or there
    will be none.

    Raises: KubeError, from every method; see kube/errors.py for what each kind means.
    """

    def __init__(self, http: HttpClient, *, silence: float = SILENCE, count: Count = uncounted) -> None:
        self._http = http
        self._silence = silence
        self._count = count
        self._hold = Hold()

    def apart(self) -> "KubeClient":
        """The same, for calls that don't wait when the others are told to."""
        return KubeClient(self._http, silence=self._silence, count=self._count)

    async def list_page(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[T]:
        """Read the first page of a list, or the next one by the former's `continue_token`: all from one snapshot.

        Raises: Expired for a token that is too old: begin anew. TooLarge: ask for fewer, by the same token.
        """
        path = resource.path(namespace)
        query = {"limit": str(limit), "labelSelector": label_selector, "continue": continue_token}
        answer = await self._call("GET", path, query=query)
        with _decoding(f"GET {path}"):
            return await decode_page(resource, answer.body)

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        resource_version: str,
        seconds: float,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream what happens after `resource_version`, for about so many seconds: one JSON object a line.

        The chunks are cut anywhere. What fails while they are read is raised inside the block, and leaves it as a
        KubeError. Raises: Expired for a version that is too old: list again. Silent if nothing comes for too long.
        """
        path = resource.path(namespace)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": f"{seconds:.0f}",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
        }
        await self._turn()
        with _reaching(f"watch of {path}"):
            async with self._stream(path, query) as chunks:
                try:
                    yield chunks
                except TimedOut:
                    raise Silent(f"watch of {path}: nothing came for {self._silence:g} s") from None

    async def get(self, resource: Resource[T], key: ObjectKey) -> T:
        return await self._call_for(resource, "GET", resource.path(key.namespace, key.name))

    async def create(
        self,
        resource: Resource[T],
        namespace: str,
        body: msgspec.Struct | Mapping[str, object],
        *,
        warn: Warn | None = None,
    ) -> T:
        """Make the object that `body` is. Raises: AlreadyExists; also after a reply that was lost."""
        return await self._call_for(resource, "POST", resource.path(namespace), body=body, warn=warn)

    async def replace(self, resource: Resource[T], key: ObjectKey, body: msgspec.Struct) -> T:
        """Put `body` in the place of what is there. Raises: Conflict if that is not at the body's resourceVersion."""
        return await self._call_for(resource, "PUT", resource.path(key.namespace, key.name), body=body)

    async def patch(
        self,
        resource: Resource[T],
        key: ObjectKey,
        body: msgspec.Struct | Mapping[str, object],
        *,
        subresource: str = "",
        warn: Warn | None = None,
    ) -> T:
        """Merge `body` into what is there (RFC 7396): null takes a field away, a list is replaced whole.

        Raises: Conflict if the body has a `metadata.resourceVersion` and the object is at another one.
        """
        path = resource.path(key.namespace, key.name, subresource)
        return await self._call_for(resource, "PATCH", path, body=body, content_type=MERGE_PATCH, warn=warn)

    async def delete(self, resource: Resource[T], key: ObjectKey, *, uid: str, resource_version: str = "") -> None:
        """Delete the object if it is still that one, and still at that version if one is given; what it owns follows.

        Raises: Conflict if it is not; NotFound if there is none.
        """
        options = _DeleteOptions(preconditions=_Preconditions(uid=uid, resource_version=resource_version))
        path = resource.path(key.namespace, key.name)
        answer = await self._call("DELETE", path, content=msgspec.json.encode(options))
        with _decoding(f"DELETE {path}"):
            _kind_decoder.decode(answer.body)

    async def _call_for(
        self,
        resource: Resource[T],
        method: str,
        path: str,
        *,
        body: msgspec.Struct | Mapping[str, object] | None = None,
        content_type: str = JSON,
        warn: Warn | None = None,
    ) -> T:
        content = b"" if body is None else msgspec.json.encode(body)
        query = {"fieldManager": FIELD_MANAGER} if content else {}
        answer = await self._call(method, path, query=query, content=content, content_type=content_type)
        if warn is not None:
            for warning in warnings_in(answer.headers.get_list("Warning")):
                warn(warning)
        with _decoding(f"{method} {path}"):
            return resource.decode(answer.body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        content_type: str = JSON,
    ) -> Response:
        headers = {"Content-Type": content_type} if content else {}
        await self._turn()
        with _reaching(f"{method} {path}"), self._counting(method):
            answer = await self._http.request(method, path, query=_given(query or {}), content=content, headers=headers)
        self._count(method, str(answer.status))
        if not answer.is_success:
            raise self._noted(error_of(answer.status, answer.headers, answer.body, request=f"{method} {path}"))
        return answer

    async def _turn(self) -> None:
        """Wait while the server sheds load, and then for a turn."""
        turn = self._hold.turn(trio.current_time())
        while trio.current_time() < turn:
            await trio.sleep_until(turn)
            if self._hold.overtaken(turn):
                turn = self._hold.turn(trio.current_time())

    def _noted(self, error: ApiError) -> ApiError:
        """The error, of which the requests to come know if it concerns them too."""
        if isinstance(error, Throttled) and not error.reason:
            self._hold.shed(trio.current_time(), retry_after=error.retry_after)
        return error

    @contextmanager
    def _counting(self, method: str) -> Iterator[None]:
        """Count a request that gets no answer."""
        try:
            yield
        except HttpError:
            self._count(method, NO_ANSWER)
            raise

    @asynccontextmanager
    async def _stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a request, and wait for the head of its answer, which comes at once when all is well."""
        async with AsyncExitStack() as stack:
            with self._counting("GET"):
                answer = await stack.enter_async_context(
                    self._http.stream("GET", path, query=_given(query), silence=self._silence)
                )
                body = b"" if answer.is_success else await answer.read(max_body=LARGEST_REFUSAL)
            self._count("GET", str(answer.status))
            if not answer.is_success:
                raise self._noted(error_of(answer.status, answer.headers, body, request=f"watch of {path}"))
            yield answer.chunks


def _given(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


@contextmanager
def _reaching(request: str) -> Iterator[None]:
    """Translate what the HTTP client raises."""
    try:
        yield
    except ResponseTooLarge as error:
        raise TooLarge(f"{request}: {error}") from None
    except MalformedResponse as error:
        raise MalformedReply(f"{request}: {error}") from None
    except HttpError as error:
        raise Unreachable(f"{request}: {error}") from None


@contextmanager
def _decoding(request: str) -> Iterator[None]:
    """Translate what msgspec raises, without its text: the body may hold a Secret."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedReply(f"{request}: the answer is not what the API promises") from None


@asynccontextmanager
async def open_client(
    cluster: Cluster,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - it is httpx's, in seconds, for connecting and for each wait for bytes
    silence: float = SILENCE,
    count: Count = uncounted,
) -> AsyncIterator[KubeClient]:
    """Open a client for the length of the block. `transport` leads to something else than the network.

    No response comes compressed. Of lists gzip would cost the server twice its CPU (measured on Kubernetes 1.37); a
    watch with gzip comes in several members, of which httpx decodes the first alone.
    """
    http = HttpClient(
        transport or Transport(tls=cluster.tls, proxy=cluster.proxy),
        base_url=cluster.url,
        headers=[("Accept", JSON), ("User-Agent", USER_AGENT), *cluster.impersonation],
        timeout=timeout,
        max_body=LARGEST_OBJECT,
        authorization=cluster.auth,
    )
    async with aclosing(http):
        yield KubeClient(http, silence=silence, count=count)
