"""When definitions were last verified: of the class alone, and of the whole program."""

import math

import httpx
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.config import ControllerConfig
from secrets_manager.controller.freshness import Freshness
from tests.controller.component import READ_ONLY, definition_path, running
from tests.controller.scripted import key
from tests.doubles import faults as fault

APP = key("app")
AGE = "secrets_manager_controller_max_verification_age_seconds"
GROUPED = "secrets_manager_controller_verification_age_seconds"


class Verified:
    """A source of a definition."""

    def __init__(self, at: float) -> None:
        self.verified_at = at


def fresh(*sources: Verified) -> Freshness:
    """All definitions have these sources."""
    freshness = Freshness(lambda _: sources)
    freshness.start()
    return freshness


def ages(freshness: Freshness) -> dict[str, list[float]]:
    """Those that wait are named by their key."""
    return freshness.ages(lambda one: one.name)


def synced(freshness: Freshness) -> None:
    freshness.call_for(APP)
    freshness.begin(APP)
    freshness.succeed(APP)


async def test_definition_is_as_fresh_as_the_oldest_of_its_sources(autojump_clock: MockClock) -> None:
    freshness = fresh(Verified(7.0), Verified(3.0))
    synced(freshness)
    await trio.sleep(10)

    assert ages(freshness) == {"Synced": [7.0]}


async def test_definition_without_sources_is_never_old(autojump_clock: MockClock) -> None:
    freshness = fresh()
    synced(freshness)
    await trio.sleep(10)

    assert ages(freshness) == {"Synced": [0.0]}


async def test_new_definition_counts_from_when_it_became_known(autojump_clock: MockClock) -> None:
    freshness = fresh(Verified(0.0))
    await trio.sleep(10)
    freshness.call_for(APP)
    await trio.sleep(5)
    freshness.begin(APP)
    await trio.sleep(2)

    assert ages(freshness) == {"app": [7.0]}


async def test_standby_reports_no_age_and_a_new_leader_counts_from_its_first_moment(autojump_clock: MockClock) -> None:
    freshness = Freshness(lambda _: ())
    freshness.call_for(APP)
    await trio.sleep(100)
    assert ages(freshness) == {}

    freshness.start()
    await trio.sleep(2)

    assert ages(freshness) == {"app": [2.0]}


async def test_time_stands_still_from_the_call_for_a_reconcile_until_one_succeeds(autojump_clock: MockClock) -> None:
    source = Verified(0.0)
    freshness = fresh(source)
    synced(freshness)
    await trio.sleep(10)
    source.verified_at = 8.0
    freshness.call_for(APP)

    source.verified_at = 10.0  # with other content
    freshness.begin(APP)
    await trio.sleep(1)
    assert ages(freshness) == {"app": [3.0]}

    freshness.begin(APP)  # the one before has failed
    assert ages(freshness) == {"app": [3.0]}

    freshness.succeed(APP)
    assert ages(freshness) == {"Synced": [1.0]}


async def test_one_definition_was_last_verified_when_it_last_rested(autojump_clock: MockClock) -> None:
    source = Verified(3.0)
    freshness = fresh(source)
    await trio.sleep(5)
    assert freshness.last_verified(APP) == -math.inf, "it is not known"
    freshness.call_for(APP)
    freshness.begin(APP)
    assert freshness.last_verified(APP) == -math.inf, "it was never verified, though it counts from now in metrics"
    freshness.succeed(APP)
    assert freshness.last_verified(APP) == 3.0

    source.verified_at = 8.0
    assert freshness.last_verified(APP) == 8.0
    freshness.call_for(APP)
    source.verified_at = 9.0
    freshness.begin(APP)
    assert freshness.last_verified(APP) == 8.0

    freshness.forget(APP)
    freshness.call_for(APP)
    assert freshness.last_verified(APP) == -math.inf, "another definition of the same name"


async def test_what_was_called_for_during_a_reconcile_needs_another_one(autojump_clock: MockClock) -> None:
    freshness = fresh(Verified(5.0))
    freshness.call_for(APP)
    freshness.begin(APP)
    freshness.call_for(APP)
    freshness.succeed(APP)
    assert ages(freshness) == {"app": [0.0]}

    freshness.begin(APP)
    freshness.succeed(APP)
    await trio.sleep(5)

    assert ages(freshness) == {"Synced": [0.0]}


async def test_deleted_definition_is_not_brought_back_by_the_reconcile_in_progress(autojump_clock: MockClock) -> None:
    freshness = fresh()
    freshness.call_for(APP)
    freshness.begin(APP)
    await trio.lowlevel.checkpoint()
    freshness.forget(APP)
    freshness.succeed(APP)
    synced(freshness)
    freshness.forget(APP)

    assert ages(freshness) == {}


