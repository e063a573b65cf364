"""Workloads are restarted after the data of their Secrets has changed, each once, whatever happens meanwhile."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.documents import Json, Object, at, mapping, number, text
from secrets_manager.config import ControllerConfig
from tests.controller.component import NAMESPACE, Scene, definition_path, keys_map, running, secret_path
from tests.definitions import condition_of
from tests.doubles import faults as fault
from tests.doubles.faults import Fault
from tests.workloads import LABELS, workload

RARELY = ControllerConfig(reconcile_period=600)
"""No poll of Vault comes between."""
CALM = 8.0
"""Seconds: longer than the delay of restarts."""
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
RESTARTS = "secrets-manager.tuenti.io/rollout-restart"
RESTARTED_FOR = "secrets-manager.tuenti.io/restarted-for"


def target_of(name: str, kind: str = "Deployment") -> Object:
    return {"kind": kind, "name": name}


WEB = target_of("web")
API = target_of("api")


def path_of(target: Object) -> str:
    return f"/apis/apps/v1/namespaces/{NAMESPACE}/{PLURALS[text(target, 'kind')]}/{text(target, 'name')}"


def deploy(scene: Scene, *targets: Object) -> None:
    """Make workloads."""
    for each in targets:
        scene.user.create(workload(text(each, "kind"), text(each, "name"), namespace=NAMESPACE))


def define(scene: Scene, name: str, *targets: Json, **spec: Json) -> None:
    """Make a definition of one key, whose value is in Vault at its name."""
    whole: Object = {"name": name, "keysMap": keys_map(pw=f"{name}#password"), "rolloutRestartTargets": [*targets]}
    scene.define_as_it_is(name, whole | spec)


def rotate(scene: Scene, *names: str, value: str = "hunter-2") -> None:
    """Change values in Vault, and let the program read them now."""
    for name in names:
        scene.write(name, password=f"{value}-{name}")
        scene.annotate(name, **{"force-sync": value})


def restarts(scene: Scene, target: Object = WEB) -> int:
    """How often the workload was restarted."""
    return number(scene.user.get(path_of(target)), "metadata", "generation") - 1


def restarted_for(scene: Scene, target: Object = WEB) -> dict[str, str]:
    """The Secrets, each with its revision."""
    annotations = mapping(scene.user.get(path_of(target)), "spec", "template", "metadata", "annotations")
    found: dict[str, str] = json.loads(text(annotations, RESTARTED_FOR) or "{}")
    return found


def revision(scene: Scene, name: str) -> str:
    """The revision on a Secret."""
    return text(scene.secret(name), "metadata", "annotations", RESTARTS).partition(";")[0]


def restart_condition(scene: Scene, name: str) -> Json:
    return condition_of(scene.definition(name), "RolloutRestart")


def condition(scene: Scene, name: str) -> tuple[str, str]:
    """Its status and reason; empty if there is none."""
    found = restart_condition(scene, name)
    return text(found, "status"), text(found, "reason")


def message(scene: Scene, name: str) -> str:
    return text(restart_condition(scene, name), "message")


def transition_time(scene: Scene, name: str) -> datetime:
    return datetime.fromisoformat(text(restart_condition(scene, name), "lastTransitionTime"))


def requests_to_workloads(scene: Scene) -> int:
    return scene.faults.count(lambda call: call.path.startswith("/apis/apps/"))


def of_workloads(request: httpx.Request) -> bool:
    return request.url.path.startswith("/apis/apps/")


def of_restarts(request: httpx.Request) -> bool:
    return fault.is_write(request) and of_workloads(request)


async def in_sync(scene: Scene, *names: str, targets: tuple[Json, ...] = (WEB,)) -> None:
    """Let the program make the Secrets."""
    for name in names:
        scene.write(name, password=f"hunter-1-{name}")
        define(scene, name, *targets)
    await scene.settled(CALM)


UP_TO_DATE = ("True", "UpToDate")


def attempts(scene: Scene) -> tuple[float | None, float | None]:
    """How many attempts are counted: those that restarted a workload, and those that failed."""
    name = "secrets_manager_rollout_restarts_total"
    restarted, failed = (scene.registry.get_sample_value(name, {"result": each}) for each in ("restarted", "failed"))
    return restarted, failed


async def test_attempts_are_counted_by_their_result(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB, API)
        await in_sync(scene, "app", targets=(WEB, API))
        assert attempts(scene) == (0, 0), "so that the first one is seen as an increase"
        scene.faults.next(fault.answer(500, reason="InternalError"), when=of_workloads, times=2)
        rotate(scene, "app")
        await scene.settled()
        assert (restarts(scene), restarts(scene, API), attempts(scene)) == (1, 1, (2, 2))

        scene.faults.next(fault.lose_reply(), when=of_restarts)
        rotate(scene, "app", value="hunter-3")
        await scene.settled()
        assert (restarts(scene), restarts(scene, API)) == (2, 2)
        assert attempts(scene) == (3, 3), "what had been done already is no restart"

        scene.faults.next(fault.lose_request(ValueError("odd")), when=of_workloads)
        rotate(scene, "app", value="hunter-4")
        await scene.passed(10)
        assert attempts(scene) == (5, 4), "what is unexpected counts, too, and is tried again soon"
        (line,) = [line for line in scene.log.lines if line.startswith("ERROR unexpected error, retrying")]
        assert line.endswith(("'kind': 'Deployment', 'name': 'web'}", "'kind': 'Deployment', 'name': 'api'}"))


@pytest.mark.parametrize("kind", PLURALS)
async def test_a_workload_is_restarted_when_the_data_changes(kind: str, autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, target := target_of("web", kind))
        await in_sync(scene, "app", targets=(target,))
        rotate(scene, "app")
        await scene.settled(CALM)

        assert restarts(scene, target) == 1
        assert restarted_for(scene, target) == {"app": revision(scene, "app")}
        assert condition(scene, "app") == UP_TO_DATE
        restarted = f"{kind} web is restarted, since Secret app has changed"
        assert f"Normal RolloutRestarted Restart {restarted}" in scene.events_of("app")


async def test_a_restart_costs_a_status_and_no_reconcile(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.passed(1)
        reconciles = scene.sample("secrets_manager_controller_reconcile_duration_seconds_count")
        assert condition(scene, "app")[0] == "Unknown"
        await scene.settled(CALM)
        assert condition(scene, "app") == UP_TO_DATE
        assert scene.sample("secrets_manager_controller_reconcile_duration_seconds_count") == reconciles


async def test_each_change_is_a_restart_of_its_own(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB, API)
        await in_sync(scene, "app", targets=(WEB, API))
        revisions = set()
        for number_ in range(3):
            rotate(scene, "app", value=f"hunter-{number_ + 2}")
            await scene.settled(CALM)
            revisions.add(revision(scene, "app"))

        assert (restarts(scene), restarts(scene, API), len(revisions)) == (3, 3, 3)


async def test_nothing_of_the_pod_template_but_the_annotation_changes(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        scene.user.patch(path_of(WEB), {"spec": {"template": {"metadata": {"annotations": {"theirs": "1"}}}}})
        before = mapping(scene.user.get(path_of(WEB)), "spec", "template")
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)

        after = mapping(scene.user.get(path_of(WEB)), "spec", "template")
        annotations = mapping(after, "metadata", "annotations")
        assert set(annotations) == {"theirs", RESTARTED_FOR}
        theirs: Object = {"labels": LABELS, "annotations": {"theirs": "1"}}
        assert after | {"metadata": theirs} == before


async def test_first_creation_and_labels_restart_nothing(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        scene.user.patch(definition_path("app"), {"metadata": {"labels": {"team": "shop"}}})
        await scene.settled(CALM)

        assert text(scene.secret("app"), "metadata", "labels", "team") == "shop"
        assert (restarts(scene), requests_to_workloads(scene), revision(scene, "app")) == (0, 0, "")
        assert condition(scene, "app") == UP_TO_DATE


async def test_a_definition_without_targets_has_no_record_and_no_condition(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled(CALM)
        scene.write("app", password="hunter-2")
        scene.annotate("app", **{"force-sync": "1"})
        await scene.settled(CALM)

        assert scene.values("app") == {"pw": "hunter-2"}
        assert RESTARTS not in mapping(scene.secret("app"), "metadata", "annotations")
        assert condition(scene, "app") == ("", "")
        assert at(scene.definition("app"), "status", "restartedFor") is None


TEN = tuple(f"app-{number_}" for number_ in range(10))


async def test_ten_secrets_that_change_together_cause_one_restart(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, *TEN)
        for name in TEN:
            rotate(scene, name)
            await scene.passed(0.2)
        await scene.settled(CALM)

        assert (restarts(scene), requests_to_workloads(scene)) == (1, 2)
        assert restarted_for(scene) == {name: revision(scene, name) for name in TEN}
        assert {condition(scene, name) for name in TEN} == {UP_TO_DATE}


async def test_a_restart_waits_for_the_delay_from_the_first_change(autojump_clock: MockClock) -> None:
    config = ControllerConfig(reconcile_period=600, rollout_restart_delay=30)
    async with running(config=config) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app", "other")
        rotate(scene, "app")
        await scene.passed(20)
        rotate(scene, "other")
        await scene.passed(5)
        assert (restarts(scene), condition(scene, "app")) == (0, ("Unknown", "RestartPending"))
        assert message(scene, "app") == "Secret app has changed: to be restarted: Deployment web"
        changed_at = transition_time(scene, "app")
        await scene.passed(10)
        assert (restarts(scene), set(restarted_for(scene))) == (1, {"app", "other"})
        assert transition_time(scene, "app") - changed_at == timedelta(seconds=30)


async def test_at_rest_nothing_is_asked_and_nothing_written(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled()
        asked, revision_ = requests_to_workloads(scene), scene.cluster.storage.revision
        await scene.passed(3 * 3600)
        assert (requests_to_workloads(scene), scene.cluster.storage.revision) == (asked, revision_)


async def test_the_next_process_asks_nothing_where_all_is_done(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled()
        asked, version = requests_to_workloads(scene), text(scene.definition("app"), "metadata", "resourceVersion")
        await scene.stop()
        scene.start()
        await scene.settled()
        assert requests_to_workloads(scene) == asked
        assert text(scene.definition("app"), "metadata", "resourceVersion") == version


async def test_a_change_while_the_program_is_away_is_a_restart(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        await scene.stop()
        rotate(scene, "app")
        scene.start()
        await scene.settled(CALM)
        assert restarts(scene) == 1


async def test_a_pending_restart_does_not_wait_for_the_backend(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.passed(2)
        await scene.stop()
        assert restarts(scene) == 0
        with scene.vault.sealed():
            scene.start()
            await scene.settled(CALM)
            assert scene.reason("app") == "BackendUnavailable"
            assert (restarts(scene), condition(scene, "app")) == (1, UP_TO_DATE)


@pytest.mark.parametrize("removed", ["the revision", "the Secret"])
async def test_a_restart_is_made_though_others_remove_what_it_is_for(removed: str, autojump_clock: MockClock) -> None:
    async def removing(request: httpx.Request, send: fault.Send) -> httpx.Response:
        if removed == "the Secret":
            scene.user.delete(secret_path("app"))
        else:
            scene.edit("app", {"metadata": {"annotations": {RESTARTS: None}}})
        return await send(request)

    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.passed(2)
        scene.faults.next(removing, when=fault.on_path(ends="/secrets/app"))
        await scene.settled(CALM)
        assert (restarts(scene), condition(scene, "app")) == (1, UP_TO_DATE)
        assert attempts(scene) == (1, 0)


@pytest.mark.parametrize("up", [True, False], ids=["Vault is up", "Vault is sealed"])
async def test_a_process_that_sees_an_old_secret_restarts_nothing_for_it(
    autojump_clock: MockClock, *, up: bool
) -> None:
    """Its definition is seen as it is. Nothing more comes of the Secrets until their watch is given up."""
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)
        behind, seen = scene.cluster.storage.revision, restarted_for(scene)
        rotate(scene, "app", value="hunter-3")
        await scene.settled(CALM)
        assert restarted_for(scene) != seen
        await scene.stop()

        scene.faults.next(fault.as_of(behind), when=fault.on_path(ends="/secrets"))
        scene.faults.next(fault.silent_after(0), when=fault.on_path(ends="/secrets"))
        with nullcontext() if up else scene.vault.sealed():
            scene.start()
            await scene.passed(60)
            refused = f"Secret {NAMESPACE}/app has changed meanwhile"
            assert message(scene, "app") == f"Deployment web can't be restarted, and is tried again: {refused}"
            assert restarts(scene) == 2
        await scene.passed(120)
        assert (restarts(scene), condition(scene, "app")) == (2, UP_TO_DATE)
        rotate(scene, "app", value="hunter-4")
        await scene.settled(CALM)
        assert (restarts(scene), restarted_for(scene)) == (3, {"app": revision(scene, "app")})


@pytest.mark.parametrize("path", ["app", "missing"])
async def test_a_copy_by_hand_that_a_definition_is_renamed_to_is_no_reason_for_a_restart(
    path: str, autojump_clock: MockClock
) -> None:
    """One target is not there, so that the status does not say that all are restarted."""
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app", targets=(WEB, API))
        rotate(scene, "app")
        await scene.settled(CALM)
        scene.copy("app", "copied")
        scene.change("app", name="copied", keysMap=keys_map(pw=f"{path}#password"))
        await scene.passed(120)
        assert restarts(scene) == 1


async def test_a_target_that_is_added_later_is_not_restarted_for_what_was_before(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB, API)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)
        scene.change("app", rolloutRestartTargets=[WEB, API])
        await scene.settled(CALM)
        await scene.stop()
        scene.start()
        await scene.settled(CALM)
        assert (restarts(scene), restarts(scene, API)) == (1, 0)

        rotate(scene, "app", value="hunter-3")
        await scene.settled(CALM)
        assert (restarts(scene), restarts(scene, API)) == (2, 1)


async def test_a_target_that_is_removed_before_its_restart_is_not_restarted(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB, API)
        await in_sync(scene, "app", targets=(WEB, API))
        rotate(scene, "app")
        await scene.passed(2)
        scene.change("app", rolloutRestartTargets=[API])
        await scene.settled(CALM)
        assert (restarts(scene), restarts(scene, API)) == (0, 1)
        assert condition(scene, "app") == UP_TO_DATE


async def test_without_targets_any_more_the_condition_goes_and_with_the_next_change_the_record(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)
        scene.change("app", rolloutRestartTargets=None)
        await scene.settled(CALM)
        assert condition(scene, "app") == ("", "")
        rotate(scene, "app", value="hunter-3")
        await scene.settled(CALM)
        assert (restarts(scene), revision(scene, "app")) == (1, "")


async def test_the_definition_may_be_deleted_before_the_restart(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.passed(2)
        scene.delete("app")
        await scene.settled(CALM)
        assert (restarts(scene), requests_to_workloads(scene)) == (0, 0)


async def test_a_recreated_definition_has_the_pending_restarts_of_its_predecessor(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        scene.write("app", password="hunter-1")
        define(scene, "app", WEB, creationPolicy="Orphan")
        await scene.settled(CALM)
        rotate(scene, "app")
        await scene.passed(2)
        for _ in range(2):  # once before the restart, and once after it
            scene.delete("app")
            define(scene, "app", WEB, creationPolicy="Orphan")
            await scene.settled(CALM)
            assert (restarts(scene), condition(scene, "app")) == (1, UP_TO_DATE)


async def test_what_others_changed_and_is_reverted_restarts_nothing(autojump_clock: MockClock) -> None:
    """Else a manager that competes for the Secret would cause restart after restart."""
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)
        before = revision(scene, "app")
        await scene.stop()
        scene.start()
        await scene.settled(CALM)
        for _ in range(5):
            scene.edit("app", {"data": {"pw": "ZWRpdGVk"}, "metadata": {"annotations": {RESTARTS: None}}})
            await scene.settled(CALM)
        await scene.settled()
        scene.user.delete(secret_path("app"))
        await scene.settled()
        assert scene.values("app") == {"pw": "hunter-2-app"}
        assert (restarts(scene), revision(scene, "app")) == (1, before)


async def test_a_secret_that_is_gone_while_the_program_is_away_may_have_changed(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        await scene.stop()
        scene.user.delete(secret_path("app"))
        scene.start()
        await scene.settled(CALM)
        assert restarts(scene) == 1


async def test_a_replacement_with_other_data_is_a_change_and_one_with_the_same_is_none(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        scene.change("app", type="example.org/own")
        await scene.settled(CALM)
        assert (text(scene.secret("app"), "type"), restarts(scene)) == ("example.org/own", 0)

        scene.write("app", password="hunter-2")
        scene.change("app", type="example.org/other")
        await scene.settled(CALM)
        assert (text(scene.secret("app"), "type"), restarts(scene)) == ("example.org/other", 1)

        await scene.stop()
        scene.change("app", type="example.org/third")
        scene.start()
        await scene.settled(CALM)
        assert (text(scene.secret("app"), "type"), restarts(scene)) == ("example.org/third", 1)


async def test_a_pending_restart_survives_a_replacement(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.passed(2)
        scene.change("app", type="example.org/own")
        await scene.settled(CALM)
        assert (restarts(scene), restarted_for(scene)) == (1, {"app": revision(scene, "app")})


async def test_adopted_data_that_differs_is_a_change(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        scene.foreign_secret("app", data={"pw": "theirs"})
        scene.write("app", password="hunter-1")
        define(scene, "app", WEB)
        scene.annotate("app", adopt="true")
        await scene.settled(CALM)
        assert (scene.values("app"), restarts(scene)) == ({"pw": "hunter-1"}, 1)


async def test_a_workload_that_others_change_meanwhile_keeps_their_changes(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app", "other")
        theirs: Object = {"metadata": {"annotations": {RESTARTED_FOR: '{"other": "theirs"}'}}}

        async def changed_first(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.patch(path_of(WEB), {"spec": {"replicas": 3, "template": theirs}})
            return await send(request)

        scene.faults.next(changed_first, when=of_restarts)
        rotate(scene, "app")
        await scene.settled(CALM)

        found = scene.user.get(path_of(WEB))
        assert (number(found, "spec", "replicas"), restarts(scene)) == (3, 2)
        assert restarted_for(scene) == {"app": revision(scene, "app"), "other": "theirs"}
        assert ("RolloutRestartFailed", "app") not in scene.events()
        (line,) = [line for line in scene.log.lines if "restart failed, retrying" in line]
        assert line.startswith("DEBUG ")


async def test_a_target_that_is_not_there_is_reported_and_restarted_once_it_is(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, API)
        await in_sync(scene, "app", targets=(WEB, API))
        rotate(scene, "app")
        await scene.settled()

        assert (scene.reason("app"), restarts(scene, API)) == ("Synced", 1)
        assert condition(scene, "app") == ("False", "TargetNotFound")
        assert message(scene, "app") == (
            "Deployment web does not exist: create it, or remove it from spec.rolloutRestartTargets"
        )
        assert f"Warning RolloutRestartFailed Restart {message(scene, 'app')}" in scene.events_of("app")
        assert scene.event_series("app")["RolloutRestartFailed"] == 1
        assert any(line.startswith("WARNING restart failed, retrying") for line in scene.log.lines)

        deploy(scene, WEB)
        await scene.passed(65)
        assert (restarts(scene), restarts(scene, API), condition(scene, "app")) == (1, 1, UP_TO_DATE)


REFUSAL = 'deployments.apps "web" is forbidden: User "sm" cannot patch resource "deployments" in API group "apps"'


async def test_no_restart_is_tried_before_the_server_asked_for_it(autojump_clock: MockClock) -> None:
    busy = fault.answer(503, reason="ServiceUnavailable", headers={"Retry-After": "20"})
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        scene.faults.always(busy, when=of_workloads)
        rotate(scene, "app")
        await scene.passed(5 + 19)
        assert requests_to_workloads(scene) == 1
        scene.faults.heal()
        await scene.passed(5)
        assert restarts(scene) == 1


async def test_a_failure_stays_reported_while_the_definition_is_synced_again(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)
        before = restart_condition(scene, "app")
        assert condition(scene, "app") == ("False", "TargetNotFound")

        scene.annotate("app", poke="1")
        await scene.passed(1)
        assert restart_condition(scene, "app") == before


async def test_a_target_that_may_not_be_restarted_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        refused = fault.answer(403, reason="Forbidden", message=REFUSAL)
        scene.faults.always(refused, when=of_workloads)
        rotate(scene, "app")
        await scene.passed(7)
        assert (condition(scene, "app"), requests_to_workloads(scene)) == (("False", "TargetForbidden"), 1)
        await scene.settled()
        asked = requests_to_workloads(scene)
        await scene.passed(600)

        assert (scene.reason("app"), restarts(scene)) == ("Synced", 0)
        assert condition(scene, "app") == ("False", "TargetForbidden")
        assert message(scene, "app").startswith("Deployment web can't be restarted: GET ")
        assert message(scene, "app").endswith(
            f"{REFUSAL}: set rbac.rolloutRestart of the chart, or apply the component deploy/rollout-restart"
        )
        assert scene.event_series("app")["RolloutRestartFailed"] == 1
        assert 10 <= requests_to_workloads(scene) - asked <= 20

        scene.faults.heal()
        await scene.passed(65)
        assert (restarts(scene), condition(scene, "app")) == (1, UP_TO_DATE)


async def test_a_secret_that_may_not_be_read_before_a_restart_is_no_matter_of_the_right_to_restart(
    autojump_clock: MockClock,
) -> None:
    refusal = 'secrets "app" is forbidden: User "sm" cannot get resource "secrets" in API group ""'
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        scene.faults.always(
            fault.answer(403, reason="Forbidden", message=refusal),
            when=lambda request: not fault.is_write(request) and request.url.path == secret_path("app"),
        )
        rotate(scene, "app")
        await scene.passed(65)
        scene.faults.heal()
        assert (condition(scene, "app"), restarts(scene)) == (("False", "TargetForbidden"), 0)
        assert message(scene, "app").endswith(f"{refusal}: let the controller get Secrets in this namespace")

        await scene.passed(65)
        assert (restarts(scene), condition(scene, "app")) == (1, UP_TO_DATE)


async def test_a_failure_that_lasts_is_reported_and_one_that_does_not_is_not(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        failing = fault.answer(500, reason="InternalError")
        for count in (1, 2):
            scene.faults.next(failing, when=of_workloads, times=2)
            rotate(scene, "app", value=f"hunter-{count + 1}")
            await scene.settled()
            assert (restarts(scene), condition(scene, "app")) == (count, UP_TO_DATE)
            assert "RolloutRestartFailed" not in scene.event_series("app")

        scene.faults.next(failing, when=of_workloads, times=3)
        rotate(scene, "app", value="hunter-4")
        await scene.settled()
        assert scene.event_series("app")["RolloutRestartFailed"] == 1

        scene.faults.always(failing, when=of_workloads)
        rotate(scene, "app", value="hunter-5")
        await scene.settled()
        assert condition(scene, "app") == ("False", "RestartFailed")
        assert "can't be restarted, and is tried again" in message(scene, "app")
        scene.faults.heal()
        await scene.settled()
        assert (restarts(scene), condition(scene, "app")) == (4, UP_TO_DATE)


async def test_a_secret_that_changes_again_during_a_restart_causes_another(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app", "other")
        scene.faults.next(fault.late(3), when=of_restarts)
        rotate(scene, "app", "other")
        await scene.passed(6)
        rotate(scene, "app", value="hunter-3")
        await scene.passed(3)
        assert (condition(scene, "app")[1], condition(scene, "other")) == ("RestartPending", UP_TO_DATE)

        await scene.settled(CALM)
        assert restarts(scene) == 2
        assert restarted_for(scene) == {name: revision(scene, name) for name in ("app", "other")}


async def test_a_workload_that_can_not_be_read_fails_alone(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB, API)
        await in_sync(scene, "app", targets=(WEB, API))
        scene.faults.always(fault.rubbish(b"<html>"), when=fault.on_path(ends="/web"))
        rotate(scene, "app")
        await scene.settled()
        assert (restarts(scene), restarts(scene, API)) == (0, 1)
        assert condition(scene, "app") == ("False", "RestartFailed")


async def test_restarts_that_hang_in_one_namespace_hold_up_another_for_no_longer_than_one_of_them(
    autojump_clock: MockClock,
) -> None:
    """A webhook that is called for Deployments of one namespace hangs."""
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app")
        theirs = [target_of(f"web-{number_}") for number_ in range(32)]
        for each in theirs:
            scene.user.create(workload("Deployment", text(each, "name"), namespace="other"))
        scene.write("theirs", password="theirs-1")
        spec: Object = {"name": "theirs", "keysMap": keys_map(pw="theirs#password"), "rolloutRestartTargets": [*theirs]}
        scene.define_as_it_is("theirs", spec, namespace="other")
        await scene.settled(CALM)

        scene.faults.always(
            fault.hang, when=lambda request: fault.is_write(request) and "/namespaces/other/d" in request.url.path
        )
        scene.write("theirs", password="theirs-2")
        scene.user.patch(
            definition_path("theirs", namespace="other"), {"metadata": {"annotations": {"changed": "yes"}}}
        )
        await scene.passed(60)
        rotate(scene, "app")
        await scene.passed(5 + 10 + 1)
        assert (restarts(scene), condition(scene, "app")) == (1, UP_TO_DATE)


async def test_no_two_restarts_of_one_workload_are_in_progress(autojump_clock: MockClock) -> None:
    in_progress = Counter[str]()
    most: list[int] = []

    async def slow(request: httpx.Request, send: fault.Send) -> httpx.Response:
        in_progress[request.url.path] += 1
        most.append(max(in_progress.values()))
        await trio.sleep(7)
        in_progress[request.url.path] -= 1
        return await send(request)

    async with running(config=RARELY) as scene:
        deploy(scene, WEB, API)
        await in_sync(scene, "app", "other", targets=(WEB, API))
        scene.faults.always(slow, when=of_workloads)
        for number_ in range(10):
            rotate(scene, "app" if number_ % 2 else "other", value=f"hunter-{number_ + 2}")
            await scene.passed(4)
        await scene.settled()

        assert (max(most), len(most) > 4) == (1, True)
        assert restarted_for(scene) == restarted_for(scene, API)
        assert restarted_for(scene) == {name: revision(scene, name) for name in ("app", "other")}


async def test_what_others_wrote_in_the_annotation_is_replaced(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        nonsense: Object = {"annotations": {RESTARTED_FOR: "once"}}
        scene.user.patch(path_of(WEB), {"spec": {"template": {"metadata": nonsense}}})
        await in_sync(scene, "app")
        rotate(scene, "app")
        await scene.settled(CALM)
        assert restarted_for(scene) == {"app": revision(scene, "app")}


async def test_secrets_that_are_gone_are_dropped_from_the_annotation(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        deploy(scene, WEB)
        await in_sync(scene, "app", "other")
        rotate(scene, "app", "other")
        await scene.settled(CALM)
        scene.delete("other")
        await scene.settled(CALM)
        assert set(restarted_for(scene)) == {"app", "other"}
        rotate(scene, "app", value="hunter-3")
        await scene.settled(CALM)
        assert (restarts(scene), set(restarted_for(scene))) == (2, {"app"})


# The program may die at any request


def update(scene: Scene) -> None:
    rotate(scene, "app", "other")


def replace(scene: Scene) -> None:
    for name in ("app", "other"):
        scene.write(name, password=f"hunter-2-{name}")
        scene.change(name, type="example.org/own")


DEATHS: dict[str, Callable[[Scene], Fault]] = {
    "before the request arrives": lambda scene: fault.kill_before(scene.life),
    "after the request has arrived": lambda scene: fault.kill_after(scene.life),
}
FAILURES: dict[str, Callable[[Scene], Fault]] = {
    "the request is lost": lambda _: fault.lose_request(),
    "the reply is lost": lambda _: fault.lose_reply(),
    "the reply is late": lambda _: fault.late(60),
    "the request arrives twice": lambda _: fault.twice,
    "409": lambda _: fault.answer(409, reason="Conflict"),
    "500": lambda _: fault.answer(500, reason="InternalError"),
}


SLOWLY = ControllerConfig(reconcile_period=600, rollout_restart_delay=15)
"""The delay is longer than a client waits for a reply, so both changes fall into it."""
QUIET = 20.0


async def course(
    happens: Callable[[Scene], None], *, at_: int = 0, mode: Callable[[Scene], Fault] | None = None
) -> tuple[Object, int]:
    """Let two Secrets change, with one request gone wrong. Returns how it ends, and how many requests there were."""
    async with running(config=SLOWLY) as scene:
        deploy(scene, WEB, API)
        scene.write("app", password="hunter-1")
        define(scene, "app", WEB)
        scene.write("other", password="hunter-1")
        define(scene, "other", WEB, API)
        await scene.settled(QUIET)
        before = len(scene.faults.calls)
        if mode is not None:
            scene.faults.at(before + at_, mode(scene))
        happens(scene)
        await scene.settled(QUIET)
        requests = len(scene.faults.calls) - before
        if scene.life.cancel_called:
            await scene.over()
            scene.start()
            await scene.settled(QUIET)
        names = ("app", "other")
        end: Object = {
            "restarts": [restarts(scene), restarts(scene, API)],
            "restarted for": [
                restarted_for(scene) == {name: revision(scene, name) for name in names},
                restarted_for(scene, API) == {"other": revision(scene, "other")},
            ],
            "conditions": [list(condition(scene, name)) for name in names],
            "recorded": [
                text(scene.definition(name), "status", "restartedFor") == revision(scene, name) for name in names
            ],
        }
        return end, requests


ONCE: Object = {
    "restarts": [1, 1],
    "restarted for": [True, True],
    "conditions": [["True", "UpToDate"], ["True", "UpToDate"]],
    "recorded": [True, True],
}


@pytest.mark.parametrize("mode", (DEATHS | FAILURES).values(), ids=DEATHS | FAILURES)
@pytest.mark.parametrize("happens", [update, replace])
async def test_whatever_request_goes_wrong_each_workload_is_restarted_once(
    happens: Callable[[Scene], None], mode: Callable[[Scene], Fault], autojump_clock: MockClock
) -> None:
    end, requests = await course(happens)
    assert end == ONCE
    ends = {number_: (await course(happens, at_=number_, mode=mode))[0] for number_ in range(1, requests + 1)}
    assert ends == dict.fromkeys(range(1, requests + 1), ONCE)
