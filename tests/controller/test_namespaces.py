"""Which namespaces are worked for, in virtual time; and one that can't be had costs no other."""

import httpx
from trio.testing import MockClock

from fake_kubernetes.documents import Object, at
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, definition_path, keys_map, running, secret_path
from tests.doubles import faults as fault

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
WATCH_UP = "secrets_manager_watch_up"
NO_RIGHT = fault.answer(403, reason="Forbidden", message="there is no Role for it")


def in_namespace(name: str) -> fault.Condition:
    def holds(request: httpx.Request) -> bool:
        return f"/namespaces/{name}/" in request.url.path

    return holds


def lists_and_watches(scene: Scene) -> tuple[int, int]:
    """So many collections were listed, and so many watched, each of them counted once."""
    collections = {call.path for call in scene.faults.calls if call.path.endswith(("/secrets", "/secretdefinitions"))}
    return len(collections), len(scene.cluster._watches)


async def test_an_excluded_namespace_is_left_alone(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(exclude_namespaces=frozenset({"other"}))) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        excluded = scene.define("app", namespace="other", pw="app#password")
        await scene.settled()
        scene.user.patch(definition_path("app", namespace="other"), {"spec": {"keysMap": keys_map(k="app#password")}})
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-1"}
        assert scene.secret("app", namespace="other") is None
        assert at(scene.user.get(definition_path("app", namespace="other")), "status") == at(excluded, "status")


async def test_only_the_watched_namespaces_are_read(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(watch_namespaces=("other", "not-yet-there"))) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("app", namespace="other", pw="app#password")
        merges: Object = {"name": "theirs", "creationPolicy": "Merge", "keysMap": keys_map(pw="app#password")}
        scene.define_as_it_is("merges", merges, namespace="other")
        await scene.settled()

        assert scene.values("app") is None
        assert scene.secret("app", namespace="other") is not None
        metadata = [
            scene.sample(WATCH_UP, kind="SecretMetadata", namespace=name) for name in ("other", "not-yet-there")
        ]
        assert metadata == [1, None]
        assert all("/namespaces/" in call.path for call in scene.faults.calls)


async def test_an_excluded_namespace_is_not_touched_in_any_way(autojump_clock: MockClock) -> None:
    """Neither what is there at the start, nor what is changed, deleted or held by the original's finalizer."""
    config = ControllerConfig(exclude_namespaces=frozenset({"other"}))
    async with running(config=config, alive=False) as scene:
        scene.write("app", password="hunter-1")
        path = secret_path("app", namespace="other")
        marks: Object = {"app.kubernetes.io/managed-by": "secrets-manager"}
        metadata: Object = {"name": "app", "namespace": "other", "labels": marks}
        scene.user.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"pw": "dGhlaXJz"}})
        for name in ("app", "more"):
            scene.define(name, namespace="other", pw="app#password", finalizers=(FINALIZER,))
        scene.start()
        await scene.settled()
        before = scene.user.get(path)

        scene.user.delete(definition_path("app", namespace="other"))
        scene.user.patch(definition_path("more", namespace="other"), {"metadata": {"annotations": {"a": "b"}}})
        await scene.passed(600)
        scene.user.patch(definition_path("app", namespace="other"), {"metadata": {"finalizers": None}})
        await scene.passed(600)

        assert scene.user.get(path) == before
        assert scene.writes() == []
        assert scene.vault.count("GET", "secret/data/app") == 0
        assert [line for line in scene.log.lines if "other" in line and "HTTP" not in line] == []


async def test_edits_of_a_secret_with_the_label_of_a_definition_in_another_namespace_wake_no_one(
    autojump_clock: MockClock,
) -> None:
    """What copies Secrets to other namespaces copies their labels."""

    def reconciles() -> float:
        return scene.sample_of("secrets_manager_controller_reconcile_duration_seconds", "_count")

    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", namespace="other", pw="app#password")
        await scene.settled()
        before = reconciles()
        scene.foreign_secret("copied", labels=at(scene.secret("app", namespace="other"), "metadata", "labels"))
        scene.edit("copied", {"metadata": {"annotations": {"note": "edited"}}})
        await scene.settled()

        assert reconciles() == before


