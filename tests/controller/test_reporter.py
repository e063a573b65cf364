"""What users and operators see: status, Events, metrics, log lines. Each is reported once, and nothing at rest."""

import base64

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Json, Object, at, items, mapping, text
from secrets_manager.config import ControllerConfig
from tests.controller.component import definition_path, keys_map, running, secret_path, without_status
from tests.definitions import CRD
from tests.doubles import faults as fault

APP = {"namespace": "shop", "name": "app"}
THEIRS: Object = {
    "type": "Audited",
    "status": "True",
    "reason": "ByHand",
    "message": "fine",
    "lastTransitionTime": "2020-01-01T00:00:00Z",
}


async def test_the_status_says_what_was_made_from_what(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.write("app", password="hunter-2")
        scene.define("app", pw="app#password")
        await scene.settled()

        assert at(scene.definition("app"), "status") == {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Synced",
                    "message": "Secret app is in sync",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "observedGeneration": 1,
                }
            ],
            "observedGeneration": 1,
            "lastSyncTime": "2026-01-01T00:00:00Z",
            "secretName": "app",
            "sources": [{"path": "secret/data/app", "version": 2}],
        }


async def test_at_rest_kubernetes_is_asked_for_nothing_but_its_watches(autojump_clock: MockClock) -> None:
    async with running() as scene:
        for number in range(5):
            scene.write(f"app-{number}", password="hunter-1")
            scene.define(f"app-{number}", pw=f"app-{number}#password")
        scene.define("missing", pw="missing#password")
        scene.define("broken")
        await scene.settled()
        requests, revision = len(scene.faults.calls), scene.cluster.storage.revision

        await scene.passed(900)

        assert {call.method for call in scene.faults.calls[requests:]} == {"GET"}
        assert len(scene.faults.calls) - requests <= 2 * 900 / 290 + 2
        assert scene.cluster.storage.revision == revision


