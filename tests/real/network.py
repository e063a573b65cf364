"""The ways of several clients to the API server: every request is seen in order, and each way can be cut and mended.

The near end speaks plain HTTP, so that requests can be read as they pass; the far end speaks TLS with the server. What
is cut behaves as behind a firewall that drops: connections are gone, and new ones get no answer. A request can also be
held on its way, for as long as a test says.
"""

import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import trio

from tests.real.cluster import ControlPlane

CHUNK = 65536
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
"""What one end raises when the other has gone."""


class Passed(NamedTuple):
    """One request that was let through. `at` is of the monotonic clock."""

    at: float
    client: str
    method: str
    target: str


Hold = Callable[[Passed, bytes], Awaitable[None]]
"""Is given a request, and all of it as it was sent, and returns when it may pass."""


async def free(request: Passed, whole: bytes) -> None:
    """Hold no request."""


class Link:
    """One client's way. `client` may be renamed: it stands in what is seen from then on. `hold` may be set any time."""

    def __init__(self, client: str, cluster: ControlPlane, see: Callable[[Passed], None]) -> None:
        self.client = client
        self.hold: Hold = free
        self._cluster = cluster
        self._see = see
        self._is_cut = False
        self._connections: set[trio.CancelScope] = set()
        self._token = trio.lowlevel.current_trio_token()
        self.url = ""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._connected, [listener])

    def cut(self) -> None:
        """From any thread: let nothing pass any more."""
        trio.from_thread.run_sync(self._cut, trio_token=self._token)

    def mend(self) -> None:
        """From any thread: let new connections pass."""
        trio.from_thread.run_sync(self._mend, trio_token=self._token)

    def _cut(self) -> None:
        self._is_cut = True
        self._drop()

    def _mend(self) -> None:
        self._is_cut = False
        self._drop()

    def _drop(self) -> None:
        for connection in self._connections:
            connection.cancel()

    async def _connected(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope, suppress(*GONE):
            self._connections.add(scope)
            try:
                if self._is_cut:
                    await trio.sleep_forever()
                await self._join(near)
            finally:
                self._connections.discard(scope)

    async def _join(self, near: trio.SocketStream) -> None:
        address = urlsplit(self._cluster.url)
        trust = ssl.create_default_context(cafile=self._cluster.ca_file)
        far = await trio.open_ssl_over_tcp_stream(
            address.hostname or "", address.port or 443, ssl_context=trust, https_compatible=True
        )
        try:
            with trio.CancelScope() as both:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._up, near, far, both)
                    nursery.start_soon(self._down, near, far, both)
        finally:
            await trio.aclose_forcefully(far)

    async def _up(
        self, near: trio.SocketStream, far: trio.SSLStream[trio.SocketStream], both: trio.CancelScope
    ) -> None:
        with suppress(*GONE):
            while chunk := await near.receive_some(CHUNK):
                method, _, rest = chunk.partition(b"\r\n")[0].partition(b" ")
                if rest.endswith(b" HTTP/1.1"):
                    request = Passed(time.monotonic(), self.client, method.decode(), rest.split()[0].decode())
                    self._see(request)
                    await self.hold(request, chunk)
                await far.send_all(chunk)
        both.cancel()

    async def _down(
        self, near: trio.SocketStream, far: trio.SSLStream[trio.SocketStream], both: trio.CancelScope
    ) -> None:
        with suppress(*GONE):
            while chunk := await far.receive_some(CHUNK):
                await near.send_all(chunk)
        both.cancel()


@contextmanager
def network(cluster: ControlPlane, *clients: str, see: Callable[[Passed], None]) -> Generator[dict[str, Link]]:
    """A way for each client, in a thread of its own, for the length of the block."""
    links: dict[str, Link] = {}
    ready = threading.Event()
    life = trio.CancelScope()
    token: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        token.append(trio.lowlevel.current_trio_token())
        with life:
            async with trio.open_nursery() as nursery:
                for client in clients:
                    links[client] = Link(client, cluster, see)
                    await nursery.start(links[client].serve)
                ready.set()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    ready.wait(timeout=10)
    try:
        yield links
    finally:
        trio.from_thread.run_sync(life.cancel, trio_token=token[0])
        thread.join()
