"""The secret store answers slowly: work goes on, and the process counts as alive."""

import pytest
from trio.testing import MockClock

from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, keys_map, running
from tests.doubles import vault_faults as vault
from tests.doubles.vault import Request

ALIVE = (200, b"ok\n")
TIMEOUT = 5.0
"""Seconds that a read may take."""


def define(scene: Scene, name: str, paths: list[str]) -> None:
    """A definition with a key for each path."""
    keys = keys_map(**{f"key-{number}": f"{path}#password" for number, path in enumerate(paths)})
    scene.define_as_it_is(name, {"name": name, "keysMap": keys})


def is_of_the_store(request: Request) -> bool:
    return request.path.startswith("secret/")


async def watched(scene: Scene, seconds: int) -> float:
    """Let time pass, while the process counts as alive. Returns for how long one item was worked on, at most."""
    oldest = 0.0
    for _ in range(seconds):
        await scene.passed(1)
        health = await scene.answer("/healthz")
        assert (health.status, health.body) == ALIVE
        age = scene.sample("workqueue_longest_running_processor_seconds", name="secretdefinition")
        oldest = max(oldest, age or 0.0)
    return oldest


@pytest.mark.parametrize(("folders", "delay"), [(40, 1.0), (200, 0.05)])
async def test_many_folders_keep_no_item_of_the_queue_busy(
    folders: int, delay: float, autojump_clock: MockClock
) -> None:
    async with running() as scene:
        scene.vault.delay = lambda request: delay if is_of_the_store(request) else 0.0
        for folder in range(folders):
            for number in range(4):
                scene.write(f"team-{folder}/{number}", password="hunter-1")
            define(scene, f"app-{folder}", [f"team-{folder}/{number}" for number in range(4)])
        await watched(scene, 20)
        oldest = await watched(scene, 60)
        scene.write("team-7/1", password="hunter-2")
        await watched(scene, 2 * round(folders * delay))

        assert oldest <= 2 * TIMEOUT
        assert scene.values("app-7") == {f"key-{number}": f"hunter-{2 if number == 1 else 1}" for number in range(4)}


@pytest.mark.parametrize(
    ("paths", "delay", "concurrency"), [(40, 4.0, 1), (200, 2.5, 4)], ids=["one at a time", "four at a time"]
)
async def test_definition_of_many_slow_paths_gets_its_secret_and_others_go_on(
    paths: int, delay: float, concurrency: int, autojump_clock: MockClock
) -> None:
    async with running(config=ControllerConfig(backend_concurrency=concurrency)) as scene:
        for number in range(paths):
            scene.write(f"large/{number}", password="hunter-1")
        for number in range(3):
            scene.write(f"small/{number}", password="hunter-1")
        scene.vault.delay = lambda request: delay if "/data/" in request.path else 0.0
        define(scene, "large", [f"large/{number}" for number in range(paths)])
        for number in range(3):
            scene.define(f"small-{number}", pw=f"small/{number}#password")
        await watched(scene, int(2 * paths * delay / concurrency))

        assert scene.values("large") == {f"key-{number}": "hunter-1" for number in range(paths)}
        assert {scene.reason(name) for name in ("large", "small-0", "small-1", "small-2")} == {"Synced"}

        scene.annotate("large", **{"force-sync": "now"})
        await watched(scene, 1)
        scene.write("small/0", password="hunter-2")
        await watched(scene, int(3 * paths * delay / concurrency))
        assert scene.values("small-0") == {"pw": "hunter-2"}


async def test_polls_that_wait_for_a_slot_are_not_made_once_a_listing_has_come(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(backend_concurrency=1)) as scene:
        for number in range(20):
            scene.write(f"shop/{number}", password="hunter-1")
            scene.define(f"app-{number}", pw=f"shop/{number}#password")
        await scene.settled()
        scene.vault.delay = lambda request: 2.0 if "/data/" in request.path else 0.0
        with vault.listings(vault.answers(500))(scene.vault):
            await watched(scene, 30)
        listed = sum(1 for request in scene.vault.requests if vault.is_listing(request))
        while sum(1 for request in scene.vault.requests if vault.is_listing(request)) == listed:
            await watched(scene, 1)
        reads = sum(1 for request in scene.vault.requests if vault.is_read(request))
        await watched(scene, 30)

        assert sum(1 for request in scene.vault.requests if vault.is_read(request)) - reads <= 1
