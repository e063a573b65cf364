"""A port of one's own, each of whose connections is served by a thread: what the proxies for tests stand on."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Listener:
    """Serves until it is closed; with it ends every connection that was made here."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open = {self._socket}
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def connect(self, port: int) -> socket.socket:
        """A connection to another port of this machine. Raises: OSError."""
        server = socket.create_connection(("127.0.0.1", port))
        self._open.add(server)
        return server

    def release(self, *connections: socket.socket) -> None:
        """Close connections that have done their work, where there may be too many to keep until the end."""
        for each in connections:
            self._open.discard(each)
            each.close()

    def close(self) -> None:
        for each in tuple(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self._open.add(client)
                threading.Thread(target=self._served, args=(client,), daemon=True).start()

    def _served(self, client: socket.socket) -> None:
        with suppress(OSError):
            self._serve(client)
