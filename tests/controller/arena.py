"""Candidates for one lease on one cluster in memory, each with a clock and a network of its own, in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random

import trio

from secrets_manager.config import Config, LeaseConfig
from secrets_manager.controller.leadership import elector
from secrets_manager.demo.api.cluster import Cluster
from secrets_manager.demo.api.documents import Json, Object, at
from secrets_manager.kube.client import open_client
from secrets_manager.kube.lease import LeadershipLost
from tests.doubles import faults as fault
from tests.doubles.faults import Faults
from tests.doubles.kube_transport import DOUBLE, KubeTransport, administrator, virtual_time

LEASE = LeaseConfig(enabled=True)
PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/5ac9a181.secrets-manager.tuenti.io"
OFFLINE = fault.lose_request()

Work = Callable[[], Awaitable[None]] | None


class Candidate:
    """One process that wants to work. It notes each term of its work: when it began, and when it ended."""

    def __init__(self, name: str, arena: "Arena", *, skew: float, work: Work) -> None:
        self.name = name
        self.faults = Faults(KubeTransport(arena.cluster))
        self.life = trio.CancelScope()
        self.over = trio.Event()
        self.done = trio.Event()
        self.lost = ""
        self.terms: list[list[float]] = []
        self._arena = arena
        self._skew = timedelta(seconds=skew)
        self._task = work or self.done.wait

    @property
    def at_work(self) -> bool:
        return bool(self.terms) and len(self.terms[-1]) == 1

    async def run(self) -> None:
        async with open_client(DOUBLE, make=lambda: self.faults) as client:
            leader = elector(
                Config(lease=LEASE),
                client,
                namespace="default",
                identity=self.name,
                random=Random(self.name),
                clock=self._time,
            )
            try:
                with self.life:
                    await leader.run(self._work)
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
            self.terms[-1].append(trio.current_time())
            self._arena.workers.remove(self.name)

    async def kill(self) -> None:
        """End it as SIGKILL does: nothing more of it reaches anybody."""
        self.faults.always(OFFLINE)
        self.life.cancel()
        await self.over.wait()

    def _time(self) -> datetime:
        return virtual_time() + self._skew


class Arena:
    """A cluster, and those who want to work on it. `workers` are those who do."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.cluster = Cluster(now=virtual_time)
        self.workers: list[str] = []
        self._user = administrator(self.cluster)
        self._nursery = nursery

    def enter(self, name: str, *, skew: float = 0.0, work: Work = None) -> Candidate:
        """Let a candidate live; its clock is off by `skew` seconds, and it works until `done` unless told otherwise."""
        candidate = Candidate(name, self, skew=skew, work=work)
        self._nursery.start_soon(candidate.run)
        return candidate

    async def until_at_work(self, candidate: Candidate) -> float:
        """Returns the seconds that it took."""
        began = trio.current_time()
        with trio.fail_after(120):
            while not candidate.at_work:  # noqa: ASYNC110 - virtual time: a tenth of a second costs nothing
                await trio.sleep(0.1)
        return trio.current_time() - began

    def lease(self, *path: str) -> Json:
        return at(self._user.get(PATH), "spec", *path)

    def overwrite(self, spec: Object) -> None:
        self._user.patch(PATH, {"spec": spec})

    def delete(self) -> None:
        self._user.delete(PATH)


@asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    async with trio.open_nursery() as nursery:
        yield Arena(nursery)
        nursery.cancel_scope.cancel()
