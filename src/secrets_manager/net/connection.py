"""One HTTP/1.1 connection to one server, on a stream of Trio's: a request, its response, and then the next one.

A request is sent in one piece, its head with its body: one system call and one TLS record.
"""

import math
import re
import select
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import cache
from typing import NamedTuple

import httpx
import trio

from secrets_manager.net.response import ResponseParser
from secrets_manager.net.tls import client_context
from secrets_manager.net.tls_stream import CHUNK, TlsStream

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


class Route(NamedTuple):
    """How a server is reached: by the network, through an HTTP proxy, or by the file of a Unix socket."""

    tls: ssl.SSLContext
    proxy: httpx.URL | None = None
    socket: str = ""


class Connection:
    """An open connection. `proxy_headers` go with each request to a proxy that passes requests on."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        socket: trio.SocketStream,
        origin: tuple[str, str, int],
        *,
        proxy_headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self.origin = origin
        self._stream = stream
        self._socket = socket
        """What is below the stream."""
        self._proxy_headers = proxy_headers
        self._read_within = math.inf
        self._response = ResponseParser()

    def __repr__(self) -> str:
        return f"Connection({self.origin[1]}:{self.origin[2]})"

    @property
    def can_be_kept(self) -> bool:
        """Whether the last response has ended, and another request may follow."""
        return self._response.is_complete and self._response.keep_alive

    @property
    def is_dead(self) -> bool:
        """Whether the server has closed an idle connection, or sent something before any request."""
        poll = select.poll()
        poll.register(self._socket.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def send(self, request: httpx.Request) -> ResponseParser:
        """Send a request, and wait for the head of its response.

        Raises: httpx.TransportError.
        """
        message = encoded(request, request.read(), proxy_headers=self._proxy_headers)
        self._response = ResponseParser()
        self._read_within = _seconds(request, "read")
        sent = False
        with trio.move_on_after(_seconds(request, "write")) as limit:
            with suppress(trio.BrokenResourceError):  # the server may have refused it before its end, and said why
                await self._stream.send_all(message)
            sent = True
            while not self._response.has_head:
                limit.deadline = trio.current_time() + self._read_within
                self._response.feed(await self._receive())
            return self._response
        raise self._silence if sent else httpx.WriteTimeout("the server takes no data")

    async def receive_body(self) -> bytes:
        """Return the next piece of the response's body; nothing at its end.

        Raises: httpx.TransportError.
        """
        while True:
            if (body := self._response.take_body()) or self._response.is_complete:
                return body
            with trio.move_on_after(self._read_within) as limit:
                self._response.feed(await self._receive())
            if limit.cancelled_caught:
                raise self._silence

    async def aclose(self) -> None:
        """Close it at once: a shutdown of TLS could wait for a peer that reads nothing."""
        await trio.aclose_forcefully(self._stream)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except trio.BrokenResourceError as error:
            raise httpx.ReadError(str(error)) from error

    @property
    def _silence(self) -> httpx.ReadTimeout:
        return httpx.ReadTimeout(f"nothing came for {self._read_within:g} s")


async def open_connection(request: httpx.Request, route: Route) -> Connection:
    """Connect to the server that a request is for.

    Raises: httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError.
    """
    with trio.move_on_after(_seconds(request, "connect")):
        async with AsyncExitStack() as on_failure:
            try:
                connection = await _connect(origin_of(request.url), route, on_failure)
            except (OSError, ValueError, trio.BrokenResourceError) as error:  # ValueError: a host name that can't be
                raise httpx.ConnectError(str(error)) from error
            on_failure.pop_all()
            return connection
    raise httpx.ConnectTimeout("the server takes too long to connect")


def origin_of(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port."""
    return url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


def encoded(request: httpx.Request, content: bytes, *, proxy_headers: list[tuple[bytes, bytes]] | None = None) -> bytes:
    """Return the bytes of a request: the whole URL is its target where a proxy passes it on.

    Raises: httpx.LocalProtocolError for a header that could pass for something else. httpx.URL has seen to the target.
    """
    url = request.url
    target = url.raw_path if proxy_headers is None else b"http://%b%b" % (url.netloc, url.raw_path)
    headers = [*request.headers.raw, *(proxy_headers or ())]
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise httpx.LocalProtocolError("a header of the request has characters that it can't have")
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), target)]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", content])


async def _connect(origin: tuple[str, str, int], route: Route, on_failure: AsyncExitStack) -> Connection:
    scheme, host, port = origin
    via, via_host, via_port = origin_of(route.proxy) if route.proxy is not None else ("", host, port)
    if route.socket:
        socket = await trio.open_unix_socket(route.socket)
    else:
        socket = await trio.open_tcp_stream(via_host, via_port)
    on_failure.push_async_callback(trio.aclose_forcefully, socket)
    stream: trio.abc.Stream = socket
    if via == "https":
        stream = await _secured(stream, _trust_of_the_machine(), via_host)
    proxy_headers = _login_in(route.proxy) if route.proxy is not None else None
    if scheme == "https":
        if proxy_headers is not None:
            await _tunnel(stream, f"{f'[{host}]' if ':' in host else host}:{port}", proxy_headers)
        return Connection(await _secured(stream, route.tls, host), socket, origin)
    return Connection(stream, socket, origin, proxy_headers=proxy_headers)


async def _secured(stream: trio.abc.Stream, tls: ssl.SSLContext, host: str) -> trio.abc.Stream:
    secured = TlsStream(stream, tls, server_hostname=host)
    await secured.do_handshake()
    return secured


async def _tunnel(stream: trio.abc.Stream, target: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Have the proxy connect us. Raises: httpx.ProxyError with its status."""
    lines = [b"CONNECT %b HTTP/1.1" % target.encode(), b"Host: %b" % target.encode()]
    lines += [b"%b: %b" % header for header in headers]
    await stream.send_all(b"\r\n".join([*lines, b"", b""]))
    response = ResponseParser()
    while not response.has_head:
        try:
            response.feed(bytes(await stream.receive_some(CHUNK)))
        except httpx.RemoteProtocolError as error:
            raise httpx.ProxyError(str(error)) from None
    if not httpx.codes.is_success(response.status) or response.take_body():
        raise httpx.ProxyError(str(response.status))


@cache
def _trust_of_the_machine() -> ssl.SSLContext:
    return client_context()


def _login_in(proxy: httpx.URL) -> list[tuple[bytes, bytes]]:
    if not proxy.userinfo:
        return []
    return [(b"Proxy-Authorization", b"Basic " + b64encode(f"{proxy.username}:{proxy.password}".encode()))]


def _seconds(request: httpx.Request, phase: str) -> float:
    timeout: Mapping[str, float | None] = request.extensions.get("timeout", {})
    limit = timeout.get(phase)
    return math.inf if limit is None else limit
