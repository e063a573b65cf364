"""What the controller asks of the secret store, and what it does not, between an in-memory Kubernetes and Vault."""

from collections import Counter

import pytest
from trio.testing import MockClock

from secrets_manager.config import ControllerConfig
from tests.controller.component import NAMESPACE, READ_ONLY, RECOMMENDED, Scene, running

NAMES = [f"app-{number}" for number in range(8)]


def many(scene: Scene) -> None:
    for name in NAMES:
        scene.write(f"shop/{name}", password=f"hunter-{name}")
        scene.define(name, pw=f"shop/{name}#password")


def asked(scene: Scene, since: int) -> set[str]:
    """The distinct paths that Vault was asked for."""
    return {request.path for request in scene.vault.requests[since:] if request.path.startswith("secret/")}


async def test_at_rest_one_listing_takes_the_place_of_all_reads(autojump_clock: MockClock) -> None:
    async with running() as scene:
        many(scene)
        await scene.settled()
        since, calls = len(scene.vault.requests), len(scene.faults.calls)
        await scene.passed(60)

        listings = [each for each in scene.vault.requests[since:] if each.path == "secret/detailed-metadata/shop/"]
        assert asked(scene, since) == {"secret/detailed-metadata/shop/"}
        assert len(listings) == 60
        assert len(scene.faults.calls) == calls


async def test_change_arrives_within_little_more_than_a_second(autojump_clock: MockClock) -> None:
    async with running() as scene:
        many(scene)
        await scene.settled()
        scene.write("shop/app-3", password="hunter-new")
        await scene.passed(1.1)

        assert scene.values("app-3") == {"pw": "hunter-new"}


async def test_deleted_secret_is_reported_and_its_values_stay(autojump_clock: MockClock) -> None:
    async with running() as scene:
        many(scene)
        await scene.settled()
        scene.vault.delete_kv("secret/data/shop/app-3")
        await scene.passed(2)

        assert (scene.reason("app-3"), scene.values("app-3")) == ("SourceNotFound", {"pw": "hunter-app-3"})

        scene.write("shop/app-3", password="hunter-back")
        await scene.passed(2)
        assert (scene.reason("app-3"), scene.values("app-3")) == ("Synced", {"pw": "hunter-back"})


@pytest.mark.parametrize(
    ("readable", "lists"), [(READ_ONLY, True), (RECOMMENDED, False)], ids=["right to list is missing", "no OpenBao"]
)
async def test_where_nothing_can_be_listed_every_path_is_read_once_a_period(
    *, readable: tuple[str, ...], lists: bool, autojump_clock: MockClock
) -> None:
    async with running(readable=readable) as scene:
        scene.vault.lists = lists
        many(scene)
        await scene.settled()
        since = len(scene.vault.requests)
        await scene.passed(60)

        read = [request.path for request in scene.vault.requests[since:] if request.path.startswith("secret/data/")]
        assert sorted(read) == sorted(f"secret/data/shop/{name}" for name in NAMES for _ in range(12))


async def test_path_that_is_not_allowed_is_never_asked_for(autojump_clock: MockClock) -> None:
    config = ControllerConfig(allowed_paths=("secret/data/{namespace}/*",))
    async with running(config=config) as scene:
        for folder in (NAMESPACE, "other"):
            scene.write(f"{folder}/app", password=f"hunter-{folder}")
        scene.define("own", pw=f"{NAMESPACE}/app#password")
        scene.define("foreign", pw="other/app#password", more=f"{NAMESPACE}/app#password")
        await scene.settled()

        assert scene.values("own") == {"pw": "hunter-shop"}
        assert scene.secret("foreign") is None
        assert (scene.reason("foreign"), scene.message("foreign")) == (
            "PathNotAllowed",
            (
                "key pw: path secret/data/other/app is not allowed to namespace shop: "
                "use one of secret/data/{namespace}/*"
            ),
        )
        assert asked(scene, 0) == {"secret/data/shop/app"}


async def test_definition_that_turns_to_a_path_that_is_not_allowed_keeps_its_secret(autojump_clock: MockClock) -> None:
    config = ControllerConfig(allowed_paths=("secret/data/{namespace}/*",))
    async with running(config=config) as scene:
        scene.write("shop/app", password="hunter-shop")
        scene.define("app", pw="shop/app#password")
        await scene.settled()
        scene.change("app", keysMap={"pw": {"path": "secret/data/other/app", "key": "password"}})
        await scene.settled()

        assert (scene.reason("app"), scene.values("app")) == ("PathNotAllowed", {"pw": "hunter-shop"})
        assert asked(scene, 0) == {"secret/data/shop/app"}


async def test_versions_of_one_path_may_be_mixed_in_one_secret(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.write("app", password="hunter-2")
        place = {"path": "secret/data/app", "key": "password"}
        scene.define("app", now="app#password")
        scene.change("app", keysMap={"before": {**place, "version": 1}, "also": {**place, "version": "2"}})
        await scene.settled()

        assert scene.values("app") == {"now": "hunter-2", "before": "hunter-1", "also": "hunter-2"}


@pytest.mark.parametrize("readable", [RECOMMENDED, READ_ONLY], ids=["listed", "read one by one"])
async def test_outage_is_reported_by_conditions_and_a_metric_and_changes_no_secret(
    readable: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with running(readable=readable) as scene:
        many(scene)
        await scene.settled()
        scene.door.writes.clear()
        with scene.vault.sealed():
            await scene.settled()
            assert {scene.reason(name) for name in NAMES} == {"BackendUnavailable"}
            assert scene.registry.get_sample_value("secrets_manager_backend_up") == 0.0
            asked_before = len(scene.vault.requests)
            await scene.passed(60)
            assert len(scene.vault.requests) - asked_before < 16  # of 96 reads that are due
        await scene.passed(25)

        assert {scene.reason(name) for name in NAMES} == {"Synced"}
        assert scene.registry.get_sample_value("secrets_manager_backend_up") == 1.0
        assert scene.writes_to_secrets() == []


async def test_deleted_secret_of_a_listed_folder_is_read_by_its_failing_definition_alone(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        many(scene)
        await scene.settled()
        scene.vault.delete_kv("secret/data/shop/app-3")
        scene.vault.destroy_kv("secret/data/shop/app-4")
        await scene.passed(60)
        since = len(scene.vault.requests)
        await scene.passed(600)

        reads = Counter(each.path for each in scene.vault.requests[since:] if each.path.startswith("secret/data/"))
        assert reads.keys() == {"secret/data/shop/app-3", "secret/data/shop/app-4"}
        assert max(reads.values()) <= 20


async def test_message_follows_when_the_metadata_of_a_destroyed_version_go(autojump_clock: MockClock) -> None:
    async with running() as scene:
        many(scene)
        await scene.settled()
        scene.vault.destroy_kv("secret/data/shop/app-3")
        await scene.passed(2)
        assert "was destroyed" in scene.message("app-3")

        scene.vault.forget_kv("secret/data/shop/app-3")
        await scene.passed(2)
        assert "does not exist in Vault" in scene.message("app-3")
