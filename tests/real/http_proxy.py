"""An HTTP proxy for tests: it takes every name for this machine, and remembers what it was asked for."""

import re
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from tests.real.listener import Listener

CHUNK = 65536

END = b"\r\n\r\n"


class HttpProxy:
    """Knows CONNECT and whole URLs."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        """What it answers itself, a whole reply by the request's method and target; by `*` any other."""
        self.adds = ""
        """A header that it adds to what it passes on."""
        self.asked: list[str] = []
        self.credentials: set[str] = set()
        self._listener = Listener(self._serve)

    @property
    def address(self) -> str:
        return self._listener.address

    def close(self) -> None:
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        while received := self._received(client):
            head, body = received
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            asked = f"{method} {target}"
            self.asked.append(asked)
            self.credentials |= {line for line in head.split("\r\n") if line.startswith("Proxy-Authorization")}
            answer = self.answers.get(asked) or self.answers.get("*")
            if answer:
                client.sendall(answer.encode())
            elif method == "CONNECT":
                self._tunnel(client, target)
                return
            else:
                self._forward(client, method, target, head, body)
                return

    def _received(self, client: socket.socket) -> tuple[str, bytes] | None:
        """The head and the body of one request; None where the client has gone."""
        received, whole = b"", re.compile(rb"(.*?\r\n)\r\n", re.DOTALL)
        while (found := whole.match(received)) is None or len(received) < found.end() + _length(found[1]):
            data = client.recv(CHUNK)
            if not data:
                return None
            received += data
        return found[1].decode(), received[found.end() :]

    def _tunnel(self, client: socket.socket, target: str) -> None:
        server = self._connect(target)
        client.sendall(b"HTTP/1.1 200 Connection established" + END)
        threading.Thread(target=_pump, args=(server, client), daemon=True).start()
        _pump(client, server)

    def _forward(self, client: socket.socket, method: str, url: str, head: str, body: bytes) -> None:
        place, _, path = url.removeprefix("http://").partition("/")
        lines = [f"{method} /{path} HTTP/1.1", "Connection: close", *filter(None, [self.adds])]
        lines += [line for line in head.split("\r\n")[1:] if line and not line.startswith(("Connection", "Proxy"))]
        server = self._connect(place)
        server.sendall("\r\n".join(lines).encode() + END + body)
        _pump(server, client)

    def _connect(self, place: str) -> socket.socket:
        return self._listener.connect(int(place.rpartition(":")[2]))


def _length(head: bytes) -> int:
    found = re.search(rb"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
    return int(found[1]) if found else 0


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def http_proxy() -> Generator[HttpProxy]:
    proxy = HttpProxy()
    try:
        yield proxy
    finally:
        proxy.close()
