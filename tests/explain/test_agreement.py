"""What `explain` and `plan` say before the controller acts is what the controller then does.

In every scenario of the crash matrix, on the in-memory Kubernetes and the in-memory Vault, in virtual time.
"""

import base64
from typing import NamedTuple

import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Object, at, mapping, text
from fake_kubernetes.storage import Key
from secrets_manager.explain.explanation import Action, Change, Explanation
from tests.controller.component import NAMESPACE, Scene, definition_path, keys_map, running
from tests.controller.test_crashes import (
    CALM,
    RARELY,
    SCENARIOS,
    Scenario,
    create,
    disown,
    merged_in_sync,
    nothing,
    retype,
    second,
    update,
    whole,
)
from tests.explain.running import ExplainRunner, manifest_of
from tests.workloads import workload

WITH_EACH_WRITE = {f"secrets-manager.tuenti.io/{name}" for name in ("lastUpdateTime", "name", "rollout-restart")}
WITH_RESTARTS = 8.0
"""Seconds: longer than the delay of restarts."""
REQUESTS = {
    Action.CREATE: ("POST",),
    Action.CHANGE: ("PATCH",),
    Action.REPLACE: ("DELETE", "POST"),
    Action.DELETE: ("DELETE",),
    Action.NONE: (),
}


WEB: Object = {"kind": "Deployment", "name": "web"}


def restarting_in_sync(scene: Scene) -> None:
    scene.user.create(workload(namespace=NAMESPACE))
    scene.write("app", password="hunter-1", user="user-1")
    keys = keys_map(password="app#password", user="app#user")
    scene.define_as_it_is("app", {"name": "app", "keysMap": keys, "rolloutRestartTargets": [WEB]})


def relabel(scene: Scene) -> None:
    scene.change("app", metadata={"labels": {"team": "shop"}})


def restarting(scene: Scene) -> None:
    restarting_in_sync(scene)


def drop(scene: Scene) -> None:
    scene.change("app", dataFrom=[{"path": "secret/data/app", "exclude": ["user"]}])


def own_the_same(scene: Scene) -> None:
    scene.change("app", creationPolicy="Owner")


def own_the_same_and_adopt(scene: Scene) -> None:
    scene.annotate("app", adopt="true")
    own_the_same(scene)


def steal(scene: Scene) -> None:
    scene.edit("app", {"data": {"password": "c3RvbGVu"}})


def two(scene: Scene) -> None:
    create(scene)
    scene.define("other", password="app#password")


def swap(scene: Scene) -> None:
    scene.change("app", name="other")
    scene.change("other", name="app")


def disown_unread(scene: Scene) -> None:
    scene.vault.delete_kv("secret/data/app")
    disown(scene)


def disown_broken(scene: Scene) -> None:
    scene.change("app", creationPolicy="Orphan", dataFrom=[{"path": "auth/token/lookup-self"}])


MORE = {
    "swap": Scenario(two, swap),
    "disown unread": Scenario(whole, disown_unread),
    "disown broken": Scenario(whole, disown_broken),
    "merge less": Scenario(merged_in_sync, drop),
    "merge what others have taken": Scenario(merged_in_sync, steal),
    "own what others have": Scenario(second, own_the_same),
    "adopt in place of merge": Scenario(second, own_the_same_and_adopt),
    "restart": Scenario(restarting_in_sync, update),
    "restart of replaced": Scenario(restarting_in_sync, retype),
    "restart for none": Scenario(restarting_in_sync, relabel),
    "restart at first": Scenario(nothing, restarting),
}
UNTOLD = {"merge no more"}
"""Its definition is gone, so there is nothing to explain."""
ALL = {name: scenario for name, scenario in SCENARIOS.items() if name not in UNTOLD} | MORE


Changes = dict[str, tuple[Change, int | None]]
"""Of a Secret, by key."""


class Course(NamedTuple):
    """What is done: requests and changes of keys and fields of Secrets, restarts; or the problem."""

    requests: list[str]
    keys: dict[str, Changes]
    fields: set[str]
    restarts: set[str]
    problem: tuple[str, str] | None


def foretold(explanation: Explanation) -> Course:
    own = [f"{method} {explanation.secret}" for method in REQUESTS[explanation.action]]
    problem = explanation.problem
    keys: dict[str, Changes] = {
        explanation.secret: {
            key.name: (key.change, key.length)
            for key in explanation.keys
            if key.change not in (Change.SAME, Change.UNKNOWN)
        }
    }
    for release in explanation.releases:
        keys.setdefault(release.secret, {}).update(dict.fromkeys(release.keys, (Change.REMOVED, None)))
    return Course(
        [
            *own,
            *(f"DELETE {name}" for name in explanation.deletes),
            *(f"PATCH {release.secret}" for release in explanation.releases),
        ],
        {name: found for name, found in keys.items() if found},
        set(explanation.fields),
        set(explanation.restarts),
        None if problem is None else (problem.reason, problem.message),
    )


