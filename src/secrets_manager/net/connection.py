"""One connection to one server as an httpx transport, for one request at a time.

httpx's own transport keeps a pool, and to look for a connection in it costs a third of a whole request. Where each
request has a lane for itself there is nothing to look for: httpcore's connection, on which that pool stands, does all
the rest. It is opened with the first request, and anew when the server has closed it.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator

import httpcore
import httpx

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


class Connection(httpx.AsyncBaseTransport):
    """Raises: the subclasses of httpx.TransportError. `uds` is the path of a Unix socket to connect to instead."""

    def __init__(self, *, tls: ssl.SSLContext, uds: str = "") -> None:
        self._tls = tls
        self._uds = uds
        self._core: httpcore.AsyncHTTPConnection | None = None

    def __repr__(self) -> str:
        return f"Connection({self._core})"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        core = await self._usable(asked.url.origin)
        try:
            answer = await core.handle_async_request(asked)
        except CORES_OWN as error:
            raise _as_httpx(error) from error
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

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
                origin, ssl_context=self._tls, keepalive_expiry=KEPT, uds=self._uds or None
            )
            self._core = core
        return core


class _Body(httpx.AsyncByteStream):
    """What follows the head of a reply. It is its own iterator, for an async generator can't be left in its middle."""

    def __init__(self, answer: httpcore.Response) -> None:
        assert isinstance(answer.stream, AsyncIterable)
        self._answer = answer
        self._chunks = aiter(answer.stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except CORES_OWN as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        await self._answer.aclose()


def _as_httpx(error: Exception) -> httpx.TransportError:
    """The same under httpx's name, as httpx's own transport has it."""
    return HTTPX_NAMES[type(error)](str(error))
