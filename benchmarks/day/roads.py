"""The ways to the servers' process: transports for the program, which can be made bad, and clients for the users."""

import math
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum, auto
from http import HTTPStatus

import httpx
import msgspec
import trio

from benchmarks.day.servers import (
    Answer,
    Change,
    Channel,
    CloseWatch,
    Content,
    News,
    Question,
    ToKubernetes,
    ToVault,
)
from fake_kubernetes.documents import Object
from fake_kubernetes.requests import Request
from tests.doubles.kube_transport import ADMINISTRATOR, read_timeout, translated
from tests.doubles.vault_faults import rejection
from tests.real.kube_api import KubeApi, Query

SLOW = 3.0
"""Seconds that an answer is late."""


class Wire:
    """The one channel to the servers. `streams` are those of the watches, by their numbers."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._decoder = msgspec.msgpack.Decoder(Answer)
        self.streams: dict[int, Stream] = {}

    def ask(self, content: Content) -> Answer:
        self._channel.send(msgspec.msgpack.encode(Question(trio.current_time(), content)))
        answer = self._decoder.decode(self._channel.receive())
        if answer.watch:
            self.streams[answer.watch] = Stream(self, answer.watch)
        for number, news in answer.news.items():
            if number in self.streams:
                self.streams[number].bring(news)
        return answer


class Stream(httpx.AsyncByteStream):
    """The body of a watch."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.patience = math.inf
        self._wire = wire
        self._number = number
        self._lines: deque[bytes] = deque()
        self._ended = False
        self._woken = trio.Event()

    def bring(self, news: News) -> None:
        if news.lines:
            self._lines.append(news.lines)
        self._ended |= news.ended
        self._woken.set()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._lines:
            if self._ended:
                raise StopAsyncIteration
            self._woken = trio.Event()
            with trio.move_on_after(self.patience) as limit:
                await self._woken.wait()
            if limit.cancelled_caught:
                raise httpx.ReadTimeout("the watch was silent for too long")
        return self._lines.popleft()

    async def aclose(self) -> None:
        self._wire.streams.pop(self._number, None)
        if not self._ended:
            self._wire.ask(CloseWatch(self._number))


class RoadToKubernetes(httpx.AsyncBaseTransport):
    """`down`: no connection is accepted."""

    def __init__(self, wire: Wire) -> None:
        self.down = False
        self._wire = wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise httpx.ConnectError("connection refused")
        answer = self._wire.ask(ToKubernetes(translated(request, await request.aread())))
        await trio.lowlevel.checkpoint()
        if not answer.watch:
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
        stream = self._wire.streams[answer.watch]
        stream.patience = read_timeout(request)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream)


class Trouble(Enum):
    """What is the matter with Vault, or the way to it."""

    NONE = auto()
    LIMITED = auto()
    SEALED = auto()
    SLOW = auto()
    SILENT = auto()
    CUT = auto()


class RoadToVault(httpx.AsyncBaseTransport):
    """`trouble` may be changed at any time."""

    def __init__(self, wire: Wire, *, rate: int) -> None:
        self.trouble = Trouble.NONE
        self._wire = wire
        self._rate = rate
        self._second, self._passed = 0, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        match self.trouble:
            case Trouble.SILENT:
                await trio.sleep(read_timeout(request))
                raise httpx.ReadTimeout("nothing came")
            case Trouble.SEALED:
                refused = rejection(503, "Vault is sealed")
                return httpx.Response(refused.status, content=refused.body)
            case Trouble.LIMITED if not self._within_quota():
                refused = rejection(HTTPStatus.TOO_MANY_REQUESTS, "rate limit quota exceeded")
                return httpx.Response(refused.status, content=refused.body)
            case Trouble.SLOW:
                await trio.sleep(SLOW)
            case _:
                pass
        answer = self._wire.ask(_to_vault(request, await request.aread()))
        await trio.lowlevel.checkpoint()
        if self.trouble is Trouble.CUT:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    def _within_quota(self) -> bool:
        second = int(trio.current_time())
        self._passed = self._passed + 1 if second == self._second else 1
        self._second = second
        return self._passed <= self._rate


def _to_vault(request: httpx.Request, body: bytes) -> ToVault:
    path, token = request.url.path.removeprefix("/v1/"), request.headers.get("X-Vault-Token", "")
    return ToVault(request.method, path, token, dict(request.url.params), body)


def users_kubernetes(wire: Wire) -> KubeApi:
    def send(method: str, path: str, query: Query, body: bytes, content_type: str) -> tuple[int, bytes]:
        asked = {name: str(value) for name, value in query.items()}
        request = Request(method, path, asked, body, content_type, user_agent=ADMINISTRATOR)
        answer = wire.ask(ToKubernetes(request))
        return answer.status, answer.body

    return KubeApi(send)


class UsersVault:
    """What users do to secrets."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def write_kv(self, path: str, data: Object | None) -> None:
        self._wire.ask(Change("write", path, msgspec.json.encode(data)))

    def delete_kv(self, path: str) -> None:
        self._wire.ask(Change("delete", path))

    def undelete_kv(self, path: str) -> None:
        self._wire.ask(Change("undelete", path))

    def forget_kv(self, path: str) -> None:
        self._wire.ask(Change("forget", path))
