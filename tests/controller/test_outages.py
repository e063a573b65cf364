"""The secret store fails for a while: what others learn of it, and that all goes on afterwards."""

import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import items, text
from tests.controller.component import READ_ONLY, RECOMMENDED, Scene, definition_path, running
from tests.definitions import condition_of
from tests.doubles import vault_faults as vault

PERIOD, PROBE = 5.0, 15.0
"""Seconds: of a poll, and the longest between two reads that ask whether the store is back."""
RECOVERED = 2 * PERIOD + PROBE


def define_many(scene: Scene, count: int) -> list[str]:
    names = [f"app-{number}" for number in range(count)]
    for name in names:
        scene.write(f"shop/{name}", password="hunter-1")
        scene.define(name, pw=f"shop/{name}#password")
    return names


async def test_sync_goes_on_after_a_quota_has_failed_the_reads_that_a_listing_led_to(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        names = define_many(scene, 60)
        await scene.settled()
        with vault.quota(10)(scene.vault):
            for name in names[:40]:
                scene.write(f"shop/{name}", password="hunter-2")
            await scene.passed(30)
        await scene.passed(RECOVERED)

        assert [scene.values(name) for name in names[:40]] == [{"pw": "hunter-2"}] * 40
        assert {scene.reason(name) for name in names} == {"Synced"}
        scene.write("shop/app-50", password="hunter-3")
        await scene.passed(2)
        assert scene.values("app-50") == {"pw": "hunter-3"}


async def test_sync_goes_on_after_reads_were_forced_while_the_store_was_sealed(autojump_clock: MockClock) -> None:
    async with running() as scene:
        names = define_many(scene, 60)
        await scene.settled()
        await scene.passed(0.5)  # listings are made at whole seconds: none is under way
        with scene.vault.sealed():
            for name in names[:4]:
                scene.annotate(name, **{"force-sync": "now"})
            await scene.passed(3)
        for name in names:
            scene.write(f"shop/{name}", password="hunter-2")
        await scene.passed(RECOVERED)

        assert [scene.values(name) for name in names] == [{"pw": "hunter-2"}] * 60
        assert {scene.reason(name) for name in names} == {"Synced"}


@pytest.mark.parametrize("readable", [RECOMMENDED, READ_ONLY], ids=["listed", "read one by one"])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_backend_up_shows_an_outage_however_few_sources_are_in_use(
    count: int, readable: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with running(readable=readable) as scene:
        define_many(scene, count)
        await scene.settled()
        assert scene.sample("secrets_manager_backend_up") == 1.0
        with scene.vault.sealed():
            await scene.passed(30)
            assert scene.sample("secrets_manager_backend_up") == 0.0
        await scene.passed(RECOVERED)

        assert scene.sample("secrets_manager_backend_up") == 1.0


async def test_others_are_reported_of_an_outage_without_the_paths_that_it_was_noticed_by(
    autojump_clock: MockClock,
) -> None:
    async with running(readable=READ_ONLY) as scene:
        define_many(scene, 3)
        for number in range(3):
            scene.write(f"tenant-b/db-{number}", password="hunter-1")
            scene.define(f"db-{number}", namespace="other", pw=f"tenant-b/db-{number}#password")
        await scene.settled()
        with vault.reads(vault.limits())(scene.vault):
            await scene.passed(60)
            ours = [scene.definition(f"app-{number}") for number in range(3)]
            theirs = [scene.user.get(definition_path(f"db-{number}", namespace="other")) for number in range(3)]

        our_messages, their_messages = (
            {text(condition_of(each), "message") for each in side} for side in (ours, theirs)
        )
        assert [message for message in our_messages if "limits the rate of requests (429)" not in message] == []
        assert [message for message in our_messages if "tenant-b" in message] == []
        assert [message for message in their_messages if "shop" in message] == []


async def test_reads_that_fail_are_reported_also_while_listings_are_answered(autojump_clock: MockClock) -> None:
    async with running() as scene:
        names = define_many(scene, 20)
        await scene.settled()
        with vault.reads(vault.late(60))(scene.vault):
            for name in names:
                scene.write(f"shop/{name}", password="hunter-2")
            oldest = 0.0
            for _ in range(60):
                await scene.passed(1)
                age = scene.sample("workqueue_longest_running_processor_seconds", name="secretdefinition")
                oldest = max(oldest, age or 0.0)
            assert scene.sample("secrets_manager_backend_up") == 0.0
            assert oldest <= 10
        await scene.passed(RECOVERED)

        assert [scene.values(name) for name in names] == [{"pw": "hunter-2"}] * 20


@pytest.mark.parametrize(
    "ill",
    [vault.answers(500, "boom"), vault.limits(), vault.late(3600)],
    ids=["it fails", "it limits requests", "it hangs"],
)
async def test_mount_of_one_tenant_that_is_down_is_no_outage_of_the_store(
    ill: vault.Ill, autojump_clock: MockClock
) -> None:
    """Nothing can be listed, so every source is polled. At first each source that fails is news."""
    async with running(readable=READ_ONLY) as scene:
        names = define_many(scene, 20)
        for number in range(30):
            scene.write(f"theirs/{number}-down", password="hunter-1")
            scene.define(f"theirs-{number}", namespace="other", pw=f"theirs/{number}-down#password")
        await scene.settled()
        with vault.reads(ill, of="-down")(scene.vault):
            await scene.passed(300)
            for number in range(600):
                if number % 60 == 0:
                    scene.write(f"shop/{names[7]}", password=f"hunter-{number}")
                await scene.passed(1)
                assert scene.sample("secrets_manager_backend_up") == 1
                assert {scene.reason(name) for name in names} == {"Synced"}
                assert number % 60 < 2 * PERIOD or scene.values(names[7]) == {"pw": f"hunter-{number - number % 60}"}
            their = scene.user.get(definition_path("theirs-7", namespace="other"))
            assert "BackendUnavailable" in {text(each, "reason") for each in items(their, "status", "conditions")}
        await scene.settled()
        their = scene.user.get(definition_path("theirs-7", namespace="other"))
        assert {text(each, "reason") for each in items(their, "status", "conditions")} == {"Synced"}
