"""Whatever befalls the candidates for a lease, never do two work at once, and when all is well again one does."""

from collections.abc import Awaitable, Callable

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.controller.arena import LEASE, OFFLINE, Arena, Candidate, arena
from tests.doubles import faults as fault
from tests.doubles.faults import Fault

NAMES = ("one", "two", "three")
RECOVERY = LEASE.duration + LEASE.retry_period + LEASE.renew_deadline / 2 + 1
"""Seconds: as long as a take-over, and as a request that hung already."""

Happening = Callable[[Candidate], Awaitable[None]]


def spoilt(trouble: Fault, times: int) -> Happening:
    """Its next requests go wrong."""

    async def happen(candidate: Candidate) -> None:
        candidate.faults.next(trouble, times=times)
        await trio.lowlevel.checkpoint()

    return happen


def cut_off(seconds: float) -> Happening:
    """Nothing of it reaches the API server for a while."""

    async def happen(candidate: Candidate) -> None:
        candidate.faults.always(OFFLINE)
        await trio.sleep(seconds)
        candidate.faults.heal()

    return happen


def hung(seconds: float) -> Happening:
    """What it sends arrives, and nothing comes back for a while."""

    async def happen(candidate: Candidate) -> None:
        candidate.faults.always(fault.late(1e6))
        await trio.sleep(seconds)
        candidate.faults.heal()

    return happen


async def kill(candidate: Candidate) -> None:
    await candidate.kill()


async def stop(candidate: Candidate) -> None:
    """By SIGTERM: it releases what it holds, if it can."""
    candidate.life.cancel()
    await candidate.over.wait()


TROUBLES: list[Fault] = [
    OFFLINE,
    fault.lose_reply(),
    fault.late(3.0),
    fault.late(4.9),
    fault.late(1e6),
    fault.answer(409, reason="Conflict"),
    fault.answer(429, headers={"Retry-After": "1"}),
    fault.answer(500),
    fault.twice,
    fault.rubbish(b"{}"),
]
HAPPENINGS: st.SearchStrategy[Happening] = st.one_of(
    st.builds(spoilt, st.sampled_from(TROUBLES), st.integers(1, 8)),
    st.builds(cut_off, st.floats(0.0, 30.0)),
    st.builds(hung, st.floats(0.0, 30.0)),
    st.sampled_from([kill, stop]),
)
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), HAPPENINGS, st.floats(0.0, 20.0)), max_size=12)


@settings(deadline=None, max_examples=200)
@given(STEPS, st.lists(st.floats(-3600, 3600), min_size=3, max_size=3))
def test_never_do_two_work_at_once_and_in_the_end_one_does(
    steps: list[tuple[str, Happening, float]], skews: list[float]
) -> None:
    def revive(here: Arena, candidates: dict[str, Candidate]) -> None:
        """Kubernetes starts a process anew that has ended."""
        for name, candidate in candidates.items():
            if candidate.over.is_set():
                candidates[name] = here.enter(name)

    async def main() -> None:
        async with arena() as here, trio.open_nursery() as nursery:
            candidates = {name: here.enter(name, skew=skew) for name, skew in zip(NAMES, skews, strict=True)}
            for name, happening, pause in steps:
                revive(here, candidates)
                nursery.start_soon(happening, candidates[name])
                await trio.sleep(pause)
            nursery.cancel_scope.cancel()
            for candidate in candidates.values():
                candidate.faults.heal()
                if candidate.life.cancel_called:
                    await candidate.over.wait()
            revive(here, candidates)
            await trio.sleep(RECOVERY)
            assert len(here.workers) == 1
            assert [here.lease("holderIdentity")] == here.workers

    trio.run(main, clock=MockClock(autojump_threshold=0))
