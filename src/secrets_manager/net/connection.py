"""One connection to one server, for one request at a time.

httpx's own transport keeps a pool, and to look for a connection in it costs a third of a whole request. Where each
request has a lane for itself there is nothing to look for: httpcore's connection, on which that pool stands, does all
the rest. It is opened with the first request, and anew when the server has closed it.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator

import httpcore
import httpx

from secrets_manager.net.corked import CorkedNetwork
from secrets_manager.net.exchange import Answer, Request
from secrets_manager.net.streams import PLAIN, OnePiece, compressed, gather

KEPT = 60.0
"""Seconds for which a connection is kept that nobody uses."""

HTTPX_NAMES: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}

CORES_OWN = tuple(HTTPX_NAMES)


class Connection:
    """A lane. `uds` is the path of a Unix socket to connect to instead of the server."""

    def __init__(self, *, tls: ssl.SSLContext, uds: str = "") -> None:
        self._tls = tls
        self._uds = uds
        self._core: httpcore.AsyncHTTPConnection | None = None

    def __repr__(self) -> str:
        return f"Connection({self._core})"

    async def exchange(self, request: Request, *, at_most: int) -> Answer:
        scheme, host, port = request.server
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=scheme, host=host, port=port, target=request.target),
            headers=request.headers,
            content=OnePiece(request.content),
            extensions={"timeout": request.timeout},
        )
        core = await self._usable(asked.url.origin)
        try:
            answer = await core.handle_async_request(asked)
        except CORES_OWN as error:
            raise _as_httpx(error) from error
        if any(name.lower() == b"content-encoding" and value != PLAIN.encode() for name, value in answer.headers):
            raise compressed()
        body = await gather(_Body(answer), at_most=at_most)
        await answer.aclose()
        return Answer(answer.status, answer.headers, body)

    async def aclose(self) -> None:
        core, self._core = self._core, None
        if core is not None:
            await core.aclose()

    async def _usable(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """The connection that is there, unless the server has closed it or it was kept for too long."""
        core = self._core
        if core is None or core.is_closed() or core.has_expired() or not core.can_handle_request(origin):
            await self.aclose()
            core = httpcore.AsyncHTTPConnection(
                origin,
                ssl_context=self._tls,
                keepalive_expiry=KEPT,
                uds=self._uds or None,
                network_backend=CorkedNetwork(),
            )
            self._core = core
        return core


class _Body(AsyncIterator[bytes]):
    """What follows the head of a reply. It is its own iterator, for an async generator can't be left in its middle."""

    def __init__(self, answer: httpcore.Response) -> None:
        assert isinstance(answer.stream, AsyncIterable)
        self._chunks = aiter(answer.stream)

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except CORES_OWN as error:
            raise _as_httpx(error) from error


def _as_httpx(error: Exception) -> httpx.TransportError:
    """The same under httpx's name, as httpx's own transport has it."""
    return HTTPX_NAMES[type(error)](str(error))
