"""A status ends up saying what came of the last reconcile, whatever becomes of the writes of it."""

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.documents import Object, at, items, text
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, definition_path, running, secret_path, without_status
from tests.definitions import CRD
from tests.doubles import faults as fault

PERIOD = ControllerConfig().reconcile_period
THEIRS: Object = {
    "type": "Audited",
    "status": "True",
    "reason": "ByHand",
    "message": "fine",
    "lastTransitionTime": "2020-01-01T00:00:00Z",
}
CHANGES = "secrets_manager_controller_change_lag_seconds_count"
on_status = fault.on_path(ends="/status")


def overloaded(seconds: int) -> fault.Fault:
    """Answer as a server does that sheds load, and wants no request at all for a while."""

    async def shed(request: httpx.Request, send: fault.Send) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        return httpx.Response(429, headers={"Retry-After": f"{seconds}"}, content=b"Too many requests")

    return shed


async def in_sync(scene: Scene) -> None:
    scene.write("app", password="hunter-1")
    scene.define("app", pw="app#password")
    await scene.settled()


def synced_at(scene: Scene) -> str:
    return text(scene.definition("app"), "status", "lastSyncTime")


async def test_definition_that_has_no_sources_any_more_has_none_in_its_status(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await in_sync(scene)
        scene.change("app", keysMap={"pw": {"path": None, "key": None, "template": "constant"}})
        await scene.settled()
        assert items(scene.definition("app"), "status", "sources") == []
        before = scene.writes_to_definitions()
        scene.annotate("app", note="reconcile again")
        await scene.settled()

        assert scene.writes_to_definitions() == before


# A later outcome equals the status that is there


async def test_slow_write_of_an_earlier_outcome_does_not_have_the_last_word(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await in_sync(scene)
        before = at(scene.definition("app"), "status")
        scene.faults.next(fault.held(9), when=on_status)
        with scene.vault.sealed():
            await scene.passed(PERIOD)
            writes = [call.path for call in scene.faults.calls if call.path.endswith("/status")]
            assert len(writes) == 2
        await scene.settled()

        assert scene.reason("app") == "Synced"
        assert at(scene.definition("app"), "status", "sources") == at(before, "sources")


async def test_write_that_was_held_while_the_server_shed_load_does_not_have_the_last_word(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        await in_sync(scene)
        scene.faults.next(overloaded(20), when=fault.is_write)
        scene.define("another", pw="app#password")
        await scene.passed(0.1)
        with scene.vault.sealed():
            await scene.passed(PERIOD)
        await scene.passed(2 * PERIOD)
        assert [call for call in scene.faults.calls if call.path.endswith("app/status")][1:] == []
        await scene.settled()

        assert (scene.reason("app"), scene.reason("another")) == ("Synced", "Synced")


async def test_write_that_the_server_gets_long_after_the_client_gave_up_does_not_have_the_last_word(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene, trio.open_nursery() as network:
        await in_sync(scene)
        scene.faults.always(fault.delayed(40, nursery=network), when=on_status)
        with scene.vault.sealed():
            await scene.passed(PERIOD)
        await scene.passed(2 * PERIOD)  # it is in sync again, so there is nothing to write
        scene.faults.heal()
        await scene.passed(20)
        assert scene.reason("app") == "Synced"
        revision = scene.cluster.storage.revision
        await scene.settled()

        assert scene.cluster.storage.revision > revision, "no late write has come"
        assert scene.reason("app") == "Synced"


# What a write did not report is reported by the next


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(fault.answer(409, reason="Conflict"), id="conflict"),
        pytest.param(fault.answer(500), id="server error"),
        pytest.param(fault.lose_request(), id="request lost"),
        pytest.param(fault.lose_reply(), id="reply lost"),
        pytest.param(fault.twice, id="request twice"),
    ],
)
async def test_time_of_a_write_to_the_secret_is_reported_though_the_first_attempt_to_write_it_failed(
    trouble: fault.Fault, autojump_clock: MockClock
) -> None:
    async with running() as scene:
        await in_sync(scene)
        before = synced_at(scene)
        scene.faults.next(trouble, when=on_status)
        scene.write("app", password="hunter-2")
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-2"}
        assert synced_at(scene) > before
        assert at(scene.definition("app"), "status", "sources") == [{"path": "secret/data/app", "version": 2}]


async def test_change_by_another_at_the_same_moment_does_not_make_it_forget_that_the_secret_was_written(
    autojump_clock: MockClock,
) -> None:
    """The content is that of before again, so nothing but the time is new."""
    async with running() as scene:
        await in_sync(scene)
        before = synced_at(scene)

        async def meddle(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.patch(f"{definition_path('app')}/status", {"status": {"conditions": [THEIRS, ready]}})
            return await send(request)

        ready = scene.ready("app")
        scene.faults.next(meddle, when=on_status)
        scene.user.delete(secret_path("app"))
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-1"}
        assert synced_at(scene) > before
        assert items(scene.definition("app"), "status", "conditions") == [THEIRS, scene.ready("app")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"conditions": None},
        {"conditions": [{**THEIRS, "type": "Ready", "status": "False", "reason": "ByHand"}]},
        {"sources": [], "secretName": "another", "lastSyncTime": "2020-01-01T00:00:00Z", "observedGeneration": 7},
    ],
    ids=["conditions removed", "another condition", "other facts"],
)
async def test_status_that_others_overwrite_is_repaired(wrong: Object, autojump_clock: MockClock) -> None:
    async with running() as scene:
        await in_sync(scene)
        before = at(scene.definition("app"), "status")
        scene.user.patch(f"{definition_path('app')}/status", {"status": wrong})
        assert at(scene.definition("app"), "status") != before
        await scene.passed(2)

        status = at(scene.definition("app"), "status")
        assert (scene.reason("app"), scene.message("app")) == ("Synced", "Secret app is in sync")
        assert {name: at(status, name) for name in ("sources", "secretName", "lastSyncTime", "observedGeneration")} == {
            name: at(before, name) for name in ("sources", "secretName", "lastSyncTime", "observedGeneration")
        }


async def test_who_overwrites_a_status_all_the_time_costs_a_write_a_second(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await in_sync(scene)
        writes = len(scene.writes_to_definitions())
        for _ in range(100):
            scene.user.patch(f"{definition_path('app')}/status", {"status": {"conditions": None}})
            await scene.passed(0.1)

        assert 5 < len(scene.writes_to_definitions()) - writes <= 10
        await scene.passed(2)
        assert scene.reason("app") == "Synced"


async def test_recreated_definition_does_not_get_the_status_of_the_one_before(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await in_sync(scene)
        scene.faults.always(fault.late(3), when=fault.is_watch)
        scene.delete("app")
        scene.define("app", pw="missing#password")
        await scene.settled()

        assert scene.reason("app") == "SourceNotFound"
        assert synced_at(scene) == ""


async def test_recreated_definition_is_not_reported_in_sync_before_its_own_first_write(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        await in_sync(scene)
        scene.faults.always(fault.answer(500), when=lambda request: request.method == "POST")
        scene.delete("app")
        scene.define("app", pw="app#password")
        scene.compact()  # so that the next list shows both at once
        scene.cluster.end_watches()
        del scene.door.writes[:]
        await scene.passed(5)

        reasons = {text(items(write.change.after, "status", "conditions")[0], "reason") for write in scene.door.writes}
        assert reasons == {"SecretWriteFailed"}


async def test_metric_of_the_last_sync_does_not_speak_of_status_writes(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.next(fault.answer(500), when=on_status, times=3)
        await in_sync(scene)

        assert (scene.metric("last_sync_status", "app"), scene.metric("sync_errors_total", "app")) == (1, 0)
        (task,) = {text_of_task(line) for line in scene.log.lines if "retrying" in line}
        assert task == "status write"


async def test_version_that_was_synced_last_tells_a_change_from_what_was_there(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await in_sync(scene)
        assert scene.sample(CHANGES) == 0
        scene.write("app", password="hunter-2")
        await scene.settled()
        scene.user.delete(secret_path("app"))
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-2"}
        assert scene.sample(CHANGES) == 1


def text_of_task(line: str) -> str:
    return line.partition("'task': '")[2].partition("'")[0]


# The CRD of the Go original has no status


async def test_the_crd_of_the_original_has_no_status_and_that_is_said_once(autojump_clock: MockClock) -> None:
    async with running(crd=without_status(CRD)) as scene:
        for name in ("one", "two"):
            scene.write(name, password="hunter-1")
            scene.define(name, pw=f"{name}#password")
        await scene.settled()
        scene.write("one", password="hunter-2")
        await scene.settled()

        assert (scene.values("one"), scene.values("two")) == ({"pw": "hunter-2"}, {"pw": "hunter-1"})
        assert [line for line in scene.log.lines if line.startswith("WARNING")] == [
            "WARNING the installed CRD has no status subresource: apply the output of `secrets-manager crd` {}"
        ]


async def test_a_definition_that_goes_before_its_status_is_written_is_no_old_crd(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.faults.always(fault.late(5), when=fault.is_watch)  # so the deletion is not known yet

        async def meddle(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.delete("app")
            return await send(request)

        scene.faults.next(meddle, when=fault.on_path(ends="/status"))
        scene.define("app", pw="app#password")
        await scene.settled()

        assert [line for line in scene.log.lines if line.startswith("WARNING")] == []
