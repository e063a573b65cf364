"""How long changes took to reach their Secrets."""

from datetime import UTC, datetime

import pytest
from trio.testing import MockClock

from secrets_manager.backends.base import Document, Source, SourceNotFound
from secrets_manager.controller.change_lag import change_lag
from tests.controller.component import Scene, running
from tests.doubles.kube_transport import virtual_time
from tests.doubles.vault_kv import Kv2

DB, TLS = Source("secret/data/db"), Source("secret/data/tls")
LAG = "secrets_manager_controller_change_lag_seconds"


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def version(number: int | None, changed: str = "") -> Document:
    return Document(values={}, marker=str(number), version=number, changed=changed)


def test_a_change_is_another_version_than_the_one_that_was_synced() -> None:
    document = version(2, "2026-01-02T03:04:01.500000000Z")

    assert change_lag({DB: 1}, {DB: document}, now=NOW) == 3.5
    assert change_lag({DB: 3}, {DB: document}, now=NOW) == 3.5
    assert change_lag({DB: 2}, {DB: document}, now=NOW) is None


def test_a_first_sync_is_no_change() -> None:
    assert change_lag({}, {DB: version(2, "2026-01-02T03:04:01Z")}, now=NOW) is None
    assert change_lag({TLS: 1}, {DB: version(2, "2026-01-02T03:04:01Z")}, now=NOW) is None


@pytest.mark.parametrize("changed", ["", "yesterday", "2026-01-02T03:04:01", "2026-13-02T03:04:01Z"])
def test_what_has_no_time_is_no_change(changed: str) -> None:
    assert change_lag({DB: 1}, {DB: version(2, changed)}, now=NOW) is None


def test_what_has_no_version_or_could_not_be_read_is_no_change() -> None:
    assert change_lag({DB: None}, {DB: version(None, "2026-01-02T03:04:01Z")}, now=NOW) is None
    assert change_lag({DB: 1}, {DB: SourceNotFound("none")}, now=NOW) is None


def test_of_several_changes_in_one_write_the_oldest_counts() -> None:
    documents = {DB: version(2, "2026-01-02T03:04:01Z"), TLS: version(5, "2026-01-02T03:03:01Z")}

    assert change_lag({DB: 1, TLS: 4}, documents, now=NOW) == 64


def test_a_store_whose_clock_is_ahead_makes_no_negative_lag() -> None:
    assert change_lag({DB: 1}, {DB: version(2, "2026-01-02T03:05:01Z")}, now=NOW) == 0.0


def change(scene: Scene, path: str, password: str) -> None:
    """Write a secret at the time of day that the program has."""
    scene.write(path, password=password)
    mount = scene.vault._mounts["secret"]
    assert isinstance(mount, Kv2)
    mount._newest(path).created_time = f"{virtual_time():%Y-%m-%dT%H:%M:%S.%f}Z"


async def test_each_change_is_counted_once_for_each_secret_with_its_lag(autojump_clock: MockClock) -> None:
    async with running() as scene:
        change(scene, "app", "hunter-1")
        for name in ("one", "two"):
            scene.define(name, pw="app#password")
        await scene.settled()
        assert scene.sample(f"{LAG}_count") == 0

        change(scene, "app", "hunter-2")
        await scene.passed(600)

        assert scene.values("one") == scene.values("two") == {"pw": "hunter-2"}
        assert scene.sample(f"{LAG}_count") == 2
        assert 0 < (scene.sample(f"{LAG}_sum") or 0) <= 2 * 7.5


async def test_a_change_that_had_to_wait_for_the_end_of_an_outage_waited_so_long(autojump_clock: MockClock) -> None:
    async with running() as scene:
        change(scene, "app", "hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        change(scene, "app", "hunter-2")
        with scene.vault.sealed():
            await scene.passed(600)
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-2"}
        assert scene.sample(f"{LAG}_count") == 1
        assert scene.sample(f"{LAG}_sum") == pytest.approx(615, abs=15)


async def test_a_restart_an_undelete_and_another_definition_are_no_changes_of_the_store(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        change(scene, "app", "hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        await scene.stop()
        change(scene, "app", "hunter-2")
        scene.start()
        await scene.settled()
        assert scene.values("app") == {"pw": "hunter-2"}

        scene.vault.delete_kv("secret/data/app")
        await scene.settled()
        scene.vault.undelete_kv("secret/data/app")
        await scene.settled()
        scene.change("app", keysMap={"password": {"path": "secret/data/app", "key": "password"}})
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-2", "password": "hunter-2"}
        assert scene.sample(f"{LAG}_count") == 0


async def test_a_recreated_definition_has_no_change_before_its_first_sync(autojump_clock: MockClock) -> None:
    async with running() as scene:
        change(scene, "app", "hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.delete("app")
        await scene.settled()
        change(scene, "app", "hunter-2")
        scene.define("app", pw="app#password")
        await scene.settled()
        assert (scene.values("app"), scene.sample(f"{LAG}_count")) == ({"pw": "hunter-2"}, 0)
