"""A road to a server that can be made bad: slow, silent, or cut in the middle of a reply."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto

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
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._open.append(server)
                for pump in (self._up, self._down):
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK):
                if self.road is not Road.SILENT:
                    server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK):
                match self.road:
                    case Road.SILENT:
                        continue
                    case Road.SLOW:
                        time.sleep(3)
                    case Road.CUT:
                        client.sendall(data[:100])
                        client.shutdown(socket.SHUT_RDWR)
                client.sendall(data)
            if self.road is not Road.SILENT:
                client.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(port: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
