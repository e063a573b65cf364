"""Simulate the network between a replica and a server, and carry out the effects of faults.

A request that was sent reaches the server even if its sender no longer waits. There are no sockets: a link is a
transport of httpx's.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import httpx
import trio

from fake_kubernetes.requests import Reply
from fake_kubernetes.storage import Storage
from fake_kubernetes.watches import Watch
from tests.doubles.kube_transport import WatchStream, read_timeout
from tests.simulation.faults import PATH
from tests.simulation.injector import Injected
from tests.simulation.pausing import REPLICA
from tests.simulation.steps import Answer, Call, Step, step_at_kubernetes, step_at_vault

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.simulation import Simulation

REFUSED, BROKEN, LATE = "connection refused", "connection reset by peer", "no answer in time"


class InFlight:
    """A request on the wire, and its answer."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.arrived = trio.Event()
        self.abandoned = False


class Link(httpx.AsyncBaseTransport):
    """The transport from a replica to one server."""

    def __init__(self, simulation: "Simulation", replica: "Replica", *, to_vault: bool) -> None:
        self._simulation = simulation
        self._replica = replica
        self._sender = replica.identity
        self._to_vault = to_vault

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint_if_cancelled()  # as a socket does before it sends
        call = self._call(request, request.read())
        within = read_timeout(request)
        injected = await self._send(call)
        if call.step is Step.WATCH:
            return await self._watch(call, injected, within)
        answer = await self._deliver(call, injected, within)
        if answer.status < HTTPStatus.BAD_REQUEST:
            self._simulation.on_success(call)
        return _response(answer)

    def _call(self, request: httpx.Request, content: bytes) -> Call:
        method, target = request.method, request.url.raw_path
        if self._to_vault:
            step, path, query = _at_vault(target)
            token = _header(request, b"X-Vault-Token")
            return Call(self._sender, step, method, path, query, content, token=token)
        step, path, query = _at_kubernetes(method, target)
        content_type = _header(request, b"Content-Type")
        server = self._replica.any_server()
        return Call(self._sender, step, method, path, query, content, content_type, server=server)

    async def _send(self, call: Call) -> Injected:
        """Choose the fault, and apply those of its effects that strike the sender."""
        if self._replica.is_gone(self._sender):
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(REFUSED)
        injected = self._simulation.on_send(call, self._replica)
        effect = injected.effect
        if effect.kills == "before":
            self._replica.kill()
            await trio.sleep_forever()
        match effect.disruption:
            case "paused":
                self._simulation.pause(self._replica.number, effect.seconds)
            case "partition":
                self._replica.partition(effect.seconds)
            case "terminated":
                self._replica.stop()
            case _:
                pass
        if effect.refused:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(REFUSED)
        return injected

    async def _deliver(self, call: Call, injected: Injected, within: float) -> Answer:
        effect = injected.effect
        if effect.there or effect.back or self._replica.is_partitioned:
            answer = await self._deliver_later(call, injected, within)
        else:
            await trio.lowlevel.checkpoint()
            answer = self._at_server(call, injected)
            await trio.lowlevel.checkpoint()
        if effect.broken:
            raise httpx.ReadError(BROKEN)
        return answer

    async def _deliver_later(self, call: Call, injected: Injected, within: float) -> Answer:
        in_flight = InFlight()
        self._simulation.nursery.start_soon(self._transmit, call, injected, in_flight)
        try:
            with trio.move_on_after(within):
                await in_flight.arrived.wait()
            if in_flight.answer is None:
                raise httpx.ReadTimeout(LATE)
            return in_flight.answer
        finally:
            in_flight.abandoned = True

    async def _transmit(self, call: Call, injected: Injected, in_flight: InFlight) -> None:
        """Run the request in a task that outlives its sender."""
        REPLICA.set("")
        if self._replica.is_partitioned:
            return
        await trio.sleep(injected.effect.there)
        if injected.effect.arrivals == 0:
            return
        answer = self._at_server(call, injected, is_late=in_flight.abandoned)
        if injected.effect.back > 1e5:
            return
        await trio.sleep(injected.effect.back)
        await self._replica.connected()
        in_flight.answer = answer
        in_flight.arrived.set()

    def _at_server(self, call: Call, injected: Injected, *, is_late: bool = False) -> Answer:
        effect = injected.effect
        if (instead := effect.instead) is not None:
            return instead._replace(body=instead.body.replace(PATH.encode(), call.path.encode()))
        if effect.revokes_tokens:
            self._simulation.vault.revoke_tokens()
        when, _, what = effect.interference.partition(" ")
        if when == "before":
            self._simulation.interfere(what, call)
        answer = self._simulation.on_receive(call, behind=effect.behind, is_late=is_late)
        for _ in range(effect.arrivals - 1):
            answer = self._simulation.on_receive(call, behind=effect.behind, is_late=is_late)
        if when == "after":
            self._simulation.interfere(what, call)
        if effect.kills == "after" and not self._replica.is_gone(self._sender):
            self._replica.kill()
        if call.step is Step.WRITE and call.method != "DELETE":
            answer = self._simulation.on_secret_written(call, answer, effect.warning)
        return answer._replace(body=answer.body[: len(answer.body) // 2]) if effect.truncated else answer

    async def _watch(self, call: Call, injected: Injected, within: float) -> httpx.Response:
        effect = injected.effect
        if effect.arrivals == 0 or effect.back > 1e5 or self._replica.is_partitioned:
            await trio.sleep(within)
            raise httpx.ReadTimeout(LATE)
        await trio.sleep(effect.there + effect.back)
        if effect.instead is not None:
            return _response(effect.instead)
        watch = self._simulation.kubernetes.handle(call)
        if isinstance(watch, Reply):
            return _response(Answer(watch.status, [], watch.body))
        if effect.broken:
            watch.close()
            raise httpx.ReadError(BROKEN)
        if effect.kills == "after":
            self._replica.kill()
        body = WatchStream(watch, read_timeout=within)
        watch.wake = partial(_wake_for_news, watch, self._simulation.kubernetes.cluster.storage, watch.wake)
        return httpx.Response(200, stream=Stream(body, self, call, injected, within))


class Stream(httpx.AsyncByteStream):
    """The body of a watch, with the effects of its fault."""

    def __init__(self, inner: WatchStream, link: Link, call: Call, injected: Injected, within: float) -> None:
        self._inner = inner
        self._simulation = link._simulation
        self._replica = link._replica
        self._call = call
        self._injected = injected
        self._within = within
        self._silent_from = trio.current_time() + injected.effect.silent_after
        self._left = injected.effect.cut_after or (100 if injected.effect.truncated else -1)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left == 0:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        with trio.move_on_after(self._within):
            chunk = await anext(self._inner)
            if trio.current_time() >= self._silent_from:
                await trio.sleep_forever()
            if self._injected.effect.behind and self._is_behind:
                await trio.sleep(self._injected.effect.behind)
            elif lag := self._simulation.lag(self._call):
                await trio.sleep(lag)
            await self._replica.connected()
            if self._left > 0:
                chunk = chunk[: self._left]
                self._left -= len(chunk)
            return chunk
        raise httpx.ReadTimeout("the stream was silent for too long")

    @property
    def _is_behind(self) -> bool:
        return self._simulation.plan_time < self._injected.until

    async def aclose(self) -> None:
        await self._inner.aclose()


@lru_cache(10_000)
def _at_vault(target: bytes) -> tuple[Step, str, Mapping[str, str]]:
    path, query = _parsed(target)
    path = path.removeprefix("/v1/")
    return step_at_vault(path, query), path, query


@lru_cache(10_000)
def _at_kubernetes(method: str, target: bytes) -> tuple[Step, str, Mapping[str, str]]:
    path, query = _parsed(target)
    return step_at_kubernetes(method, path, query), path, query


def _parsed(target: bytes) -> tuple[str, Mapping[str, str]]:
    path, _, query = target.decode().partition("?")
    return path, dict(parse_qsl(query))


def _wake_for_news(watch: Watch, storage: Storage, wake: Callable[[], None]) -> None:
    """Wake no watch for changes of other resources and namespaces, which cost most where many watches are open."""
    last = storage._changes[-1].key if storage._changes else None
    wanted = watch.selection
    if watch._ended or last is None or (last.resource == wanted.resource and wanted.namespace in ("", last.namespace)):
        wake()


def _response(answer: Answer) -> httpx.Response:
    """Return a response as a transport of httpx's does: with `content` httpx would read it at once, for nothing."""
    return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))


def _header(request: httpx.Request, name: bytes) -> str:
    """Return a header by the name that the program writes; httpx's own search costs ten times as much."""
    return next((value for written, value in request.headers.raw if written == name), b"").decode()
