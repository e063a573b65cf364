"""What the work costs a bare client: the least requests that lead to the same Secrets and statuses, and nothing else.

A read, a create and a status patch for each definition, from a few connections that send one request at a time. There
is no watch, no error, no deadline and no log. The figures of the program are to be read beside these, of the same run.
"""

import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio
from httptools import HttpResponseParser

CONNECTIONS = 16
"""To each server."""


class Work(msgspec.Struct):
    """What is to be done, on standard input as JSON."""

    vault: str
    vault_token: str
    kube: str
    kube_token: str
    ca_file: str
    paths: list[str]
    names: list[str]
    namespaces: list[str]
    statuses: str
    """The path of the definitions' API, with %s for the namespace and the name."""


class Spent(msgspec.Struct):
    """Seconds since the start of the process, of the clock and of CPU, when all was written and when all were Ready."""

    written: float
    written_cpu: float
    ready: float
    ready_cpu: float


class _Document(msgspec.Struct):
    data: dict[str, str]


class _Reply(msgspec.Struct):
    data: _Document


class Connection:
    """One connection; methods named on_ are httptools'."""

    def __init__(self, stream: trio.abc.Stream, head: str) -> None:
        self._stream = stream
        self._head = head
        self._body = b""
        self._ended = False

    async def ask(self, method: str, path: str, content: bytes = b"", content_type: str = "application/json") -> bytes:
        framing = f"Content-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
        await self._stream.send_all(f"{method} {path} HTTP/1.1\r\n{self._head}{framing}".encode() + content)
        self._body, self._ended = b"", False
        parser = HttpResponseParser(self)
        while not self._ended:
            parser.feed_data(await self._stream.receive_some(65536))
        if parser.get_status_code() >= 300:  # noqa: PLR2004 - then the figures mean nothing
            sys.exit(f"{method} {path}: {parser.get_status_code()} {self._body[:200]!r}")
        return self._body

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._ended = True


async def connect(url: str, headers: str, tls: ssl.SSLContext) -> Connection:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    stream: trio.abc.Stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    if parts.scheme == "https":
        stream = trio.SSLStream(stream, tls, server_hostname=parts.hostname)
    return Connection(stream, f"Host: {parts.netloc}\r\n{headers}")


async def each(numbers: Iterator[int], act: Callable[[int], Awaitable[None]]) -> None:
    for number in numbers:
        await act(number)


async def work(todo: Work) -> Spent:
    tls = ssl.create_default_context(cafile=todo.ca_file)
    vaults = [await connect(todo.vault, f"X-Vault-Token: {todo.vault_token}\r\n", tls) for _ in range(CONNECTIONS)]
    kubes = [await connect(todo.kube, f"Authorization: Bearer {todo.kube_token}\r\n", tls) for _ in range(CONNECTIONS)]

    async def sync(vault: Connection, kube: Connection, number: int) -> None:
        name, namespace = todo.names[number], todo.namespaces[number]
        reply = msgspec.json.decode(await vault.ask("GET", f"/v1/{todo.paths[number]}"), type=_Reply)
        data = {key: b64encode(value.encode()).decode() for key, value in reply.data.data.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        await kube.ask("POST", f"/api/v1/namespaces/{namespace}/secrets", msgspec.json.encode(secret))

    async def tell(kube: Connection, number: int) -> None:
        condition = {"type": "Ready", "status": "True", "reason": "Synced", "message": ""}
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        patch = msgspec.json.encode({"status": {"conditions": [condition]}})
        path = todo.statuses % (todo.namespaces[number], todo.names[number])
        await kube.ask("PATCH", path, patch, "application/merge-patch+json")

    numbers = iter(range(len(todo.names)))
    async with trio.open_nursery() as nursery:
        for vault, kube in zip(vaults, kubes, strict=True):
            nursery.start_soon(each, numbers, lambda number, v=vault, k=kube: sync(v, k, number))
    written, written_cpu = elapsed(), time.process_time()
    numbers = iter(range(len(todo.names)))
    async with trio.open_nursery() as nursery:
        for kube in kubes:
            nursery.start_soon(each, numbers, lambda number, k=kube: tell(k, number))
    return Spent(written, written_cpu, elapsed(), time.process_time())


def elapsed() -> float:
    """Seconds since the start of this process, to the hundredth."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / 100
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(trio.run(work, msgspec.json.decode(sys.stdin.buffer.read(), type=Work)))
    )
