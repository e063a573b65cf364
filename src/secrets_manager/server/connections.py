"""hypercorn on each connection, with bounds.

hypercorn bounds the head of a request (16 KiB) and the time until it is complete. It does not bound the number of
connections, nor how long a client may take to receive a response. Here the oldest connection gives way to a new one
beyond a maximum, so that idle ones keep out neither Prometheus nor the kubelet.

The TLS context is fetched for each connection, so that a changed certificate is used from the next one on.
"""

import binascii
import logging
import socket
import ssl
from collections.abc import Callable

import h11
import trio
import wsproto.utilities
from h2.exceptions import H2Error
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hyperframe.exceptions import HyperframeError

from secrets_manager.errors import leaves
from secrets_manager.server.router import Router

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""Each may hold a response, and that of /metrics has some MB where there are thousands of definitions."""
HEAD_TIMEOUT = 5.0
"""Seconds for a request's head, and between two requests of a connection."""
HANDSHAKE_TIMEOUT = 5.0
SEND_TIMEOUT = 30.0
"""Seconds in which a client must receive a response."""
MAX_HEAD = 16 * 1024
"""Bytes of a request's head."""
MAX_STREAMS = 1
"""Concurrent requests of a connection that asks for HTTP/2, which hypercorn has no setting to refuse; see router.py."""

PROTOCOL_ERRORS = (
    h11.ProtocolError,
    H2Error,
    HyperframeError,
    wsproto.utilities.ProtocolError,
    binascii.Error,
    trio.BusyResourceError,
)
"""What bytes of a client lead to in hypercorn, mostly in an upgrade to HTTP/2 or a websocket. The last one is raised
where it closes a connection on which it still sends."""

TlsContext = Callable[[], ssl.SSLContext]


class BoundedStream(trio.abc.HalfCloseableStream):
    """A TCP connection on which sending takes a bounded time. hypercorn needs `socket`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send. Raises: trio.BrokenResourceError, also if it takes too long."""
        with trio.move_on_after(SEND_TIMEOUT) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the client is too slow")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Connections:
    """The connections of one address."""

    def __init__(self, router: Router, tls: TlsContext | None) -> None:
        self._app = ASGIWrapper(router.app)
        self._tls = tls
        self._config = _config()
        self._context = WorkerContext(None)
        self._open: dict[BoundedStream, None] = {}
        """From the oldest to the newest."""

    async def serve(self, accepted: trio.SocketStream) -> None:
        """Serve a connection until its end. No error of it reaches another connection."""
        stream = BoundedStream(accepted)
        self._open[stream] = None
        try:
            if len(self._open) > MAX_CONNECTIONS:
                await trio.aclose_forcefully(self._pop_oldest())
            secured = self._secured(stream)
            await TCPServer(
                self._app,
                self._config,
                self._context,
                ConnectionState({}),
                secured,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it needs no more than a stream with a socket
            )
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # in the handshake
        except* PROTOCOL_ERRORS as errors:
            names = ", ".join(sorted({type(error).__name__ for error in leaves(errors)}))
            log.debug("protocol error of a client", extra={"fields": {"error": names}})
        except* Exception:  # it fails this connection only
            log.exception("unexpected error of a connection")
        finally:
            self._open.pop(stream, None)
            await trio.aclose_forcefully(stream)

    def _pop_oldest(self) -> BoundedStream:
        oldest = next(iter(self._open))
        del self._open[oldest]
        return oldest

    def _secured(self, stream: BoundedStream) -> trio.SSLStream[BoundedStream] | BoundedStream:
        if self._tls is None:
            return stream
        return trio.SSLStream(stream, self._tls(), server_side=True, https_compatible=True)


async def serve(
    listener: socket.socket,
    router: Router,
    *,
    tls: TlsContext | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started when connections are accepted. `tls` returns the context of a new connection."""
    accepted = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, Connections(router, tls).serve, [accepted])
        task_status.started()


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = HEAD_TIMEOUT
    config.ssl_handshake_timeout = HANDSHAKE_TIMEOUT
    config.h11_max_incomplete_size = MAX_HEAD
    config.h2_max_header_list_size = MAX_HEAD
    config.h2_max_concurrent_streams = MAX_STREAMS
    return config