async def test_a_restart_finds_all_as_it_should_be_and_writes_nothing(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("missing", pw="missing#password")
        await scene.settled()
        await scene.stop()
        revision = scene.cluster.storage.revision

        scene.start()
        await scene.settled()

        assert scene.cluster.storage.revision == revision


async def test_a_problem_is_reported_once_and_again_when_its_reason_changes(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.define("app", pw="app#password")
        await scene.passed(900)
        assert scene.events() == [("SyncFailed", "app")]

        scene.write("app", password=None)
        await scene.passed(900)
        assert scene.events() == [("SyncFailed", "app"), ("SyncFailed", "app")]
        assert scene.message("app") == (
            "key pw: 'password' at secret/data/app is null: give it a value, or remove the key here"
        )

        failed = APP | {"reason": scene.reason("app"), "message": scene.message("app")}
        scene.write("app", password="hunter-1")
        await scene.settled()
        assert scene.events() == [("SyncFailed", "app"), ("SyncFailed", "app"), ("Synced", "app")]
        lines = [line for line in scene.log.lines if " sync" in line]
        assert [line.partition(" {")[0] for line in lines] == ["WARNING sync failed"] * 2 + ["INFO in sync"]
        assert lines[1:] == [f"WARNING sync failed {failed}", f"INFO in sync {APP | {'secret': 'app'}}"]


async def test_a_recovery_without_a_write_is_reported_by_an_event_of_its_own(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.vault.delete_kv("secret/data/app")
        await scene.settled()
        problem = scene.message("app")

        scene.write("app", password="hunter-1")
        await scene.settled()

        assert scene.events_of("app") == [
            "Normal Synced Sync Secret app is written",
            f"Warning SyncFailed Sync {problem}",
            "Normal SyncRecovered Sync Secret app is in sync again",
        ]


async def test_a_recovery_is_reported_by_the_process_that_comes_after_the_failure(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.vault.delete_kv("secret/data/app")
        await scene.settled()
        await scene.stop()
        scene.write("app", password="hunter-1")

        scene.start()
        await scene.settled()

        assert scene.events() == [("Synced", "app"), ("SyncFailed", "app"), ("SyncRecovered", "app")]


async def test_what_waits_for_an_edit_is_stalled_until_it_is_edited(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.foreign_secret("app")
        scene.define("app", pw="app#password")
        await scene.settled()
        ready, stalled = items(scene.definition("app"), "status", "conditions")
        assert stalled == {**mapping(ready), "type": "Stalled", "status": "True"}

        scene.annotate("app", adopt="true")
        await scene.settled()

        assert items(scene.definition("app"), "status", "conditions") == [scene.ready("app")]


async def test_a_failure_says_since_when_and_leaves_what_the_secret_was_made_from(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        before = mapping(scene.definition("app"), "status")

        scene.vault.delete_kv("secret/data/app")
        await scene.settled()

        status = mapping(scene.definition("app"), "status")
        ready: Object = {
            "type": "Ready",
            "status": "False",
            "reason": "SourceNotFound",
            "message": scene.message("app"),
            "lastTransitionTime": at(scene.ready("app"), "lastTransitionTime"),
            "observedGeneration": 1,
        }
        reconciling: Json = {**ready, "type": "Reconciling", "status": "True"}
        assert status == before | {"conditions": [ready, reconciling]}
        assert text(ready, "lastTransitionTime") > text(before, "lastSyncTime")
        assert scene.values("app") == {"pw": "hunter-1"}


async def test_events_report_the_kind_of_each_write(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.foreign_secret("adopted", data={"k": "theirs"})
        scene.foreign_secret("retyped", data={"k": "theirs"})
        for name in ("app", "adopted", "retyped"):
            scene.write(name, password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.write("app", password="hunter-2")
        await scene.settled()
        scene.edit("app", {"data": {"pw": base64.b64encode(b"edited").decode()}})
        await scene.settled()
        scene.user.delete(secret_path("app"))
        await scene.settled()
        scene.define("adopted", annotations={"secrets-manager.tuenti.io/adopt": "true"}, pw="adopted#password")
        await scene.settled()
        scene.define(
            "retyped",
            annotations={"secrets-manager.tuenti.io/adopt": "true"},
            type_="kubernetes.io/basic-auth",
            password="retyped#password",
        )
        await scene.settled()

        assert sorted(scene.events_of("app")) == [
            "Normal SecretReverted Sync Secret app was changed or deleted by others and is restored",
            "Normal Synced Sync Secret app is written",
        ]
        assert scene.event_series("app") == {"Synced": 2, "SecretReverted": 2}
        for name in ("adopted", "retyped"):
            assert scene.events_of(name) == [
                f"Normal SecretAdopted Sync Secret {name} was created by others and is managed from now on"
            ]


async def test_conditions_of_others_survive(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.define("app", pw="app#password")
        await scene.settled()
        ours = items(scene.definition("app"), "status", "conditions")
        scene.user.patch(f"{definition_path('app')}/status", {"status": {"conditions": [THEIRS, *ours]}})

        scene.write("app", password="hunter-1")
        await scene.settled()

        assert items(scene.definition("app"), "status", "conditions") == [THEIRS, scene.ready("app")]
        assert scene.reason("app") == "Synced"


async def test_a_status_that_can_not_be_written_is_tried_again_more_and_more_seldom(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.always(fault.answer(500), when=fault.on_path(ends="/status"))
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(600)
        assert scene.values("app") == {"pw": "hunter-1"}
        assert 10 <= len([call for call in scene.faults.calls if call.path.endswith("/status")]) <= 40

        scene.faults.heal()
        await scene.settled()
        assert scene.reason("app") == "Synced"


async def test_a_condition_that_another_sets_at_the_same_moment_survives(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")

        async def meddle(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.patch(f"{definition_path('app')}/status", {"status": {"conditions": [THEIRS]}})
            return await send(request)

        scene.faults.next(meddle, when=fault.on_path(ends="/status"))
        scene.define("app", pw="app#password")
        await scene.settled()

        assert items(scene.definition("app"), "status", "conditions") == [THEIRS, scene.ready("app")]
        assert scene.reason("app") == "Synced"


async def test_the_metrics_of_a_definition_come_and_go_with_it(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("broken", pw="missing#password")
        await scene.settled()
        assert (scene.metric("last_sync_status", "app"), scene.metric("sync_errors_total", "app")) == (1, 0)
        assert scene.metric("last_sync_status", "broken") == 0
        assert (scene.metric("sync_errors_total", "broken") or 0) >= 1

        scene.delete("app")
        scene.delete("broken")
        await scene.settled()
        assert (scene.metric("last_sync_status", "app"), scene.metric("last_sync_status", "broken")) == (None, None)
        assert (scene.metric("sync_errors_total", "app"), scene.metric("sync_errors_total", "broken")) == (None, None)


async def test_metrics_bear_the_name_of_the_secret_and_move_with_it(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.define("app", secret="first", pw="missing#password")
        await scene.settled()
        assert (scene.metric("last_sync_status", "first"), scene.metric("last_sync_status", "app")) == (0, None)

        scene.write("missing", password="hunter-1")
        scene.change("app", name="second")
        await scene.settled()

        assert (scene.metric("last_sync_status", "first"), scene.metric("sync_errors_total", "first")) == (None, None)
        assert (scene.metric("last_sync_status", "second"), scene.metric("sync_errors_total", "second")) == (1, 0)


async def test_of_two_definitions_that_want_one_secret_the_one_that_fails_shows(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("first", secret="app", pw="app#password")
        await scene.settled()
        assert scene.metric("last_sync_status", "app") == 1

        scene.define("second", secret="app", pw="app#password")
        await scene.settled()
        assert (scene.reason("first"), scene.reason("second")) == ("Synced", "SecretNotOwned")
        assert scene.metric("last_sync_status", "app") == 0

        scene.delete("second")
        await scene.settled()
        assert scene.metric("last_sync_status", "app") == 1


@pytest.mark.parametrize(
    ("reason", "keys"),
    [
        ("SourceNotFound", {"pw": "missing#password"}),
        ("DefinitionInvalid", {}),
        ("PathNotAllowed", {"pw": "theirs/app#password"}),
        ("SecretNotOwned", {"pw": "app#password"}),
    ],
)
async def test_a_definition_that_stays_as_it_is_fails_again_and_again_for_its_alerts(
    autojump_clock: MockClock, reason: str, keys: dict[str, str]
) -> None:
    paths = ControllerConfig(allowed_paths=("secret/data/+",))
    async with running(config=paths) as scene:
        scene.write("app", password="hunter-1")
        scene.foreign_secret("app")
        scene.define_as_it_is("app", {"name": "app", "keysMap": keys_map(**keys)})
        await scene.settled()
        assert scene.reason("app") == reason
        for _ in range(10):
            before = scene.metric("sync_errors_total", "app") or 0
            await scene.passed(60)
            assert before + 1 <= (scene.metric("sync_errors_total", "app") or 0) <= before + 3


async def test_an_outage_of_the_store_counts_as_failed_syncs_while_it_lasts(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        with scene.vault.sealed():
            await scene.passed(120)
            before = scene.metric("sync_errors_total", "app") or 0
            assert before >= 1

            await scene.passed(600)

            assert before + 10 <= (scene.metric("sync_errors_total", "app") or 0) <= before + 21
            assert scene.metric("last_sync_status", "app") == 0


async def test_definitions_are_counted_by_reason_and_no_more_when_they_are_gone(autojump_clock: MockClock) -> None:
    def count(reason: str) -> float | None:
        state = "Ready" if reason == "Synced" else "Reconciling"
        return scene.sample("secrets_manager_controller_definitions", state=state, reason=reason)

    def not_ready() -> float | None:
        family = "secrets_manager_controller_definition_not_ready"
        return scene.sample(family, namespace="shop", name="broken", reason="SourceNotFound")

    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("broken", pw="missing#password")
        await scene.settled()
        assert (count("Synced"), count("SourceNotFound"), not_ready()) == (1, 1, 1)
        assert (scene.sample("secrets_manager_controller_reconcile_errors_total", reason="SourceNotFound") or 0) >= 1

        scene.write("missing", password="hunter-2")
        scene.delete("app")
        await scene.settled()
        assert (count("Synced"), count("SourceNotFound"), not_ready()) == (1, 0, None)


async def test_a_definition_that_goes_while_it_is_worked_on_leaves_no_metrics(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()

        async def meddle(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.delete("app")
            await scene.passed(1)
            return await send(request)

        scene.faults.next(meddle, when=fault.is_write)
        scene.write("app", password="hunter-2")
        await scene.settled()

        assert scene.metric("last_sync_status", "app") is None


async def test_a_read_of_a_secret_that_fails_is_counted(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.foreign_secret("app")
        scene.write("app", password="hunter-1")
        scene.faults.next(fault.answer(500), when=fault.on_path(ends="/secrets/app"))
        scene.define("app", pw="app#password")
        await scene.settled()

        assert scene.metric("secret_read_errors_total", "app") == 1


async def test_what_kubernetes_refuses_is_reported_in_its_own_words(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        refusal = fault.answer(403, reason="Forbidden", message="exceeded quota: one too many")
        scene.faults.always(refusal, when=lambda request: request.method == "POST" and "events" not in request.url.path)
        scene.define("app", pw="app#password")
        await scene.passed(600)
        assert (scene.reason("app"), scene.message("app")) == (
            "SecretRejected",
            (
                "Kubernetes refuses Secret app: POST /api/v1/namespaces/shop/secrets: "
                "403 Forbidden: exceeded quota: one too many"
            ),
        )

        scene.faults.heal()
        await scene.passed(60)
        assert scene.reason("app") == "Synced"


async def test_without_a_status_a_problem_is_still_reported_once_however_often_it_is_met(
    autojump_clock: MockClock,
) -> None:
    async with running(crd=without_status(CRD)) as scene:
        scene.write("app", password="hunter-1")
        scene.foreign_secret("app")
        scene.define("app", pw="app#password")
        await scene.passed(600)
        assert [line.split()[:3] for line in scene.log.lines if "sync" in line] == [["WARNING", "sync", "failed"]]
        assert [reason for reason, *_ in scene.events()] == ["SyncFailed"]

        scene.annotate("app", adopt="true")
        await scene.settled()

        assert [line.split()[:3] for line in scene.log.lines if "sync" in line][1:] == [["INFO", "in", "sync"]]


async def test_secret_that_is_found_equal_before_there_is_a_status_has_not_recovered(autojump_clock: MockClock) -> None:
    async with running(crd=without_status(CRD)) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        await scene.stop()
        scene.start()
        await scene.settled()

        assert scene.events() == [("Synced", "app")]
