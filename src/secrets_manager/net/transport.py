"""The road that every request to Kubernetes and Vault takes: httpx's own transports, with three things put right.

- **Cost.** httpx's pool walks over all its connections at every request: 0.45 ms of CPU with 4 requests in flight,
  3.3 ms with 64. So the requests are spread over several pools ("lanes") with few in flight each.
- **Cancellation.** A request that is cancelled while it waits for a pool's slot takes the slot with it for ever
  (https://github.com/encode/httpcore/issues/1093): the pools have no limits, and so no slots; what bounds them is the
  number of workers. One that is cancelled between the TLS handshake and its first byte leaves an open connection in
  the pool that nothing uses again: a lane in which a request was cancelled takes no more, and closes when it is empty.
- **Bounds.** A whole exchange has a deadline, since httpx's timeouts start anew with each byte that drips in; a reply
  has a largest size, and comes uncompressed, so that the size is what it seems.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import trio

NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0)
PLAIN = "identity"


class ReplyTooLarge(httpx.TransportError):
    """The reply is longer than its reader allows; the connection was dropped in the middle of it."""


def open_lane(*, tls: ssl.SSLContext, proxy: str = "") -> httpx.AsyncHTTPTransport:
    """One of httpx's own transports, without limits and blind to the environment."""
    return httpx.AsyncHTTPTransport(verify=tls, proxy=proxy or None, limits=NO_LIMITS, trust_env=False)


class _Lane:
    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.in_flight = 0


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
    """Spreads requests over as many lanes as it takes, and returns each reply whole.

    `make` opens a lane. The first lane with room is taken, so that connections stay warm and few.
    `within` is in seconds, from the request to the last byte of its reply; `max_body` in bytes.
    Raises: httpx.ReadTimeout, ReplyTooLarge, and what the lanes raise.
    """

    def __init__(
        self,
        make: Callable[[], httpx.AsyncBaseTransport],
        *,
        each: int = 4,
        within: float = 60.0,
        max_body: int = 64 * 1024 * 1024,
    ) -> None:
        self._make = make
        self._each = each
        self._within = within
        self._max_body = max_body
        self._lanes: list[_Lane] = []

    def __repr__(self) -> str:
        return f"Spread(in flight: {[lane.in_flight for lane in self._lanes]})"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Accept-Encoding"] = PLAIN
        request.stream = _Body(await request.aread())
        lane = self._lane_with_room()
        lane.in_flight += 1
        try:
            with trio.move_on_after(self._within):
                return await self._exchange(lane, request)
            raise httpx.ReadTimeout(f"no whole reply within {self._within:g} s", request=request)
        finally:
            lane.in_flight -= 1
            if lane not in self._lanes and not lane.in_flight:
                await lane.transport.aclose()

    async def aclose(self) -> None:
        while self._lanes:
            await self._lanes.pop().transport.aclose()

    def _lane_with_room(self) -> _Lane:
        for lane in self._lanes:
            if lane.in_flight < self._each:
                return lane
        self._lanes.append(_Lane(self._make()))
        return self._lanes[-1]

    async def _exchange(self, lane: _Lane, request: httpx.Request) -> httpx.Response:
        try:
            response = await lane.transport.handle_async_request(request)
            body = await read_whole(response, at_most=self._max_body)
        except trio.Cancelled:
            with suppress(ValueError):  # another one was cancelled here before
                self._lanes.remove(lane)
            raise
        return httpx.Response(
            response.status_code, headers=response.headers, content=body, extensions=response.extensions
        )


async def read_whole(response: httpx.Response, *, at_most: int) -> bytes:
    """Read a streamed reply to its end, and close it.

    Raises: ReplyTooLarge past `at_most` bytes; else as `streaming`.
    """
    body = bytearray()
    async with streaming(response) as chunks:
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
    if response.headers.get("Content-Encoding", PLAIN) != PLAIN:
        await response.aclose()
        raise httpx.DecodingError("the reply is compressed, which was not asked for")
    chunks = response.aiter_bytes()
    try:
        yield chunks
    finally:
        with trio.move_on_after(0, shield=True), suppress(httpx.HTTPError):
            await _exhaust(chunks)
        await response.aclose()


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
