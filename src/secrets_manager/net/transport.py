"""An httpx transport on Trio's streams and llhttp: for requests that have one piece of content, by HTTP/1.1.

In place of httpx's own, for three reasons that were measured:

- **Cost.** httpx's pool walks over all its connections at each request: 0.45 ms of CPU with 4 requests in flight, 3.3
  with 64. A request by httpcore and h11 takes 0.49 ms, and 0.63 with TLS; here 0.22 and 0.36.
- **Cancellation.** A request that is cancelled while it waits for httpx's pool takes its slot with it for ever
  (https://github.com/encode/httpcore/issues/1093). Here nothing waits: who bounds the requests is the caller.
- **Streams.** Below a response of httpx's stand several async generators, which a reader that stops abandons.
"""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import httpx
import trio

from secrets_manager.net.connection import Connection, Route, open_connection, origin_of

KEEPALIVE_EXPIRY = 60.0
"""Seconds for which a connection is kept that no request uses; httpx's word."""


class Transport(httpx.AsyncBaseTransport):
    """Gives each request a connection of its own, and keeps those that are idle.

    `proxy` is its URL, `socket` the file of a Unix socket to connect to in place of the URL's host. The connection that
    was used last is taken first, so that connections stay warm and few. Those that a burst has left behind are closed
    by the next request after KEEPALIVE_EXPIRY. Without any further request they stay, at most as many as were in use at
    once: the server ends them when it has had enough of them.
    """

    def __init__(self, *, tls: ssl.SSLContext, proxy: str = "", socket: str = "") -> None:
        self._route = Route(tls, httpx.URL(proxy) if proxy else None, socket)
        self._idle: deque[_Idle] = deque()
        """Those that were used last are at its right end."""

    def __repr__(self) -> str:
        return f"Transport({len(self._idle)} idle)"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response when its head has come. Raises: httpx.TransportError."""
        await self._close_unused()
        connection = await self._take(origin_of(request.url)) or await open_connection(request, self._route)
        try:
            head = await connection.send(request)
        except BaseException:
            await connection.aclose()
            raise
        return httpx.Response(head.status, headers=head.headers, stream=_Body(connection, self._give_back))

    async def aclose(self) -> None:
        """Close the idle connections. The requests under way go on, and others may follow."""
        while self._idle:
            await self._idle.pop().connection.aclose()

    async def _take(self, origin: tuple[str, str, int]) -> Connection | None:
        while self._idle:
            connection = self._idle.pop().connection
            if connection.origin == origin and not connection.is_dead:
                return connection
            await connection.aclose()
        return None

    async def _give_back(self, connection: Connection) -> None:
        if connection.can_be_kept:
            self._idle.append(_Idle(connection, since=trio.current_time()))
        else:
            await connection.aclose()

    async def _close_unused(self) -> None:
        while self._idle and self._idle[0].since <= trio.current_time() - KEEPALIVE_EXPIRY:
            await self._idle.popleft().connection.aclose()


class _Idle(NamedTuple):
    connection: Connection
    since: float


class _Body(httpx.AsyncByteStream):
    """The body of a response. It is its own iterator: an async generator can't be left in its middle."""

    def __init__(self, connection: Connection, give_back: Callable[[Connection], Awaitable[None]]) -> None:
        self._connection: Connection | None = connection
        self._give_back = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None or not (chunk := await self._connection.receive_body()):
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Let the connection serve another request; where the body has not ended, close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._give_back(connection)
