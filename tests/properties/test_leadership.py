"""Whatever befalls the candidates for a lease, never do two work at once, and when all is well again one does.

A process that is paused, as by SIGSTOP, sees nothing but its clock jump. So it is alone in its run here, and the rival
that acts meanwhile is but what it writes.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from itertools import count
from random import Random

import httpx
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.abc import Instrument
from trio.testing import MockClock

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Object, parse, text
from fake_kubernetes.requests import Reply
from secrets_manager.config import JITTER_FACTOR, Config
from secrets_manager.controller.secret import SECRETS
from secrets_manager.kube.client import KubeClient, open_client
from secrets_manager.kube.lease import LeadershipLost
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.supervisor import new_elector
from tests.controller.arena import LEASE, OFFLINE, PATH, Arena, Candidate, arena
from tests.doubles import faults as fault
from tests.doubles.faults import Fault
from tests.doubles.kube_transport import DOUBLE, administrator, translated, virtual_time, whole

NAMES = ("one", "two")
RECOVERY = 2 * LEASE.duration + JITTER_FACTOR * LEASE.retry_period + 1
"""Seconds: as long as a standby's read that hung already, and a take-over."""

Happening = Callable[[Candidate], Awaitable[None]]
Road = Callable[[Candidate], Fault]


def good(candidate: Candidate) -> Fault:
    return fault.late(0.0)


def bad(trouble: Fault) -> Road:
    return lambda candidate: trouble


def slow(there: float, back: float) -> Road:
    return lambda candidate: candidate.slow_road(there, back)


ANSWERED: list[Road] = [
    good,
    slow(0.0, 4.9),
    slow(2.4, 2.4),
    bad(fault.lose_reply()),
    bad(fault.twice),
    bad(fault.answer(409, reason="Conflict")),
]
ROADS: list[Road] = [
    *ANSWERED,
    slow(0.0, 1e6),
    slow(8.0, 0.0),
    bad(OFFLINE),
    bad(fault.rubbish(b"Too many requests, please try again later.", status=429)),
    bad(fault.answer(500)),
    bad(fault.rubbish(b"{}")),
]


def takes(first: Road, then: Road) -> Happening:
    """Its next request takes one road, and those after it another one."""

    async def happen(candidate: Candidate) -> None:
        await trio.lowlevel.checkpoint()
        if not candidate.killed:
            candidate.faults.heal()
            candidate.faults.next(first(candidate))
            candidate.faults.always(then(candidate))

    return happen


async def kill(candidate: Candidate) -> None:
    await candidate.kill()


async def stop(candidate: Candidate) -> None:
    """By SIGTERM: it releases what it holds, if it can."""
    await trio.lowlevel.checkpoint()
    candidate.life.cancel()


ROUTES = st.builds(takes, st.sampled_from(ANSWERED), st.sampled_from(ROADS))
HAPPENINGS: st.SearchStrategy[Happening] = st.one_of(ROUTES, ROUTES, st.sampled_from([kill, stop]))
PAUSES = st.one_of(st.floats(0.0, 6.0), st.floats(LEASE.duration, LEASE.duration + 5))
"""Seconds: for races, and for take-overs."""
STEPS = st.lists(st.tuples(st.sampled_from(["leader", "leader", *NAMES]), HAPPENINGS, PAUSES), min_size=2, max_size=8)
ENDING = LEASE.duration - LEASE.renew_deadline - 0.1
"""Seconds that the work takes to end, as long as it may."""


@settings(deadline=None, max_examples=100)
@given(STEPS, st.floats(-3600, 3600))
def test_never_do_two_work_at_once_and_in_the_end_one_does(
    steps: list[tuple[str, Happening, float]], skew: float
) -> None:
    lives = count()

    def revive(here: Arena, candidates: dict[str, Candidate]) -> None:
        """Kubernetes restarts a process that has ended."""
        for name, off in zip(NAMES, (skew, 0.0), strict=True):
            if name not in candidates or candidates[name].over.is_set():
                candidates[name] = here.enter(f"{name}-{next(lives)}", skew=off, ending=ENDING)

    async def main() -> None:
        async with arena() as here:
            candidates: dict[str, Candidate] = {}
            revive(here, candidates)
            await trio.sleep(LEASE.retry_period)
            for name, happening, pause in steps:
                revive(here, candidates)
                leader = next((each for each in candidates.values() if each.at_work), candidates[NAMES[0]])
                await happening(candidates.get(name, leader))
                await trio.sleep(pause)
            for candidate in candidates.values():
                candidate.faults.heal()
                if candidate.life.cancel_called:
                    await candidate.over.wait()
            revive(here, candidates)
            with trio.fail_after(RECOVERY):
                while not here.has_one_leader:  # noqa: ASYNC110 - virtual time
                    await trio.sleep(1.0)

    trio.run(main, clock=MockClock(autojump_threshold=0))


