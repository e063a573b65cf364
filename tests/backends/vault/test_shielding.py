"""Cancelled work completes within its grace."""

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.vault.shielding import run_shielded

GRACE = 1.0


class Work:
    """Takes so many seconds."""

    def __init__(self, takes: float) -> None:
        self._takes = takes
        self.done = False

    async def __call__(self) -> str:
        await trio.sleep(self._takes)
        self.done = True
        return "result"


async def test_result_is_returned(autojump_clock: MockClock) -> None:
    assert await run_shielded(Work(60.0), grace=GRACE) == "result"


async def test_failure_is_raised_as_it_is(autojump_clock: MockClock) -> None:
    async def fail() -> str:
        await trio.lowlevel.checkpoint()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_shielded(fail, grace=GRACE)


async def test_cancelled_work_is_done_and_the_cancellation_goes_on(autojump_clock: MockClock) -> None:
    work, began = Work(5.5), trio.current_time()

    with trio.move_on_after(5) as scope:
        await run_shielded(work, grace=GRACE)

    assert (work.done, scope.cancelled_caught, trio.current_time() - began) == (True, True, 5.5)


async def test_cancelled_work_that_is_slow_is_left(autojump_clock: MockClock) -> None:
    work, began = Work(60.0), trio.current_time()

    with trio.move_on_after(5) as scope:
        await run_shielded(work, grace=GRACE)

    assert (work.done, scope.cancelled_caught, trio.current_time() - began) == (False, True, 6.0)