async def followed(scene: Scene, secret: str) -> Course:
    """Let the controller act."""
    all_before, writes = data_of_all(scene), len(scene.door.writes)
    before = scene.secret(secret)
    scene.start()
    await scene.settled(WITH_RESTARTS)
    after, all_after = scene.secret(secret), data_of_all(scene)
    made = [each for each in scene.door.writes[writes:] if each.kind == "secrets"]
    ready = scene.ready("app") if scene.user.find(definition_path("app")) else None
    problem = None if text(ready, "status") != "False" else (text(ready, "reason"), text(ready, "message"))
    return Course(
        [f"{each.method} {each.change.key.name}" for each in made],
        {
            name: changes
            for name in {secret, *all_after}
            if (changes := changed_keys(all_before.get(name, {}), all_after.get(name, {})))
        },
        set() if before is None or after is None else changed_fields(before, after),
        {
            f"Deployment {each.change.key.name}"
            for each in scene.door.writes[writes:]
            if each.kind == "deployments.apps"
        },
        problem,
    )


def data_of_all(scene: Scene) -> dict[str, Object]:
    secrets = scene.user.list(f"/api/v1/namespaces/{NAMESPACE}/secrets")
    return {text(each, "metadata", "name"): mapping(each, "data") for each in secrets}


def changed_keys(before: Object, after: Object) -> Changes:
    changes: Changes = {}
    for name in before.keys() | after.keys():
        if name not in after:
            changes[name] = (Change.REMOVED, None)
        elif before.get(name) != after[name]:
            length = len(base64.b64decode(str(after[name])))
            changes[name] = (Change.CHANGED if name in before else Change.ADDED, length)
    return changes


def changed_fields(before: Object, after: Object) -> set[str]:
    names = {"type", "immutable", "metadata.ownerReferences"}
    fields = {name for name in names if at(before, *name.split(".")) != at(after, *name.split("."))}
    for marks in ("labels", "annotations"):
        old, new = mapping(before, "metadata", marks), mapping(after, "metadata", marks)
        differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        fields |= {f"metadata.{marks}[{name}]" for name in differing - WITH_EACH_WRITE}
    return fields


async def given(scene: Scene, scenario: Scenario) -> None:
    scenario.given(scene)
    if scenario.given is not nothing:
        scene.start()
        await scene.settled(CALM)
        await scene.stop()


@pytest.mark.parametrize("scenario", ALL.values(), ids=ALL)
async def test_explain_predicts_what_the_controller_does(scenario: Scenario, autojump_clock: MockClock) -> None:
    async with running(alive=False, config=RARELY) as scene:
        await given(scene, scenario)
        scenario.happens(scene)

        (explanation,) = await ExplainRunner(scene).explain("app")

        assert foretold(explanation) == await followed(scene, explanation.secret)


@pytest.mark.parametrize("scenario", ALL.values(), ids=ALL)
async def test_explain_predicts_nothing_once_the_controller_has_acted(
    scenario: Scenario, autojump_clock: MockClock
) -> None:
    async with running(alive=False, config=RARELY) as scene:
        await given(scene, scenario)
        scenario.happens(scene)
        scene.start()
        await scene.settled(CALM)

        explanations = await ExplainRunner(scene).explain()

        assert [each.action for each in explanations] == [Action.NONE] * len(explanations)
        assert not any(each.changes for each in explanations)


APPLIED = {name: scenario for name, scenario in ALL.items() if name != "delete"}


@pytest.mark.parametrize("scenario", APPLIED.values(), ids=APPLIED)
async def test_plan_predicts_what_the_controller_does_once_the_definition_is_applied(
    scenario: Scenario, autojump_clock: MockClock
) -> None:
    async with running(alive=False, config=RARELY) as scene:
        await given(scene, scenario)
        before = scene.user.find(definition_path("app"))
        scenario.happens(scene)
        after = scene.definition("app")

        restore(scene, before)
        (explanation,) = await ExplainRunner(scene).plan(manifest_of(after))
        restore(scene, after)

        assert foretold(explanation) == await followed(scene, explanation.secret)


def restore(scene: Scene, definition: Object | None) -> None:
    """Have the definition as it was."""
    storage = scene.cluster.storage
    (key,) = [key for key in storage.objects(DEFINITIONS) if key.name == "app"] or [
        Key(DEFINITIONS, "shop", "app"),
    ]
    if definition is not None:
        storage.put(key, definition)
    else:
        storage.remove(key)


DEFINITIONS = "secretdefinitions.secrets-manager.tuenti.io"
