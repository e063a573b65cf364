"""Secrets that resemble a definition's under another name: what it once wrote goes, what others made stays."""

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import text
from secrets_manager.config import ControllerConfig
from secrets_manager.controller.secret import OWNER
from tests.controller.component import Scene, definition_path, running, secret_path
from tests.doubles import faults as fault

RARELY = ControllerConfig(reconcile_period=600)
CALM = 2.0
NAME = "secrets-manager.tuenti.io/name"


def in_sync(scene: Scene) -> None:
    scene.write("app", password="hunter-1")
    scene.define("app", pw="app#password")


async def test_a_copy_by_hand_is_left_alone_and_reported_once(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled(CALM)
        scene.copy("app", "backup")
        made = scene.secret("backup")
        await scene.settled(CALM)
        scene.write("app", password="hunter-2")
        scene.annotate("app", **{"force-sync": "1"})
        await scene.settled()

        assert (scene.values("app"), scene.secret("backup")) == ({"pw": "hunter-2"}, made)
        (left,) = (line for line in scene.events_of("app") if "SecretLeftAlone" in line)
        assert left == (
            "Warning SecretLeftAlone Sync Secret backup has the label and the owner of this definition, but was "
            "created by others: it is left alone. It is deleted with the definition: remove its ownerReferences to "
            "keep it"
        )
        assert scene.event_series("app")["SecretLeftAlone"] == 1


async def test_a_copy_stays_through_a_rename_and_may_become_the_wanted_one(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled(CALM)
        scene.copy("app", "backup")
        scene.change("app", name="renamed")
        await scene.settled(CALM)
        assert [scene.values(name) for name in ("app", "renamed", "backup")] == [None, *[{"pw": "hunter-1"}] * 2]

        scene.change("app", name="backup")
        await scene.settled(CALM)
        assert [scene.values(name) for name in ("renamed", "backup")] == [None, {"pw": "hunter-1"}]


async def test_a_copy_that_has_become_the_wanted_one_goes_after_the_next_rename(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled(CALM)
        scene.copy("app", "copied")
        scene.change("app", name="copied")
        await scene.settled(CALM)
        copied = scene.secret("copied")
        assert text(copied, "metadata", "annotations", NAME) == "copied"

        scene.change("app", name="third")
        await scene.settled(CALM)

        assert (scene.secret("copied"), scene.values("third")) == (None, {"pw": "hunter-1"})


DEATHS = {"before": fault.kill_before, "after": fault.kill_after}


@pytest.mark.parametrize("kill", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("request_", ["create", "get", "delete", "status"])
async def test_a_rename_during_which_the_process_dies_and_another_one_before_the_next_leave_nothing_behind(
    request_: str, kill: fault.Killer, autojump_clock: MockClock
) -> None:
    number = ["create", "get", "delete", "status"].index(request_) + 1
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled(CALM)
        scene.faults.at(len(scene.faults.calls) + number, kill(scene.life))
        scene.change("app", name="second")
        await scene.over()
        scene.change("app", name="third")
        scene.start()
        await scene.settled(CALM)

        assert [scene.values(name) for name in ("app", "second", "third")] == [None, None, {"pw": "hunter-1"}]
        assert scene.notes("SecretLeftAlone") == []


async def test_two_former_secrets_go_also_where_the_label_of_one_was_removed(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled(CALM)
        scene.faults.always(fault.answer(500), when=lambda request: request.method == "DELETE")
        scene.change("app", name="second")
        await scene.passed(1)
        await scene.stop()
        scene.edit("app", {"metadata": {"labels": {OWNER: None}}})
        scene.change("app", name="third")
        scene.faults.heal()
        scene.start()
        await scene.settled(CALM)

        assert [scene.values(name) for name in ("app", "second", "third")] == [None, None, {"pw": "hunter-1"}]


@pytest.mark.parametrize("when", ["while no process lives", "just before it is deleted"])
async def test_a_former_secret_that_others_delete_is_no_obstacle(when: str, autojump_clock: MockClock) -> None:
    async def gone(request: httpx.Request, send: fault.Send) -> httpx.Response:
        scene.user.delete(secret_path("app"))
        return await send(request)

    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled(CALM)
        if when == "while no process lives":
            await scene.stop()
            scene.user.delete(secret_path("app"))
            scene.change("app", name="renamed")
            scene.start()
        else:
            scene.faults.next(gone, when=lambda request: request.method == "DELETE")
            scene.change("app", name="renamed")
        await scene.settled(CALM)

        assert (scene.secret("app"), scene.values("renamed")) == (None, {"pw": "hunter-1"})
        assert (scene.reason("app"), "SyncFailed" in scene.event_series("app")) == ("Synced", False)


@pytest.mark.parametrize("status", ["recorded", "not recorded"])
async def test_what_an_older_version_wrote_goes_after_a_rename_also_without_a_name_in_the_status(
    status: str, autojump_clock: MockClock
) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled(CALM)
        await scene.stop()
        scene.edit("app", {"metadata": {"annotations": {NAME: None}}})
        if status == "not recorded":
            scene.user.patch(f"{definition_path('app')}/status", {"status": {"secretName": None}})
        scene.change("app", name="renamed")
        scene.start()
        await scene.settled(CALM)

        assert (scene.values("app"), scene.values("renamed")) == (None, {"pw": "hunter-1"})


async def test_what_the_garbage_collector_missed_of_an_earlier_definition_goes_but_for_copies(
    autojump_clock: MockClock,
) -> None:
    """It misses some of what happens while the API server restarts."""
    async with running() as scene:
        in_sync(scene)
        await scene.settled(CALM)
        scene.change("app", name="renamed")
        await scene.settled(CALM)
        scene.copy("renamed", "backup")
        scene.cluster.cleans_up = False
        scene.delete("app")
        scene.define("app", pw="app#password")
        await scene.settled(CALM)

        assert [scene.values(name) for name in ("app", "renamed", "backup")] == [
            {"pw": "hunter-1"},
            None,
            {"pw": "hunter-1"},
        ]


@pytest.mark.parametrize("policy", ["Owner", "Orphan"])
async def test_a_name_that_is_wanted_back_while_the_watch_is_silent_gets_its_secret_before_the_other_one_goes(
    policy: str, autojump_clock: MockClock
) -> None:
    """The process has deleted that Secret itself."""
    async with running(config=RARELY, alive=False) as scene:
        scene.faults.next(fault.silent_after(10), when=fault.on_path(ends="/secrets"), times=2)
        in_sync(scene)
        scene.change("app", creationPolicy=policy)
        scene.start()
        await scene.passed(11)
        scene.change("app", name="renamed")
        await scene.passed(2)
        assert (scene.secret("app"), scene.values("renamed")) == (None, {"pw": "hunter-1"})

        scene.change("app", name="app")
        await scene.passed(2)
        assert (scene.values("app"), scene.secret("renamed")) == ({"pw": "hunter-1"}, None)


async def test_a_former_secret_stays_while_the_watch_hides_that_others_have_deleted_the_new_one(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY, alive=False) as scene:
        scene.faults.next(fault.silent_after(10), when=fault.on_path(ends="/secrets"), times=2)
        in_sync(scene)
        scene.start()
        await scene.passed(9)
        scene.faults.always(fault.answer(500), when=lambda request: request.method == "DELETE")
        scene.change("app", name="renamed")
        await scene.passed(2)
        scene.user.delete(secret_path("renamed"))
        scene.faults.heal()
        await scene.passed(60)
        assert (scene.values("app"), scene.secret("renamed")) == ({"pw": "hunter-1"}, None)

        await scene.passed(60)
        assert (scene.secret("app"), scene.values("renamed")) == (None, {"pw": "hunter-1"})


async def test_the_former_secret_of_an_orphan_stays_where_its_definition_goes_just_before_it_would_be_deleted(
    autojump_clock: MockClock,
) -> None:
    async def meanwhile(request: httpx.Request, send: fault.Send) -> httpx.Response:
        response = await send(request)
        scene.delete("app")
        return response

    async with running(config=RARELY) as scene:
        in_sync(scene)
        scene.change("app", creationPolicy="Orphan")
        await scene.settled(CALM)
        scene.faults.next(
            meanwhile, when=lambda request: (request.method, request.url.path) == ("GET", secret_path("renamed"))
        )
        scene.change("app", name="renamed")
        await scene.settled(CALM)
        assert [scene.values(name) for name in ("app", "renamed")] == [{"pw": "hunter-1"}] * 2