LAST_PAUSE = 200
"""The number of the last step after which the process may be paused."""
RIVAL = "rival"
SECRET = ObjectKey("default", "app")


class Sockets(httpx.AsyncBaseTransport):
    """What is sent is with the server at once, unless it was cancelled before; the answer takes its time."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], random: Random) -> None:
        self._answer = answer
        self._random = random

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        await trio.lowlevel.checkpoint_if_cancelled()
        answer = self._answer(request)
        await trio.sleep(self._random.choice([0.0, 0.5]))
        return answer


class Pauses(Instrument):
    """Stops the process after some of its steps, each for so many seconds, and calls `resumed` before the next one."""

    def __init__(self, clock: MockClock, pauses: Mapping[int, float], resumed: Callable[[], None]) -> None:
        self.steps = 0
        self._clock = clock
        self._pauses = pauses
        self._resumed = resumed

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if seconds := self._pauses.get(self.steps):
            self._clock.jump(seconds)
            self._resumed()


class Paused:
    """One process after the other, and a rival who takes the lease as soon as it may.

    The cluster has nothing but the lease: any other write is noted, and answered with a Secret.
    """

    def __init__(self, clock: MockClock, pauses: Mapping[int, float], random: Random) -> None:
        self._cluster = Cluster(now=virtual_time)
        self._user = administrator(self._cluster)
        self._random = random
        self._life = 0
        self._lease: Object = {}
        self._pauses = Pauses(clock, pauses, self._rival_acts)
        self._seen_enough = trio.CancelScope()

    async def run(self) -> None:
        """Let it live until it has written after its last pause, which it must."""
        trio.lowlevel.add_instrument(self._pauses)
        async with open_client(DOUBLE, transport=Sockets(self._answer, self._random)) as client:
            with trio.fail_after(1200), self._seen_enough:
                while True:
                    await self._live(client)

    async def _live(self, client: KubeClient) -> None:
        """As Kubernetes starts it again each time that it ends."""
        self._life += 1

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(self._write, client)

        leader = new_elector(
            Config(lease=LEASE),
            client,
            namespace="default",
            identity=f"us-{self._life}",
            random=self._random,
            clock=virtual_time,
        )
        try:
            await leader.run(work)
        except* LeadershipLost:
            pass

    async def _write(self, client: KubeClient) -> None:
        while True:
            await client.patch(SECRETS, SECRET, {})
            await trio.sleep(self._random.choice([0.0, 1.0, 2.0, 4.0]))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if "/leases" not in request.url.path:
            self._written()
            return httpx.Response(200, json={"metadata": {"name": SECRET.name, "namespace": SECRET.namespace}})
        answer = self._cluster.handle(translated(request, request.content))
        assert isinstance(answer, Reply)
        if answer.status < 300:
            self._lease = parse(answer.body)
        return whole(answer)

    def _written(self) -> None:
        holder = text(self._lease, "spec", "holderIdentity")
        assert holder == f"us-{self._life}", f"us-{self._life} writes while {holder} leads"
        if self._pauses.steps > LAST_PAUSE:
            self._seen_enough.cancel()

    def _rival_acts(self) -> None:
        if text(self._lease, "spec", "holderIdentity") in ("", RIVAL):
            return
        renewed = datetime.fromisoformat(text(self._lease, "spec", "renewTime"))
        if virtual_time() - renewed >= timedelta(seconds=LEASE.duration):
            spec: Object = {"holderIdentity": RIVAL, "renewTime": text(self._lease, "spec", "renewTime")}
            self._lease = self._user.patch(PATH, {"spec": spec})


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.integers(1, LAST_PAUSE), st.floats(0, 40), max_size=6), st.integers())
def test_who_is_paused_at_any_step_writes_nothing_once_another_leads(pauses: dict[int, float], seed: int) -> None:
    clock = MockClock(autojump_threshold=0)
    trio.run(Paused(clock, pauses, Random(seed)).run, clock=clock)
