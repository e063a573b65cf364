"""The network between one replica and one server, on which everything may go wrong.

What has left a replica reaches the server even when the replica does not wait for it any more. There are no sockets and
no HTTP: a call is one exchange of the program's own kind, and only a watch is a stream of httpx's.
"""

import math
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import httpx
import trio

from secrets_manager.demo.api.requests import Reply
from secrets_manager.net.exchange import Answer, Request
from tests.doubles.kube_transport import WatchStream, read_timeout
from tests.simulation.pausing import REPLICA
from tests.simulation.steps import Ask, Step, step_at_kubernetes, step_at_vault
from tests.simulation.weather import Met

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.world import World

REFUSED, BROKEN, LATE = "connection refused", "connection reset by peer", "no answer in time"


class Parcel:
    """A request that is under way, and its answer."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.here = trio.Event()
        self.abandoned = False


class Road:
    """A lane of the program (net/exchange.py)."""

    def __init__(self, world: "World", replica: "Replica", *, to_vault: bool) -> None:
        self._world = world
        self._replica = replica
        self._life = replica.identity
        self._to_vault = to_vault

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def exchange(self, request: Request, *, at_most: int) -> Answer:
        await trio.lowlevel.checkpoint_if_cancelled()  # as a socket does before it sends
        ask = self._ask(request)
        patience = request.timeout.get("read")
        met = await self._depart(ask)
        return await self._carry(ask, met, math.inf if patience is None else patience)

    def _ask(self, request: Request) -> Ask:
        path, _, query = request.target.decode().partition("?")
        parsed = dict(parse_qsl(query)) if query else {}
        headers = dict(request.headers)
        if self._to_vault:
            path = path.removeprefix("/v1/")
            token = headers.get(b"X-Vault-Token", b"").decode()
            step = step_at_vault(path, parsed)
            return Ask(self._life, step, request.method, path, parsed, request.content, token=token)
        content_type = headers.get(b"Content-Type", b"").decode()
        step = step_at_kubernetes(request.method, path, parsed)
        return Ask(self._life, step, request.method, path, parsed, request.content, content_type)

    async def _depart(self, ask: Ask) -> Met:
        """The request leaves, unless it can't."""
        if self._replica.is_dead(self._life):
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(REFUSED)
        met = self._world.leaves(ask, self._replica)
        treatment = met.treatment
        if treatment.dies == "before":
            self._replica.kill()
            await trio.sleep_forever()
        match treatment.struck:
            case "paused":
                self._world.pause(self._replica.number, treatment.seconds)
            case "cut off":
                self._replica.cut_off(treatment.seconds)
            case "stopped":
                self._replica.stop()
        if treatment.refused:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(REFUSED)
        return met

    async def _carry(self, ask: Ask, met: Met, patience: float) -> Answer:
        treatment = met.treatment
        if treatment.there or treatment.back or self._replica.is_cut_off:
            answer = await self._travelled(ask, met, patience)
        else:
            await trio.lowlevel.checkpoint()
            answer = self._handled(ask, met)
            await trio.lowlevel.checkpoint()
        if treatment.broken:
            raise httpx.ReadError(BROKEN)
        return answer

    async def _travelled(self, ask: Ask, met: Met, patience: float) -> Answer:
        parcel = Parcel()
        self._world.nursery.start_soon(self._travel, ask, met, parcel)
        try:
            with trio.move_on_after(patience):
                await parcel.here.wait()
            if parcel.answer is None:
                raise httpx.ReadTimeout(LATE)
            return parcel.answer
        finally:
            parcel.abandoned = True

    async def _travel(self, ask: Ask, met: Met, parcel: Parcel) -> None:
        """On the network, which a replica can not stop."""
        REPLICA.set("")
        if self._replica.is_cut_off:
            return
        await trio.sleep(met.treatment.there)
        if met.treatment.arrivals == 0:
            return
        answer = self._handled(ask, met, is_late=parcel.abandoned)
        if met.treatment.back > 1e5:
            return
        await trio.sleep(met.treatment.back)
        await self._replica.connected()
        parcel.answer = answer
        parcel.here.set()

    def _handled(self, ask: Ask, met: Met, *, is_late: bool = False) -> Answer:
        treatment = met.treatment
        if treatment.instead is not None:
            return treatment.instead
        if treatment.tokens_die:
            self._world.vault.drop_tokens()
        when, _, what = treatment.meddled.partition(" ")
        if when == "before":
            self._world.meddle(what, ask)
        answer = self._world.arrives(ask, behind=treatment.behind, is_late=is_late)
        for _ in range(treatment.arrivals - 1):
            answer = self._world.arrives(ask, behind=treatment.behind, is_late=is_late)
        if when == "after":
            self._world.meddle(what, ask)
        if treatment.dies == "after" and not self._replica.is_dead(self._life):
            self._replica.kill()
        return answer._replace(body=answer.body[: len(answer.body) // 2]) if treatment.halved else answer


class WatchRoad(httpx.AsyncBaseTransport):
    """The same for watches."""

    def __init__(self, world: "World", replica: "Replica") -> None:
        self._world = world
        self._replica = replica
        self._road = Road(world, replica, to_vault=False)
        self._life = replica.identity

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint_if_cancelled()
        query = dict(parse_qsl(request.url.query.decode()))
        ask = Ask(self._life, Step.WATCH, "GET", request.url.path, query)
        met = await self._road._depart(ask)
        return await self._opened(ask, met, read_timeout(request))

    async def _opened(self, ask: Ask, met: Met, patience: float) -> httpx.Response:
        treatment = met.treatment
        if treatment.arrivals == 0 or treatment.back > 1e5 or self._replica.is_cut_off:
            await trio.sleep(patience)
            raise httpx.ReadTimeout(LATE)
        await trio.sleep(treatment.there + treatment.back)
        if treatment.instead is not None:
            return _response(treatment.instead)
        watch = self._world.kubernetes.handle(ask)
        if isinstance(watch, Reply):
            return httpx.Response(watch.status, content=watch.body)
        if treatment.broken:
            watch.close()
            raise httpx.ReadError(BROKEN)
        if treatment.dies == "after":
            self._replica.kill()
        return httpx.Response(200, stream=Stream(WatchStream(watch, read_timeout=patience), self, met, patience))


class Stream(httpx.AsyncByteStream):
    """A watch's body, as it comes through."""

    def __init__(self, inner: WatchStream, road: WatchRoad, met: Met, patience: float) -> None:
        self._inner = inner
        self._replica = road._replica
        self._met = met
        self._patience = patience
        self._silent_from = trio.current_time() + met.treatment.silent_after
        self._left = met.treatment.cut_after or (100 if met.treatment.halved else -1)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left == 0:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        with trio.move_on_after(self._patience):
            chunk = await anext(self._inner)
            if trio.current_time() >= self._silent_from:
                await trio.sleep_forever()
            if self._met.treatment.behind and trio.current_time() < self._met.until:
                await trio.sleep(self._met.treatment.behind)
            await self._replica.connected()
            if self._left > 0:
                chunk = chunk[: self._left]
                self._left -= len(chunk)
            return chunk
        raise httpx.ReadTimeout("the stream was silent for too long")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _response(answer: Answer) -> httpx.Response:
    headers: Mapping[str, str] = {name.decode(): text.decode() for name, text in answer.raw_headers}
    return httpx.Response(answer.status, content=answer.body, headers=headers)
