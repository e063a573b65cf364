"""What comes first, and what an exception costs that no part promises to raise."""

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.documents import text
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, running, secret_path
from tests.doubles import faults as fault

RECONCILES = "secrets_manager_controller_reconcile_duration_seconds"
ODD = fault.lose_request(ValueError("odd"))


def is_post_of_app(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path == secret_path("")


def traces(scene: Scene) -> list[str]:
    """Of each unexpected exception, the task that met it."""
    lines = [line for line in scene.log.lines if line.startswith("ERROR unexpected error")]
    assert all("Traceback" in line and "ValueError: odd" in line for line in lines)
    assert all("'namespace': 'shop', 'name': 'app', 'error': 'odd'}" in line for line in lines)
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
        assert (scene.sample(f"{RECONCILES}_count"), scene.sample(f"{RECONCILES}_sum")) == (attempts, 0.0)

        scene.faults.heal()
        scene.write("another", password="hunter-2")
        scene.define("another", pw="another#password")
        await scene.passed(1)
        assert scene.values("another") == {"pw": "hunter-2"}
        await scene.passed(60)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert counted(scene) == attempts

        scene.faults.next(ODD, when=fault.is_write)
        scene.user.delete(secret_path("app"))
        await scene.passed(1)
        assert (scene.values("app"), counted(scene)) == ({"pw": "hunter-1"}, attempts + 1), "the backoff begins again"


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

        before = text(scene.definition("app"), "status", "lastSyncTime")
        scene.faults.next(ODD, when=fault.on_path(ends="/status"))
        scene.user.delete(secret_path("app"))
        await scene.passed(1)
        assert text(scene.definition("app"), "status", "lastSyncTime") > before, "the backoff begins again"


@pytest.mark.parametrize("work", ["POST", "PATCH"])
async def test_one_that_comes_once_costs_less_than_a_second(work: str, autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.next(ODD, when=lambda request: request.method == work and "events" not in request.url.path)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(1)

        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert counted(scene) == 1


async def test_definition_that_fails_is_reconciled_again_once_or_twice_a_minute(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.define("app", pw="missing#password")
        await scene.passed(600)

        assert 10 <= (scene.sample(f"{RECONCILES}_count") or 0) <= 21


# Statuses wait for the Secrets of others, but not for long


async def test_status_and_secret_of_one_definition_are_never_written_at_once(autojump_clock: MockClock) -> None:
    names = [f"app-{number}" for number in range(3)]
    under_way: dict[str, list[str]] = {name: [] for name in names}
    overlaps: list[list[str]] = []

    async def note(request: httpx.Request, send: fault.Send) -> httpx.Response:
        path, content = request.url.path, await request.aread()
        name = next((name for name in names if f"/{name}" in path or f'"{name}"'.encode() in content), "")
        requests = under_way.get(name, [])
        requests.append(path)
        overlaps.extend([[*requests]] if len(requests) > 1 else [])
        try:
            await trio.sleep(0.3)
            return await send(request)
        finally:
            requests.remove(path)

    async with running() as scene:
        scene.faults.always(note, when=lambda request: fault.is_write(request) and "events" not in request.url.path)
        for name in names:
            scene.write(name, password="hunter-1")
            scene.define(name, pw=f"{name}#password")
        for number in range(100):
            scene.write(names[number % 3], password=f"hunter-{number}")
            scene.annotate(names[number % 3], **{"force-sync": f"{number}"})
            await scene.passed(0.17)
        await scene.settled()

        assert overlaps == []
        assert {scene.reason(name) for name in names} == {"Synced"}
        assert len(scene.writes_to_definitions()) > 20


async def test_status_of_what_changes_all_the_time_is_reported_all_the_same(autojump_clock: MockClock) -> None:
    """There is one worker, and never a moment in which no Secret waits for it."""
    names = [f"app-{number}" for number in range(3)]
    async with running(config=ControllerConfig(workers=1)) as scene:
        for name in names:
            scene.write(name, password="hunter-1")
            scene.define(name, pw=f"{name}#password")
        await scene.settled()
        scene.faults.always(fault.held(0.1), when=fault.is_write)
        times: dict[str, set[str]] = {name: set() for name in names}
        for number in range(150):
            scene.write(names[number % 3], password=f"hunter-{number}")
            scene.annotate(names[number % 3], **{"force-sync": str(number)})
            await scene.passed(0.11)  # out of step with the writes, or each would meet the same edit
            for name in names:
                times[name].add(text(scene.definition(name), "status", "lastSyncTime"))

        assert min(map(len, times.values())) > 8
        await scene.settled()
        assert [scene.values(name) for name in names] == [{"pw": f"hunter-{number}"} for number in (147, 148, 149)]


async def test_status_waits_for_the_secrets_of_others_once_and_no_more(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(workers=1), alive=False) as scene:
        names = [f"app-{number}" for number in range(30)]
        for name in names:
            scene.write(name, password="hunter-1")
            scene.define(name, pw=f"{name}#password")
        scene.faults.always(fault.silent_after(0), when=fault.is_watch)  # or it may overtake the reply to a write
        scene.start()
        await scene.settled()

        kinds = [kind for write in scene.door.writes if (kind := write.kind.partition(".")[0]) != "events"]
        assert kinds.count("secretdefinitions") == 30, "each status is written once"
        assert kinds[:9] == ["secrets"] * 9
        assert scene.sample(f"{RECONCILES}_count") == 30


async def test_secrets_come_before_statuses(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        names = [f"app-{number}" for number in range(100)]
        for name in names:
            scene.write(name, password=f"hunter-{name}")
            scene.define(name, pw=f"{name}#password")
        scene.start()
        await scene.settled()

        kinds = [write.kind.partition(".")[0] for write in scene.door.writes if write.kind != "events"]
        assert kinds.count("secrets") == kinds.count("secretdefinitions") == 100
        assert kinds[:80].count("secrets") >= 78  # statuses have their share all the same


async def test_no_change_waits_for_the_statuses_of_others(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        names = [f"app-{number}" for number in range(400)]
        for name in names:
            scene.write(name, password="hunter-1")
            scene.define(name, pw=f"{name}#password")
        scene.faults.always(fault.late(3.0), when=fault.on_path(ends="/status"))
        scene.start()
        await scene.passed(10.0)
        assert [scene.values(name) for name in names] == [{"pw": "hunter-1"}] * 400

        scene.write("app-0", password="hunter-2")
        await scene.passed(10.0)

        assert scene.values("app-0") == {"pw": "hunter-2"}
        assert len([write for write in scene.door.writes if write.kind.startswith("secretdefinitions")]) < 200
        await scene.settled()
        assert {scene.reason(name) for name in names} == {"Synced"}


async def test_what_a_user_defines_comes_before_changes_that_listings_show(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(workers=1)) as scene:
        scene.write("shared", password="canary-1")
        scene.write("own", password="canary-2")
        for number in range(6):
            scene.define(f"app-{number}", pw="shared#password")
        await scene.settled()
        before = len(scene.writes_to_secrets())
        scene.faults.always(fault.held(1), when=fault.is_write)
        scene.write("shared", password="canary-3")
        await scene.passed(3)
        scene.define("new", pw="own#password")
        await scene.settled()
        written = scene.writes_to_secrets()[before:]
        assert len(written) == 7
        assert written.index("POST secrets new") <= 3


# Namespaces share the workers


async def seconds_until_written(scene: Scene, name: str, value: str) -> float:
    """How long it takes until the Secret has the value."""
    began = trio.current_time()
    with trio.fail_after(3600):
        while scene.values(name) != {"pw": value}:
            await scene.passed(0.5)
    return trio.current_time() - began


async def test_writes_that_hang_in_one_namespace_hold_up_another_for_no_longer_than_one_of_them(
    autojump_clock: MockClock,
) -> None:
    """A webhook that is called for Secrets of one namespace hangs: at first all definitions there are new."""
    hangs = 10.0
    async with running() as scene:
        scene.write("theirs", password="hunter-0")
        scene.write("ours", password="hunter-1")
        scene.define("ours", pw="ours#password")
        await scene.settled()
        scene.faults.always(fault.hang, when=fault.on_path(ends="/namespaces/other/secrets"))
        for number in range(300):
            scene.define(f"theirs-{number}", namespace="other", pw="theirs#password")

        for number in range(2, 12):
            await scene.passed(47)
            scene.write("ours", password=f"hunter-{number}")
            assert await seconds_until_written(scene, "ours", f"hunter-{number}") <= hangs + 2
        scene.define("new", pw="ours#password")
        assert await seconds_until_written(scene, "new", "hunter-11") <= hangs
