"""The doubles of Kubernetes and Vault in a process of their own, so that their memory is not the program's.

The program's process asks and waits for the answer, so no virtual time passes meanwhile. Each question has the time,
and each answer brings what has become due on the watches.
"""

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from itertools import count
from math import inf
from typing import Literal

import msgspec

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import mapping, parse
from fake_kubernetes.requests import Reply, Request
from fake_kubernetes.watches import BOOKMARK_PERIOD, Watch
from tests.definitions import CRD
from tests.doubles import vault as double
from tests.doubles.kube_transport import START
from tests.doubles.vault import VaultState
from tests.doubles.vault_faults import is_listing
from tests.doubles.vault_tokens import Credentials

LENGTH = 4
"""Bytes of the length that stands before each message."""


class ToKubernetes(msgspec.Struct, tag=True):
    request: Request


class ToVault(msgspec.Struct, tag=True):
    method: str
    path: str
    token: str
    params: dict[str, str]
    body: bytes


class Change(msgspec.Struct, tag=True):
    """What a user does to a path of Vault; `values` is a JSON object."""

    act: Literal["write", "delete", "undelete", "forget"]
    path: str
    values: bytes = b"{}"


class EndWatches(msgspec.Struct, tag=True):
    """As a server does that goes down."""


class CloseWatch(msgspec.Struct, tag=True):
    watch: int


Content = ToKubernetes | ToVault | Change | EndWatches | CloseWatch


class Question(msgspec.Struct):
    """`now`: seconds of virtual time."""

    now: float
    content: Content


class News(msgspec.Struct):
    """Of one watch."""

    lines: bytes
    ended: bool


class Answer(msgspec.Struct):
    """`watch` is the number of the watch that was opened; 0 for none."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""
    watch: int = 0
    news: dict[int, News] = {}


class Open(msgspec.Struct):
    """A watch, and when its next bookmark and its end are due."""

    watch: Watch
    began: float
    bookmark: float

    @property
    def end(self) -> float:
        return inf if self.watch.timeout is None else self.began + self.watch.timeout


class Servers:
    """Both. What the program may read and list is given by `policy`."""

    def __init__(self, policy: tuple[str, ...]) -> None:
        self._now = 0.0
        self._cluster = Cluster(now=lambda: START + timedelta(seconds=self._now), crds=(CRD,))
        self._vault = VaultState(clock=lambda: self._now)
        self.credentials = self._vault.reader(*policy)
        self._listings: dict[str, Answer] = {}
        """Until the next change: they are what is asked for most."""
        self._watches: dict[int, Open] = {}
        self._numbers = count(1)

    def answer(self, question: Question) -> Answer:
        self._now = question.now
        answer = self._handle(question.content)
        answer.news = self._news()
        return answer

    def _handle(self, content: Content) -> Answer:
        match content:
            case ToKubernetes(request):
                return self._in_kubernetes(request)
            case ToVault() as request:
                return self._in_vault(request)
            case Change() as change:
                return self._changed(change)
            case EndWatches():
                self._cluster.end_watches()
                return Answer()
            case CloseWatch(number):
                if opened := self._watches.pop(number, None):
                    opened.watch.close()
                return Answer()

    def _in_kubernetes(self, request: Request) -> Answer:
        reply = self._cluster.handle(request)
        if isinstance(reply, Reply):
            return Answer(reply.status, {"Content-Type": reply.content_type}, reply.body)
        number = next(self._numbers)
        self._watches[number] = Open(reply, self._now, self._now + BOOKMARK_PERIOD)
        return Answer(headers={"Content-Type": "application/json"}, watch=number)

    def _in_vault(self, request: ToVault) -> Answer:
        if request.path in self._listings:
            return self._listings[request.path]
        body = mapping(parse(request.body)) if request.body else {}
        asked = double.Request(request.method, request.path, request.token, request.params, body)
        response = self._vault.handle(asked)
        answer = Answer(response.status, dict(response.headers), response.body)
        if is_listing(asked) and response.status == HTTPStatus.OK:
            self._listings[request.path] = answer
        return answer

    def _changed(self, change: Change) -> Answer:
        self._listings.clear()
        match change.act:
            case "write":
                self._vault.write_kv(change.path, parse(change.values))
            case "delete":
                self._vault.delete_kv(change.path)
            case "undelete":
                self._vault.undelete_kv(change.path)
            case "forget":
                self._vault.forget_kv(change.path)
        return Answer()

    def _news(self) -> dict[int, News]:
        news = {}
        for number, opened in list(self._watches.items()):
            watch = opened.watch
            if self._now >= opened.end:
                watch.end()
            elif self._now >= opened.bookmark:
                watch.send_bookmark()
                opened.bookmark = self._now + BOOKMARK_PERIOD
            if (lines := watch.take()) or watch.ended:
                news[number] = News(lines, watch.ended)
            if watch.ended:
                del self._watches[number]
                watch.close()
        return news


class Channel:
    """One end of a pair of sockets, over which messages go."""

    def __init__(self, end: socket.socket) -> None:
        self._file = end.makefile("rwb")

    def send(self, message: bytes) -> None:
        self._file.write(len(message).to_bytes(LENGTH) + message)
        self._file.flush()

    def receive(self) -> bytes:
        """Return the next message; nothing where the other end is closed."""
        return self._file.read(int.from_bytes(self._file.read(LENGTH)))


@contextmanager
def running(policy: tuple[str, ...]) -> Generator[tuple[Channel, Credentials]]:
    """Start them, and yield the way to them and the program's login."""
    here, there = socket.socketpair()
    with subprocess.Popen([sys.executable, "-m", __name__, *policy], stdin=there.fileno()), here:
        there.close()
        channel = Channel(here)
        try:
            yield channel, msgspec.msgpack.decode(channel.receive(), type=Credentials)
        finally:
            here.shutdown(socket.SHUT_RDWR)


def main() -> None:
    servers, decoder = Servers(tuple(sys.argv[1:])), msgspec.msgpack.Decoder(Question)
    channel = Channel(socket.socket(fileno=sys.stdin.fileno()))
    channel.send(msgspec.msgpack.encode(servers.credentials))
    while question := channel.receive():
        channel.send(msgspec.msgpack.encode(servers.answer(decoder.decode(question))))


if __name__ == "__main__":
    main()
