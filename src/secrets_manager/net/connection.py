"""One connection to one server, for one request at a time: HTTP/1.1 over a stream of Trio's.

It is opened with the first request, and again when the server has closed it. A request is sent in one piece, its head
with its body: one system call and one TLS record.
"""

import re
import select
import ssl
from contextlib import suppress

import httpx
import trio

from secrets_manager.net.exchange import Answer, Request, Server
from secrets_manager.net.reply import ReplyReader

KEPT = 60.0
"""Seconds for which a connection is kept that nobody uses."""
DEFAULT_PORTS = {b"http": 80, b"https": 443}
CHUNK = 64 * 1024
"""Bytes that are received at a time."""

_TARGET = re.compile(rb"[\x21-\x7e]+")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


class Connection:
    """A lane. `uds` is the path of a Unix socket to connect to instead of the server."""

    def __init__(self, *, tls: ssl.SSLContext, uds: str = "") -> None:
        self._tls = tls
        self._uds = uds
        self._server: Server | None = None
        self._stream: trio.abc.Stream | None = None
        self._socket: trio.SocketStream | None = None
        """What is below the stream."""

    def __repr__(self) -> str:
        return f"Connection({'closed' if self._stream is None else 'open'})"

    async def exchange(self, request: Request, *, at_most: int) -> Answer:
        """Raises: httpx.TransportError, as httpx's own transport does; ReplyTooLarge."""
        message = encoded(request)
        too_slow: type[httpx.TimeoutException] = httpx.ConnectTimeout
        with trio.CancelScope() as scope:
            if not self._is_usable(request.server):
                scope.deadline = _deadline(request, "connect")
                await self._open(request.server)
            assert self._stream is not None
            too_slow, scope.deadline = httpx.WriteTimeout, _deadline(request, "write")
            with suppress(trio.BrokenResourceError):  # the server may have refused it before its end, and said why
                await self._stream.send_all(message)
            too_slow = httpx.ReadTimeout
            reply = ReplyReader(at_most=at_most)
            while not reply.complete:
                scope.deadline = _deadline(request, "read")
                reply.feed(await self._receive(self._stream))
            if not reply.keep_alive:
                await self.aclose()
            return reply.answer
        raise too_slow("the server takes too long")

    async def aclose(self) -> None:
        """Close it at once: a good-bye of TLS could wait for a peer that reads nothing."""
        stream, self._stream, self._socket = self._stream, None, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _receive(self, stream: trio.abc.Stream) -> bytes:
        try:
            return bytes(await stream.receive_some(CHUNK))
        except trio.BrokenResourceError as error:
            raise httpx.ReadError(str(error)) from error

    def _is_usable(self, server: Server) -> bool:
        """Whether a connection is there, to this server. A reply before any request, or an end, makes it useless."""
        if self._socket is None or server != self._server:
            return False
        poll = select.poll()
        poll.register(self._socket.socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def _open(self, server: Server) -> None:
        await self.aclose()
        host = server.host.decode("ascii")
        try:
            if self._uds:
                self._socket = await trio.open_unix_socket(self._uds)
            else:
                self._socket = await trio.open_tcp_stream(host, server.port or DEFAULT_PORTS[server.scheme])
            self._server, self._stream = server, self._socket
            if server.scheme == b"https":
                self._stream = secured = trio.SSLStream(
                    self._socket, self._tls, server_hostname=host, https_compatible=True
                )
                await secured.do_handshake()
        except (OSError, trio.BrokenResourceError) as error:
            await self.aclose()
            raise httpx.ConnectError(str(error)) from error


def encoded(request: Request) -> bytes:
    """The bytes of a request. Raises: httpx.LocalProtocolError for what could pass for something else than it is."""
    if not _TARGET.fullmatch(request.target):
        raise httpx.LocalProtocolError("the target of the request has characters that it can't have")
    for name, value in request.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise httpx.LocalProtocolError("a header of the request has characters that it can't have")
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.target)]
    lines += [b"%b: %b" % header for header in request.headers]
    return b"\r\n".join([*lines, b"", request.content])


def _deadline(request: Request, phase: str) -> float:
    limit = request.timeout.get(phase)
    return trio.current_time() + limit if limit is not None else float("inf")