async def test_reconcile_of_a_definition_that_is_forgotten_counts_for_nothing(autojump_clock: MockClock) -> None:
    freshness = fresh()
    synced(freshness)
    freshness.forget(APP)
    await trio.lowlevel.checkpoint()
    freshness.begin(APP)
    await trio.sleep(1)
    assert ages(freshness) == {}
    freshness.succeed(APP)

    assert ages(freshness) == {}


async def test_definition_whose_deletion_others_hold_up_is_not_counted_nor_its_source_read(
    autojump_clock: MockClock,
) -> None:
    async with running(readable=READ_ONLY) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=("example.com/keep",))
        await scene.settled()
        scene.delete("app")
        await scene.settled()
        before = scene.vault.count("GET", "secret/data/app")
        scene.write("app", password="hunter-2")
        scene.edit("app", {"metadata": {"annotations": {"note": "edited"}}})
        await scene.passed(3600)

        assert scene.sample(f"{GROUPED}_gcount", reason="Synced") is None
        assert scene.vault.count("GET", "secret/data/app") == before

        scene.user.patch(definition_path("app"), {"metadata": {"finalizers": None}})
        scene.define("app", pw="app#password")
        await scene.settled()
        assert scene.sample(f"{GROUPED}_gcount", reason="Synced") == 1
        assert scene.values("app") == {"pw": "hunter-2"}


@pytest.mark.parametrize("readable", [pytest.param(None, id="listed"), pytest.param(READ_ONLY, id="polled")])
async def test_at_rest_all_definitions_are_fresh_and_in_an_outage_all_grow_old(
    readable: tuple[str, ...] | None, autojump_clock: MockClock
) -> None:
    def oldest(reason: str) -> float | None:
        return scene.sample(AGE, reason=reason)

    async with running() if readable is None else running(readable=readable) as scene:
        for number in range(5):
            scene.write(f"app-{number}", password="hunter-1")
            scene.define(f"app-{number}", pw=f"app-{number}#password")
        await scene.passed(3600)
        assert 0 <= (oldest("Synced") or 0) <= 8
        assert scene.sample(f"{GROUPED}_gcount", reason="Synced") == 5

        with scene.vault.sealed():
            await scene.passed(600)
            assert 580 <= (oldest("BackendUnavailable") or 0) <= 610
            assert oldest("Synced") is None
            assert scene.sample(f"{GROUPED}_bucket", reason="BackendUnavailable", le="60.0") == 0
            assert scene.sample(f"{GROUPED}_bucket", reason="BackendUnavailable", le="1800.0") == 5

        await scene.passed(300)
        assert 0 <= (oldest("Synced") or 0) <= 8
        assert oldest("BackendUnavailable") is None


async def test_definition_whose_secret_cannot_be_written_grows_old_although_its_source_is_read(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.foreign_secret("app")
        scene.define("app", pw="app#password")
        await scene.passed(3600)

        assert scene.sample(AGE, reason="SecretNotOwned") == pytest.approx(3600, abs=1)


async def test_what_could_not_be_written_is_as_old_as_the_change(autojump_clock: MockClock) -> None:
    async with running(readable=READ_ONLY) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.faults.always(fault.answer(500), when=fault.is_write)
        scene.write("app", password="hunter-2")
        await scene.passed(600)

        assert 600 <= (scene.sample(AGE, reason="SecretWriteFailed") or 0) <= 607.5


async def test_definitions_that_wait_for_a_worker_grow_old(autojump_clock: MockClock) -> None:
    async def stuck(request: httpx.Request, send: fault.Send) -> httpx.Response:
        await trio.sleep(50)
        return await send(request)

    def grown_old(reason: str) -> float:
        """How many were not verified for 30 s."""
        everything, young = (
            scene.sample(f"{GROUPED}_bucket", reason=reason, le=bound) or 0 for bound in ("+Inf", "30.0")
        )
        return everything - young

    async with running(config=ControllerConfig(workers=1)) as scene:
        for name in ("app", "edited", "late"):
            scene.write(name, password="hunter-1")
        for name in ("app", "edited"):
            scene.define(name, pw=f"{name}#password")
        await scene.settled()
        scene.faults.next(stuck, when=fault.is_write)

        scene.write("app", password="hunter-2")
        await scene.passed(9)
        scene.edit("edited", {"data": {"pw": "AAAA"}})
        scene.define("late", pw="late#password")
        await scene.passed(40)

        assert grown_old("Synced") == 2
        assert grown_old("") == 1

        await scene.settled()
        assert (grown_old("Synced"), grown_old("")) == (0, 0)


async def test_deleted_definitions_leave_no_age(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        assert scene.sample(f"{GROUPED}_gcount", reason="Synced") == 1

        scene.delete("app")
        await scene.settled()

        assert [scene.sample(f"{GROUPED}_gcount", reason=reason) for reason in ("Synced", "")] == [None, None]
