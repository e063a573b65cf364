"""The road that every request to Kubernetes and Vault takes: httpx's own transports, with three things put right.

- **Cost.** httpx's pool walks over all its connections at every request, 0.45 ms of CPU with 4 requests in flight and
  3.3 ms with 64; and `httpx.AsyncClient` spends as much again on cookies, redirects, merging and hooks. So each request
  has a connection ("lane") for itself, and `Caller` does no more than is needed here: 0.2 ms.
- **Cancellation.** A request that is cancelled while it waits for a pool's slot takes the slot with it for ever
  (https://github.com/encode/httpcore/issues/1093): where there is a pool, it has no limits, and so no slots; what
  bounds the requests is the number of workers. A lane whose request did not come to its end is closed.
- **Bounds.** A whole exchange has a deadline, since httpx's timeouts start anew with each byte that drips in; a reply
  has a largest size, and comes uncompressed, so that the size is what it seems.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import lru_cache
from urllib.parse import urlencode

import httpx
import trio

from secrets_manager.net.connection import Connection

URLS_KEPT = 256
"""Folders are listed again and again, and a namespace gets all its Secrets at one URL; to make one takes a twentieth of
a request."""
NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0)
PLAIN = "identity"

MakeLane = Callable[[], httpx.AsyncBaseTransport]
"""Opens a lane: to the network, or to a double."""


class ReplyTooLarge(httpx.TransportError):
    """The reply is longer than its reader allows; the connection was dropped in the middle of it."""


def open_lane(*, tls: ssl.SSLContext, proxy: str = "", socket: str = "") -> httpx.AsyncBaseTransport:
    """A transport for one request at a time; that through a proxy is httpx's own, blind to the environment.

    `socket` is the file of a Unix socket to connect to in place of a host.
    """
    if proxy:
        return open_pool(tls=tls, proxy=proxy)
    return Connection(tls=tls, uds=socket)


def open_pool(*, tls: ssl.SSLContext, proxy: str = "") -> httpx.AsyncHTTPTransport:
    """httpx's own transport, without limits and blind to the environment: for streams that last."""
    return httpx.AsyncHTTPTransport(verify=tls, proxy=proxy or None, limits=NO_LIMITS, trust_env=False)


class _Body(httpx.AsyncByteStream):
    """The body of a request, in one piece. httpx's own is an async generator, which a cancellation would abandon."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once(AsyncIterator[bytes]):
    def __init__(self, item: bytes) -> None:
        self._items = [item]

    async def __anext__(self) -> bytes:
        if not self._items:
            raise StopAsyncIteration
        return self._items.pop()


class Spread(httpx.AsyncBaseTransport):
    """Gives each request a lane of its own, and returns each reply whole.

    `make` opens a lane. The lane that was used last is taken first, so that connections stay warm and few.
    `within` is in seconds, from the request to the last byte of its reply; `max_body` in bytes.
    Raises: httpx.ReadTimeout, ReplyTooLarge, and what the lanes raise.
    """

    def __init__(self, make: MakeLane, *, within: float = 60.0, max_body: int = 64 * 1024 * 1024) -> None:
        self._make = make
        self._within = within
        self._max_body = max_body
        self._idle: list[httpx.AsyncBaseTransport] = []

    def __repr__(self) -> str:
        return f"Spread({len(self._idle)} idle)"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with trio.move_on_after(self._within):
            lane = self._idle.pop() if self._idle else self._make()
            try:
                response = await lane.handle_async_request(request)
                body = await read_whole(response, at_most=self._max_body)
            except BaseException:
                await lane.aclose()
                raise
            self._idle.append(lane)
            return httpx.Response(
                response.status_code, headers=response.headers, content=body, extensions=response.extensions
            )
        raise httpx.ReadTimeout(f"no whole reply within {self._within:g} s", request=request)

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()


class Caller:
    """Sends requests to one server.

    `headers` go with every request. The timeout, in seconds, is httpx's: for connecting and for each wait for bytes.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        base_url: httpx.URL | str,
        headers: Mapping[str, str],
        timeout: float | None = None,
        auth: httpx.Auth | None = None,
    ) -> None:
        self.base_url = httpx.URL(base_url)
        self._transport = transport
        self._url = lru_cache(URLS_KEPT)(self._url_of)
        self._headers = [
            ("Host", self.base_url.netloc.decode()),
            ("Accept-Encoding", PLAIN),
            ("Connection", "keep-alive"),
            *headers.items(),
        ]
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}
        self._auth = auth

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> httpx.Response:
        """Send one request and return its answer, whatever its status. `path` is encoded, and follows the base URL's.

        Raises: what the transport and the auth raise.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        length = [("Content-Length", str(len(content)))] if content else []
        request = httpx.Request(
            method,
            self._url(target),
            headers=[*self._headers, *(headers or {}).items(), *length],
            stream=_Body(content),
            extensions=self._extensions,
        )
        if self._auth is None:
            return await self._transport.handle_async_request(request)
        return await self._authenticated(request, self._auth.async_auth_flow(request))

    def _url_of(self, target: str) -> httpx.URL:
        return self.base_url.copy_with(raw_path=self.base_url.raw_path.rstrip(b"/") + target.encode())

    async def _authenticated(
        self, request: httpx.Request, flow: AsyncGenerator[httpx.Request, httpx.Response]
    ) -> httpx.Response:
        """As httpx.Auth asks for it: the flow names the requests, and is told of the answers."""
        async with aclosing(flow):
            request = await anext(flow)
            while True:
                response = await self._transport.handle_async_request(request)
                try:
                    request = await flow.asend(response)
                except StopAsyncIteration:
                    return response


async def read_whole(response: httpx.Response, *, at_most: int) -> bytes:
    """Read a streamed reply to its end, and close it.

    Raises: ReplyTooLarge past `at_most` bytes; else as `streaming`.
    """
    async with streaming(response) as chunks:
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            if len(body) > at_most:
                raise ReplyTooLarge(f"the reply is longer than {at_most} bytes")
    return bytes(body)


@asynccontextmanager
async def streaming(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """Read a streamed reply in chunks. Where the block is left before its end, its connection is closed.

    Below a reply stand several async generators, one in the other, and closing the outermost would abandon the rest
    to the garbage collector. A cancellation begins at the innermost, and ends them all.
    Raises: httpx.DecodingError for a reply that is compressed, against what was asked for.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    if response.headers.get("Content-Encoding", PLAIN) != PLAIN:
        await stream.aclose()
        raise httpx.DecodingError("the reply is compressed, which was not asked for")
    chunks = _Chunks(aiter(stream))
    try:
        yield chunks
    finally:
        if not chunks.at_the_end:
            with trio.move_on_after(0, shield=True), suppress(httpx.HTTPError):
                await _exhaust(chunks)
        await stream.aclose()


class _Chunks(AsyncIterator[bytes]):
    """Knows whether all have been taken."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.at_the_end = False

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except BaseException:
            self.at_the_end = True
            raise


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


def describe(error: httpx.HTTPError) -> str:
    """Tell in one line why a request brought no reply, without quoting the request.

    Where httpx has no words, as for TLS, the system's are at the bottom of the chain of causes.
    """
    name = type(error).__name__
    if isinstance(error, httpx.ProtocolError):  # quotes headers
        return name
    words = str(error) or next((str(cause) for cause in _causes(error) if isinstance(cause, OSError)), "")
    return f"{name}: {words}" if words else name


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
