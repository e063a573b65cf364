"""What no part promises to raise costs one item: it is logged with its trace, counted, and the item comes again."""

import httpx
import pytest
from trio.testing import MockClock

from tests.controller.component import Scene, running, secret_path
from tests.doubles import faults as fault

ODD = fault.lose_request(ValueError("odd"))


def is_post_of_app(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path == secret_path("")


def traces(scene: Scene) -> list[str]:
    """Of each unexpected exception, the task that met it."""
    lines = [line for line in scene.log.lines if line.startswith("ERROR unexpected error")]
    assert all("Traceback" in line and "ValueError: odd" in line for line in lines)
    return [line.partition("'task': '")[2].partition("'")[0] for line in lines]


def counted(scene: Scene) -> float | None:
    return scene.registry.get_sample_value("secrets_manager_controller_unexpected_errors_total")


async def test_reconcile_that_meets_one_comes_again_with_backoff_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.faults.always(ODD, when=is_post_of_app)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(600)
        attempts = len(traces(scene))
        assert 10 < attempts < 40
        assert traces(scene) == ["reconcile"] * attempts
        assert counted(scene) == attempts
        assert scene.metric("last_sync_status", "app") == 0

        scene.faults.heal()
        scene.write("another", password="hunter-2")
        scene.define("another", pw="another#password")
        await scene.passed(1)
        assert scene.values("another") == {"pw": "hunter-2"}
        await scene.passed(60)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert counted(scene) == attempts


async def test_status_write_that_meets_one_comes_again_with_backoff_and_the_secret_is_there(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.faults.always(ODD, when=fault.on_path(ends="/status"))
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(600)
        assert scene.values("app") == {"pw": "hunter-1"}
        assert 10 < len(traces(scene)) < 40
        assert set(traces(scene)) == {"status write"}
        assert counted(scene) == len(traces(scene))

        scene.faults.heal()
        await scene.passed(60)
        assert scene.reason("app") == "Synced"


@pytest.mark.parametrize("work", ["POST", "PATCH"])
async def test_one_that_comes_once_costs_less_than_a_second(work: str, autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.next(ODD, when=lambda request: request.method == work and "events" not in request.url.path)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(1)

        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert counted(scene) == 1
