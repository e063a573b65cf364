"""What `plan` tells of several definitions, on the doubles in virtual time."""

import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Json, Object, mapping, text
from secrets_manager.explain.explanation import Action, Change, Explanation
from tests.controller.component import keys_map, running
from tests.controller.test_crashes import CALM
from tests.explain.running import ExplainRunner

ADOPT: Object = {"secrets-manager.tuenti.io/adopt": "true"}


def manifest(name: str, secret: str, *, annotations: Object | None = None, **spec: Json) -> Object:
    whole: Object = {"name": secret, "keysMap": keys_map(password="app#password")}
    return {
        "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
        "kind": "SecretDefinition",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": whole | spec,
    }


async def planned(*manifests: Object) -> list[Explanation]:
    async with running(alive=False) as scene:
        scene.write("app", password="hunter-1")
        return await ExplainRunner(scene).plan(*manifests)


async def test_definitions_without_a_namespace_get_that_of_the_context(autojump_clock: MockClock) -> None:
    (plan,) = await planned(manifest("one", "secret"))

    assert (plan.namespace, plan.action) == ("shop", Action.CREATE)


@pytest.mark.parametrize("policy", ["Owner", "Orphan"])
async def test_of_two_definitions_that_would_create_one_secret_the_second_gets_the_controllers_problem(
    policy: str, autojump_clock: MockClock
) -> None:
    manifests = [manifest("one", "same", creationPolicy=policy), manifest("two", "same", creationPolicy=policy)]
    async with running(alive=False) as scene:
        scene.write("app", password="hunter-1")
        first, second = await ExplainRunner(scene).plan(*manifests)
        for each in manifests:
            scene.define_as_it_is(text(each, "metadata", "name"), mapping(each, "spec"))
        scene.start()
        await scene.settled(CALM)

        assert (first.action, first.problem) == (Action.CREATE, None)
        assert (second.action, [key.change for key in second.keys]) == (Action.NONE, [Change.UNKNOWN])
        assert second.problem is not None
        assert (second.problem.reason, second.problem.message) == (scene.reason("two"), scene.message("two"))


async def test_the_second_may_not_take_over_what_the_first_leaves_without_an_owner(autojump_clock: MockClock) -> None:
    plans = await planned(manifest("one", "same", creationPolicy="Orphan"), manifest("two", "same", annotations=ADOPT))

    assert [each.problem and each.problem.reason for each in plans] == [None, "SecretNotOwned"]


@pytest.mark.parametrize("name", ["same", "renamed"])
async def test_an_orphan_in_the_cluster_is_adopted_once_its_definition_has_another_name(
    name: str, autojump_clock: MockClock
) -> None:
    """By the manifests where there is one, else by the cluster."""
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define_as_it_is("one", {**mapping(manifest("one", "same", creationPolicy="Orphan"), "spec")})
        await scene.settled(CALM)
        second = manifest("two", "same", annotations=ADOPT)

        (alone,) = await ExplainRunner(scene).plan(second)
        _, beside = await ExplainRunner(scene).plan(manifest("one", name, creationPolicy="Orphan"), second)

        assert alone.problem is not None
        assert "is owned by SecretDefinition one: choose another spec.name" in alone.problem.message
        assert (beside.problem is None) == (name == "renamed")


async def test_the_same_names_in_other_namespaces_are_no_rivals(autojump_clock: MockClock) -> None:
    other = manifest("one", "same")
    metadata: Object = {"name": "one", "namespace": "other"}

    plans = await planned(manifest("one", "same"), {**other, "metadata": metadata})

    assert [(each.namespace, each.action) for each in plans] == [("shop", Action.CREATE), ("other", Action.CREATE)]
