"""Candidates for one lease on one cluster in memory, each with a clock and a network of its own, in virtual time."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random

import httpx
import trio

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Json, Object, at
from secrets_manager.config import Config, LeaseConfig
from secrets_manager.kube.client import open_client
from secrets_manager.kube.lease import AlwaysLeader, Elector, LeadershipLost
from secrets_manager.supervisor import new_elector
from tests.doubles import faults as fault
from tests.doubles.faults import Fault, Faults, Send
from tests.doubles.kube_transport import DOUBLE, KubeTransport, administrator, virtual_time

LEASE = LeaseConfig(enabled=True)
PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/5ac9a181.secrets-manager.tuenti.io"
OFFLINE = fault.lose_request()

Work = Callable[[], Awaitable[None]] | None


class Connection(httpx.AsyncBaseTransport):
    """A connection whose first request has to connect, which takes its time, if the client waits for that long."""

    def __init__(self, inner: httpx.AsyncBaseTransport, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._seconds:
            seconds, self._seconds = self._seconds, 0.0
            await trio.sleep(seconds)
        return await self._inner.handle_async_request(request)


def travelling(there: float, back: float, *, nursery: trio.Nursery) -> Fault:
    """Let the request take its time to the server, where it arrives also if the client gives up, and the reply, too."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        replies, inbox = trio.open_memory_channel[httpx.Response](math.inf)

        async def arrive() -> None:
            await trio.sleep(there)
            reply = await send(request)
            await trio.sleep(back)
            replies.send_nowait(reply)

        nursery.start_soon(arrive)
        return await inbox.receive()

    return fault


class Candidate:
    """One process that wants to work. It notes each term of its work: when it began, and when it ended."""

    def __init__(self, name: str, arena: "Arena", *, skew: float, work: Work, ending: float, connecting: float) -> None:
        self.name = name
        self.elector: Elector = AlwaysLeader()
        self.faults = Faults(KubeTransport(arena.cluster))
        self.life = trio.CancelScope()
        self.over = trio.Event()
        self.done = trio.Event()
        self.killed = False
        self.lost = ""
        self.terms: list[list[float]] = []
        self._arena = arena
        self._ending = ending
        self._connecting = connecting
        self._skew = timedelta(seconds=skew)
        self._task = work or self.done.wait

    @property
    def at_work(self) -> bool:
        return bool(self.terms) and len(self.terms[-1]) == 1

    async def run(self) -> None:
        async with open_client(DOUBLE, transport=Connection(self.faults, self._connecting)) as client:
            self.elector = new_elector(
                Config(lease=LEASE),
                client,
                namespace="default",
                identity=self.name,
                random=Random(self.name),
                clock=self._time,
            )
            try:
                with self.life:
                    await self.elector.run(self._work)
            except* LeadershipLost as group:
                self.lost = str(group.exceptions[0])
        self.over.set()

    async def _work(self) -> None:
        assert self._arena.workers == [], f"{self.name} begins to work beside {self._arena.workers}"
        self._arena.workers.append(self.name)
        self.terms.append([trio.current_time()])
        try:
            await self._task()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self._ending)
            self.terms[-1].append(trio.current_time())
            self._arena.workers.remove(self.name)

    async def kill(self) -> None:
        """End it as SIGKILL does: no more of its requests reach a server."""
        self.killed = True
        self.faults.heal()
        self.faults.always(OFFLINE)
        self._ending = 0.0
        self.life.cancel()
        await self.over.wait()

    def slow_road(self, there: float, back: float) -> Fault:
        """A fault that makes requests and replies slow; what was sent arrives even when no one waits for it."""
        return travelling(there, back, nursery=self._arena.nursery)

    def _time(self) -> datetime:
        return virtual_time() + self._skew


class Arena:
    """A cluster, and those who want to work on it. `workers` are those who do."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.cluster = Cluster(now=virtual_time)
        self.workers: list[str] = []
        self.nursery = nursery
        self._user = administrator(self.cluster)

    def enter(
        self, name: str, *, skew: float = 0.0, work: Work = None, ending: float = 0.0, connecting: float = 0.0
    ) -> Candidate:
        """Start a candidate, which works until `done`, or runs `work`.

        In seconds: by how much its clock is off, how long its work takes to end, and each connection to come about.
        """
        candidate = Candidate(name, self, skew=skew, work=work, ending=ending, connecting=connecting)
        self.nursery.start_soon(candidate.run)
        return candidate

    async def leader(self, name: str, *, skew: float = 0.0, work: Work = None, ending: float = 0.0) -> Candidate:
        """Start a candidate, and wait until it works."""
        candidate = self.enter(name, skew=skew, work=work, ending=ending)
        await self.until_at_work(candidate)
        return candidate

    async def until_at_work(self, candidate: Candidate) -> float:
        """Returns the seconds that it took."""
        began = trio.current_time()
        with trio.fail_after(120):
            while not candidate.at_work:  # noqa: ASYNC110 - virtual time: a tenth of a second costs nothing
                await trio.sleep(0.1)
        return trio.current_time() - began

    @property
    def has_one_leader(self) -> bool:
        """One candidate works, alone and as the record says."""
        return bool(self.workers) and self.workers == [self.lease("holderIdentity")]

    def lease(self, *path: str) -> Json:
        return at(self._user.get(PATH), "spec", *path)

    def overwrite(self, spec: Object) -> None:
        self._user.patch(PATH, {"spec": spec})

    def delete(self) -> None:
        self._user.delete(PATH)


@asynccontextmanager
async def arena() -> AsyncGenerator[Arena]:
    async with trio.open_nursery() as nursery:
        yield Arena(nursery)
        nursery.cancel_scope.cancel()
