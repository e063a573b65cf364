import pytest
import trio
import trio.testing

from secrets_manager.liveness import Liveness


async def test_tasks_that_run_and_a_lease_that_holds_are_healthy() -> None:
    liveness = Liveness(lambda: "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liveness.supervise, "the watch", trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()

        assert liveness.failures == []
        nursery.cancel_scope.cancel()


async def test_task_that_returns_needs_a_restart() -> None:
    liveness = Liveness(lambda: "")

    await liveness.supervise("the watch", trio.lowlevel.checkpoint)

    assert liveness.failures == ["the watch has ended"]


async def test_task_that_fails_says_so_and_needs_a_restart() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("odd")

    liveness = Liveness(lambda: "")

    with pytest.raises(ValueError, match="odd"):
        await liveness.supervise("the watch", fail)
    assert liveness.failures == ["the watch has ended"]


def test_work_after_the_lease_has_expired_needs_a_restart() -> None:
    assert Liveness(lambda: "the lease has expired").failures == ["the lease has expired"]