async def test_all_namespaces_take_one_list_and_one_watch_of_each_kind(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await scene.settled()
        assert lists_and_watches(scene) == (2, 2)


async def test_each_namespace_that_is_named_takes_its_own(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(watch_namespaces=("shop", "other", "third"))) as scene:
        await scene.settled()
        assert lists_and_watches(scene) == (6, 6)


async def test_a_namespace_without_its_role_is_named_and_costs_no_other_and_is_picked_up_when_it_has_one(
    autojump_clock: MockClock,
) -> None:
    async with running(config=ControllerConfig(watch_namespaces=("shop", "other")), alive=False) as scene:
        scene.faults.always(NO_RIGHT, when=in_namespace("other"))
        scene.start()
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("app", namespace="other", pw="app#password")
        await scene.passed(600)

        refusal = "GET /api/v1/namespaces/other/secrets: 403 Forbidden: there is no Role for it"
        assert scene.values("app") == {"pw": "hunter-1"}
        assert scene.unsynced == []
        assert scene.unwatched == [f"can't watch secrets in other: {refusal}"]
        assert (scene.watch_up("shop"), scene.watch_up("other")) == ((1, 1), (0, 0))
        warnings = [line for line in scene.log.lines if line.startswith("WARNING")]
        assert len(warnings) == 1
        assert refusal in warnings[0]

        scene.faults.heal()
        await scene.passed(35)
        assert scene.secret("app", namespace="other") is not None
        assert scene.unwatched == []
        assert scene.watch_up("other") == (1, 1)


async def test_it_is_not_ready_while_the_first_lists_are_under_way_or_no_namespace_can_be_watched(
    autojump_clock: MockClock,
) -> None:
    async with running(config=ControllerConfig(watch_namespaces=("shop", "other")), alive=False) as scene:
        scene.faults.next(fault.late(5), when=in_namespace("shop"))
        scene.faults.always(NO_RIGHT)
        scene.start()
        await scene.passed(4)
        assert scene.unsynced == ["the first list of shop is in progress"]

        await scene.passed(10)
        assert scene.unsynced == ["no namespace can be watched"]
        assert [line.partition(": ")[0] for line in scene.unwatched] == [
            "can't watch secrets in shop",
            "can't watch secretdefinitions in shop",
            "can't watch secrets in other",
        ]

        scene.faults.heal()
        await scene.passed(35)
        assert (scene.unsynced, scene.unwatched) == ([], [])


async def test_a_cluster_wide_program_without_its_cluster_role_is_not_ready(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        scene.faults.always(NO_RIGHT)
        scene.start()
        await scene.passed(600)
        assert scene.unsynced == ["no namespace can be watched"]
        assert scene.watch_up("") == (0, 0)

        scene.faults.heal()
        await scene.passed(35)
        assert (scene.unsynced, scene.watch_up("")) == ([], (1, 1))


async def test_an_outage_after_the_first_lists_is_reported_and_leaves_it_ready(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await scene.settled()
        scene.faults.always(fault.lose_request())
        scene.cluster.end_watches()
        await scene.passed(60)
        assert scene.unsynced == []
        assert [line.partition(": ")[0] for line in scene.unwatched] == [
            "can't watch secrets in all namespaces",
            "can't watch secretdefinitions in all namespaces",
        ]
        assert scene.watch_up("") == (0, 0)

        scene.faults.heal()
        await scene.passed(35)
        assert (scene.unwatched, scene.watch_up("")) == ([], (1, 1))


async def test_a_right_that_is_taken_away_while_it_runs_deletes_nothing_and_costs_no_other(
    autojump_clock: MockClock,
) -> None:
    async with running(config=ControllerConfig(watch_namespaces=("shop", "other"), reconcile_period=60)) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("app", namespace="other", pw="app#password")
        await scene.settled()
        before = scene.secret("app", namespace="other")

        scene.faults.always(NO_RIGHT, when=in_namespace("other"))
        scene.cluster.end_watches()
        scene.write("app", password="hunter-2")
        await scene.passed(600)
        assert scene.values("app") == {"pw": "hunter-2"}
        assert scene.secret("app", namespace="other") == before

        scene.faults.heal()
        await scene.passed(65)
        assert scene.secret("app", namespace="other") != before


async def test_a_namespace_that_does_not_exist_yet_is_worked_for_as_soon_as_it_does(autojump_clock: MockClock) -> None:
    """An API server returns an empty list for it, and a watch without events, as for an empty namespace."""
    async with running(config=ControllerConfig(watch_namespaces=("new",))) as scene:
        scene.write("app", password="hunter-1")
        await scene.passed(600)
        scene.user.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
        scene.define("app", namespace="new", pw="app#password")
        await scene.passed(1)
        assert scene.secret("app", namespace="new") is not None
