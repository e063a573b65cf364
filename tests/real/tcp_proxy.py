"""A road to a server that can be made bad: slow, silent, or cut in the middle of a reply."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import Enum, auto

from tests.real.listener import Listener

CHUNK = 65536


class Road(Enum):
    """How bytes go from the server to the client."""

    GOOD = auto()
    SLOW = auto()
    """Each piece comes three seconds late."""
    SILENT = auto()
    """Nothing arrives at either end, and no connection is closed: as with a cable that was pulled."""
    CUT = auto()
    """A reply ends after a hundred bytes."""


class TcpProxy:
    """Listens on a port of its own. `road` may be changed at any time, for open connections, too."""

    def __init__(self, port: int) -> None:
        self.road = Road.GOOD
        self._target = port
        self._open: set[socket.socket] = set()
        self._silenced: set[socket.socket] = set()
        self._listener = Listener(self._serve)

    @property
    def address(self) -> str:
        return self._listener.address

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def silence(self) -> int:
        """Let nothing pass any more over the connections that are open, and leave new ones alone. Returns how many."""
        silenced = self._open - self._silenced
        self._silenced |= silenced
        return len(silenced)

    def close(self) -> None:
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = self._listener.connect(self._target)
        except OSError:
            self._listener.release(client)
            return
        self._open.add(client)
        up = threading.Thread(target=self._up, args=(client, server), daemon=True)
        up.start()
        self._down(client, server)
        up.join()
        self._open.discard(client)
        self._silenced.discard(client)
        self._listener.release(client, server)

    def _road_of(self, client: socket.socket) -> Road:
        return Road.SILENT if client in self._silenced else self.road

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK):
                if self._road_of(client) is not Road.SILENT:
                    server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK):
                match self._road_of(client):
                    case Road.SILENT:
                        continue
                    case Road.SLOW:
                        time.sleep(3)
                    case Road.CUT:
                        client.sendall(data[:100])
                        client.shutdown(socket.SHUT_RDWR)
                    case _:
                        pass
                client.sendall(data)
            if self._road_of(client) is not Road.SILENT:
                client.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(port: int) -> Generator[TcpProxy]:
    proxy = TcpProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
