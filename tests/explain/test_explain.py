"""What `explain` tells of definitions in the cluster, on the doubles in virtual time."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Json, Object, at
from secrets_manager.config import ControllerConfig
from secrets_manager.explain.explanation import Action, Change, Explanation, Key, Owner
from secrets_manager.explain.subjects import NotInstalled
from secrets_manager.explain.text import explained
from secrets_manager.kube.pager import PAGE_SIZE
from tests.controller.component import Scene, keys_map, running, secret_path
from tests.controller.test_crashes import CALM, FINALIZER, in_sync
from tests.doubles import faults as fault
from tests.explain.running import ExplainRunner

HALVINGS = PAGE_SIZE.bit_length() - 1
"""How often a page can be halved until it has one object."""
OWNERS = "ownerReferences"
SECRETS = "/api/v1/namespaces/shop/secrets"


@asynccontextmanager
async def synced() -> AsyncGenerator[tuple[Scene, ExplainRunner]]:
    """The definition app with the keys password and user is in sync, and the controller is away."""
    async with running() as scene:
        in_sync(scene)
        await scene.settled(CALM)
        await scene.stop()
        yield scene, ExplainRunner(scene)


def of_secrets(request: httpx.Request) -> bool:
    return request.url.path.startswith(SECRETS)


async def explain(runner: ExplainRunner, name: str = "app") -> Explanation:
    (explanation,) = await runner.explain(name)
    return explanation


def key(name: str, change: Change, length: int | None = None, before: int | None = None) -> Key:
    return Key(name=name, change=change, length=length, before=before)


async def test_a_definition_in_sync_is_described_from_its_sources_to_its_status(autojump_clock: MockClock) -> None:
    async with synced() as (_, runner):
        explanation = await explain(runner)

    (source,) = explanation.sources
    assert (source.path, source.version, source.problem) == ("secret/data/app", 1, "")
    assert source.changed
    assert explanation.action is Action.NONE
    assert explanation.keys == (key("password", Change.SAME, 8, 8), key("user", Change.SAME, 6, 6))
    assert explanation.owner == Owner(name="SecretDefinition app", claim="owned")
    assert explanation.identity == "Vault at http://vault.test, as the AppRole of auth/approle"
    assert (explanation.period, explanation.period_from) == (5.0, "reconcile-period")
    assert explanation.reported is not None
    assert (explanation.reported.ready, explanation.reported.reason, explanation.reported.current) == (
        "True",
        "Synced",
        True,
    )
    assert (explanation.problem, explanation.notes) == (None, ())


async def test_keys_are_shown_by_name_and_length(autojump_clock: MockClock) -> None:
    async with synced() as (scene, runner):
        scene.write("app", password="longer-than-before", token="new")
        scene.define("more", secret="app2", token="app#token")
        scene.change("app", keysMap={"user": None, "token": {"path": "secret/data/app", "key": "token"}})

        explanation = await explain(runner)

    assert explanation.action is Action.CHANGE
    assert explanation.keys == (
        key("password", Change.CHANGED, 18, 8),
        key("token", Change.ADDED, 3),
        key("user", Change.REMOVED, None, 6),
    )


async def test_the_interval_of_the_definition_wins_and_its_setting_is_named(autojump_clock: MockClock) -> None:
    async with synced() as (scene, runner):
        scene.change("app", refreshInterval="1m30s")
        explanation = await explain(runner)

    assert (explanation.period, explanation.period_from) == (90.0, "spec.refreshInterval")
    assert explanation.reported is not None
    assert not explanation.reported.current


async def test_each_unresolved_key_is_reported_and_the_others_are_shown(autojump_clock: MockClock) -> None:
    async with synced() as (scene, runner):
        scene.change("app", keysMap={"a": {"path": "secret/data/app", "key": "a"}, "b": {"path": "x", "key": "b"}})
        explanation = await explain(runner)

    assert explanation.action is Action.NONE
    assert explanation.problem is not None
    assert explanation.problem.message.endswith("(and 1 more of its keys)")
    assert [each.message.partition(":")[0] for each in explanation.problems] == ["key a", "key b"]
    assert [each.name for each in explanation.keys] == ["password", "user"]
    assert [(each.path, bool(each.problem)) for each in explanation.sources] == [
        ("secret/data/app", False),
        ("x", True),
    ]


async def test_a_store_that_is_down_hides_nothing_else(autojump_clock: MockClock) -> None:
    async with synced() as (scene, runner):
        with scene.vault.sealed():
            explanation = await explain(runner)

    assert explanation.action is Action.NONE
    assert explanation.problem is not None
    assert explanation.problem.reason == "BackendUnavailable"
    assert explanation.owner == Owner(name="SecretDefinition app", claim="owned")
    assert explanation.reported is not None


async def test_secrets_that_may_not_be_read_are_reported_with_the_missing_right(autojump_clock: MockClock) -> None:
    async with synced() as (_, runner):
        runner.transport.always(fault.answer(403, reason="Forbidden", message="no"), when=of_secrets)
        explanation = await explain(runner)

    assert explanation.action is Action.UNKNOWN
    assert explanation.problem is not None
    assert explanation.problem.reason == "SecretUnreadable"
    assert explanation.problem.message == (
        "Secret app can't be read: GET /api/v1/namespaces/shop/secrets/app: 403 Forbidden: no: "
        "let this user get and list Secrets in namespace shop, or use the controller's kubeconfig"
    )
    assert explanation.keys == (key("password", Change.UNKNOWN, 8), key("user", Change.UNKNOWN, 6))
    assert explanation.sources[0].version == 1


async def test_without_the_right_to_list_the_secret_is_compared_and_what_is_unknown_is_named(
    autojump_clock: MockClock,
) -> None:
    async with synced() as (scene, runner):
        scene.write("app", password="hunter-2", user="user-1")
        scene.change("app", name="renamed")
        runner.transport.always(fault.answer(403, reason="Forbidden"), when=fault.on_path(ends="/secrets"))
        explanation = await explain(runner)

    assert (explanation.action, explanation.deletes, explanation.problem) == (Action.CREATE, ("app",), None)
    (note,) = explanation.notes
    assert note.startswith("Secrets of this definition under earlier names are not shown: Secrets can't be read: ")


async def test_all_definitions_of_a_namespace_are_explained_with_one_list_of_secrets(autojump_clock: MockClock) -> None:
    async with synced() as (scene, runner):
        scene.define("other", password="app#password")
        explanations = await runner.explain()

    assert [(each.name, each.action) for each in explanations] == [("app", Action.NONE), ("other", Action.CREATE)]
    assert [call.path for call in runner.transport.calls if call.path.startswith(SECRETS)] == [
        SECRETS,
        f"{SECRETS}/other",
    ]


async def test_a_definition_that_does_not_exist_is_a_problem_of_its_own(autojump_clock: MockClock) -> None:
    async with synced() as (_, runner):
        missing, found = await runner.explain("nope", "app")

    assert missing.problem is not None
    assert missing.problem.message == (
        "there is no SecretDefinition shop/nope: correct the name, or the context of the kubeconfig"
    )
    assert found.problem is None
    assert explained([missing]).startswith("shop/nope: can't be explained\n  Problem   DefinitionNotFound: there is no")


async def test_a_crd_that_is_not_installed_is_told_from_a_missing_definition(autojump_clock: MockClock) -> None:
    async with running(crd=None, alive=False) as scene:
        runner = ExplainRunner(scene)
        manifest: Object = {
            "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
            "kind": "SecretDefinition",
            "metadata": {"name": "app"},
            "spec": {"name": "app", "keysMap": keys_map(password="app#password")},
        }

        for explaining in (runner.explain("app"), runner.explain(), runner.plan(manifest)):
            with pytest.RaisesGroup(
                pytest.RaisesExc(NotInstalled, match="the CRD of SecretDefinition is not installed: "),
                flatten_subgroups=True,
                allow_unwrapped=True,
            ):
                await explaining


async def test_a_watch_without_the_crd_asks_whether_it_is_installed(autojump_clock: MockClock) -> None:
    async with running(crd=None) as scene:
        await scene.passed(10)

        assert any("is its CRD installed?" in line for line in scene.unwatched)


async def test_definitions_that_may_not_be_read_are_reported_with_the_missing_right(
    autojump_clock: MockClock,
) -> None:
    async with synced() as (_, runner):
        runner.transport.always(fault.answer(403, reason="Forbidden"))
        explanation = await explain(runner)

    assert explanation.problem is not None
    assert explanation.problem.reason == "DefinitionUnreadable"
    assert explanation.problem.message.endswith(": let this user get secretdefinitions in namespace shop")


async def test_a_copy_that_others_made_is_reported(autojump_clock: MockClock) -> None:
    async with synced() as (scene, runner):
        secret = scene.secret("app")
        assert secret is not None
        labels, annotations, owners = (at(secret, "metadata", name) for name in ("labels", "annotations", OWNERS))
        scene.foreign_secret("copy", labels=labels, annotations=annotations, ownerReferences=owners)
        explanation = await explain(runner)

    assert explanation.notes == ("Secret copy is a copy that others made: it is left alone",)
    assert explanation.deletes == ()


@pytest.mark.parametrize(
    ("policy", "note"),
    [
        ("Owner", "the definition is being deleted: its Secret is deleted by Kubernetes, if this definition owns it"),
        ("Orphan", "the definition is being deleted: its Secret stays"),
    ],
)
async def test_a_definition_that_is_being_deleted_is_not_read(
    policy: str, note: str, autojump_clock: MockClock
) -> None:
    async with running(alive=False) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", finalizers=("example.com/theirs",), password="app#password")
        scene.change("app", creationPolicy=policy)
        scene.delete("app")
        explanation = await explain(ExplainRunner(scene))

    assert [each.path for each in scene.vault.requests if each.path.startswith("secret/")] == []
    assert (explanation.action, explanation.notes) == (Action.NONE, (note,))
    assert explanation.sources == ()


def deleted_with_the_finalizer_of_the_original(scene: Scene) -> None:
    scene.foreign_secret("app", data={"token": "theirs"})
    scene.define("app", finalizers=(FINALIZER,), password="app#password")
    scene.delete("app")


async def test_a_secret_of_others_survives_the_finalizer_of_the_original(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        deleted_with_the_finalizer_of_the_original(scene)
        explanation = await explain(ExplainRunner(scene))

    assert (explanation.action, explanation.keys) == (Action.NONE, ())
    assert explanation.owner == Owner(name="none", claim="none")


async def test_whether_a_secret_goes_with_its_definition_is_unknown_without_the_right_to_read_it(
    autojump_clock: MockClock,
) -> None:
    async with running(alive=False) as scene:
        deleted_with_the_finalizer_of_the_original(scene)
        runner = ExplainRunner(scene)
        runner.transport.always(fault.answer(403, reason="Forbidden"), when=of_secrets)
        explanation = await explain(runner)

    assert explanation.action is Action.UNKNOWN
    assert explanation.problem is not None
    assert explanation.problem.reason == "SecretUnreadable"


@pytest.mark.parametrize(
    "config",
    [ControllerConfig(watch_namespaces=("other",)), ControllerConfig(exclude_namespaces=frozenset({"shop"}))],
    ids=["not watched", "excluded"],
)
async def test_a_namespace_that_the_flags_leave_alone_is_reported(
    config: ControllerConfig, autojump_clock: MockClock
) -> None:
    async with synced() as (scene, _):
        explanation = await explain(ExplainRunner(scene, config))

    assert explanation.notes == ("a controller with these flags does not watch namespace shop",)


async def test_paths_that_are_not_allowed_are_not_read(autojump_clock: MockClock) -> None:
    async with synced() as (scene, _):
        explanation = await explain(
            ExplainRunner(scene, ControllerConfig(allowed_paths=("secret/data/{namespace}/*",)))
        )

    assert explanation.problem is not None
    assert explanation.problem.reason == "PathNotAllowed"
    assert explanation.sources == ()


async def test_workloads_that_could_not_be_restarted_are_reported(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        targets: Json = [{"kind": "Deployment", "name": "web"}]
        scene.define_as_it_is(
            "app", {"name": "app", "keysMap": keys_map(password="app#password"), "rolloutRestartTargets": targets}
        )
        await scene.settled(CALM)
        scene.write("app", password="hunter-2")
        await scene.settled()
        await scene.stop()
        explanation = await explain(ExplainRunner(scene))

    (note,) = explanation.notes
    assert note.startswith("workloads wait for a restart: TargetNotFound: Deployment web does not exist: ")


async def test_a_definition_without_a_status_says_so(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", password="app#password")
        explanation = await explain(ExplainRunner(scene))

    assert explanation.reported is None
    assert "Reported  nothing yet: does a controller watch this namespace" in explained([explanation])


async def test_secrets_are_listed_one_by_one_where_they_are_large(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        scene.define("other", password="app#password")
        await scene.settled(CALM)
        await scene.stop()
        runner = ExplainRunner(scene)
        too_large = fault.rubbish(b" " * 17 * 1024 * 1024)
        runner.transport.next(too_large, when=fault.on_path(ends="/secrets"), times=HALVINGS)
        explanations = await runner.explain()

    assert [(each.action, each.notes) for each in explanations] == [(Action.NONE, ())] * 2
    lists = [call for call in runner.transport.calls if call.path == SECRETS]
    assert len(lists) == HALVINGS + 2
    assert not any(call.path.startswith(f"{SECRETS}/") for call in runner.transport.calls), "all are in the lists"


async def test_keys_that_are_merged_into_a_secret_of_others(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        scene.write("app", password="canary-1")
        spec: Object = {"name": "their", "creationPolicy": "Merge", "keysMap": keys_map(password="app#password")}
        scene.define_as_it_is("app", spec, finalizers=["example.org/hold"])
        runner = ExplainRunner(scene)
        missing = await explain(runner)
        scene.foreign_secret("their", data={"token": "theirs"})
        added = await explain(runner)
        scene.edit("their", {"data": {"password": base64.b64encode(b"canary-1").decode()}})
        same = await explain(runner)
        scene.delete("app")
        deleted = await explain(runner)

    assert missing.problem is not None
    assert (missing.action, missing.problem.reason) == (Action.NONE, "SecretRejected")
    assert (added.action, added.keys) == (Action.CHANGE, (key("password", Change.ADDED, 8),))
    assert (same.action, same.keys, same.notes) == (Action.NONE, (key("password", Change.SAME, 8, 8),), ())
    assert deleted.notes == ("the definition is being deleted: its keys leave Secret their",)


async def test_keys_that_leave_a_secret_of_others_are_shown_with_its_name(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="canary-1", user="canary-user")
        keys = keys_map(password="app#password", user="app#user")
        scene.foreign_secret("their", data={"token": "theirs"})
        scene.define_as_it_is("app", {"name": "their", "creationPolicy": "Merge", "keysMap": keys})
        await scene.settled(CALM)
        scene.user.apply_keys(secret_path("their"), {"user": base64.b64encode(b"canary-user").decode()}, by="helm")
        await scene.stop()
        scene.change("app", name="own", creationPolicy="Owner")
        explanation = await explain(ExplainRunner(scene))

    assert [(each.secret, each.keys) for each in explanation.releases] == [("their", ("password",))]
    assert explanation.changes
    assert "Leaves    - password of Secret their, which they were merged into" in explained([explanation])
