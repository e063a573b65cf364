"""Others who change the Secret after us or within our own writes: how often it is written, and what is reported."""

import base64
import gc

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Object, mapping
from secrets_manager.config import ControllerConfig
from secrets_manager.controller.secret import OWNER
from secrets_manager.controller.secret_syncer import _LastSync
from tests.controller.component import Scene, running, secret_path
from tests.doubles import faults as fault

RARELY = ControllerConfig(reconcile_period=3600)
"""No poll of Vault comes to the rescue."""
MANAGED_BY = "app.kubernetes.io/managed-by"


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def to_a_secret(request: httpx.Request) -> bool:
    return "/secrets/" in f"{request.url.path}/" and request.method in ("POST", "PUT", "PATCH")


def attempts(scene: Scene) -> int:
    """How many writes of Secrets the program has asked for, also those that changed nothing."""
    return scene.faults.count(lambda call: "/secrets/" in f"{call.path}/" and call.method != "GET")


def in_sync(scene: Scene) -> None:
    scene.write("app", password="hunter-1 ")
    scene.define("app", pw="app#password")


class Fighter:
    """A controller that puts its own change back whenever it sees another state. It acts as fast as it is asked to."""

    def __init__(self, scene: Scene, change: Object) -> None:
        self.times = 0
        self._scene = scene
        self._change = change

    def act(self) -> None:
        before = self._scene.secret("app")
        self._scene.edit("app", self._change)
        self.times += self._scene.secret("app") != before


CHANGES: dict[str, tuple[Object, str]] = {
    "trims a value": ({"data": {"pw": encoded("hunter-1")}}, "data.pw"),
    "adds a key": ({"data": {"more": encoded("x")}}, "data.more"),
    "sets managed-by": ({"metadata": {"labels": {MANAGED_BY: "Helm"}}}, f"metadata.labels[{MANAGED_BY}]"),
    "takes our owner away": ({"metadata": {"ownerReferences": []}}, "metadata.ownerReferences"),
}
changes = pytest.mark.parametrize(("change", "field"), CHANGES.values(), ids=CHANGES)


@changes
async def test_an_admission_that_changes_each_write_is_reported_and_costs_a_write_a_minute(
    change: Object, field: str, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.always(fault.admission(change), when=to_a_secret)
        in_sync(scene)
        await scene.passed(30)
        assert attempts(scene) == 2
        assert (scene.reason("app"), scene.message("app")) == (
            "SecretContended",
            (
                f"Secret app: an admission webhook or policy changes {field} in each write: "
                f"exempt Secrets with the label {OWNER} from it. Meanwhile it is written once a minute"
            ),
        )
        statuses = len(scene.writes_to_definitions())

        await scene.passed(600)
        assert 9 <= attempts(scene) - 2 <= 11
        assert len(scene.writes_to_definitions()) == statuses

        scene.faults.heal()
        await scene.passed(121)
        assert scene.values("app") == {"pw": "hunter-1 "}
        assert scene.reason("app") == "Synced"
        written = attempts(scene)
        await scene.passed(600)
        assert attempts(scene) == written


async def test_an_admission_that_adds_what_is_not_ours_does_no_harm(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        foreign: Object = {"metadata": {"labels": {"team": "shop"}, "annotations": {"seen": "yes"}}}
        scene.faults.always(fault.admission(foreign), when=to_a_secret)
        in_sync(scene)
        await scene.passed(600)
        assert scene.writes_to_secrets() == ["POST secrets app"]
        assert scene.reason("app") == "Synced"


async def test_a_new_value_goes_past_the_slow_pace(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.always(fault.admission({"data": {"more": encoded("x")}}), when=to_a_secret)
        in_sync(scene)
        await scene.passed(61)
        before = attempts(scene)
        scene.write("app", password="hunter-2")
        await scene.passed(6)
        assert scene.values("app") == {"pw": "hunter-2", "more": "x"}
        assert attempts(scene) == before + 1
        assert scene.reason("app") == "SecretContended"


async def test_a_changed_definition_goes_past_the_slow_pace(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.always(fault.admission({"data": {"more": encoded("x")}}), when=to_a_secret)
        in_sync(scene)
        await scene.passed(61)
        before = attempts(scene)
        scene.change("app", keysMap={"second": {"path": "secret/data/app", "key": "password"}})
        await scene.passed(1)
        assert mapping(scene.secret("app"), "data").keys() == {"pw", "second", "more"}
        assert attempts(scene) == before + 1

        scene.faults.heal()
        await scene.passed(121)
        assert scene.reason("app") == "Synced"


@changes
async def test_a_controller_that_puts_its_own_back_is_reported_and_costs_a_write_a_minute(
    change: Object, field: str, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        before = attempts(scene)
        fighter = Fighter(scene, change)
        for _ in range(60):
            fighter.act()
            await scene.passed(0.5)
        assert (attempts(scene) - before, fighter.times) == (2, 3)
        assert scene.reason("app") == "SecretContended"
        who = "another manager" if field == "metadata.ownerReferences" else "manager administrator"
        assert scene.message("app") == (
            f"Secret app: {who} changes {field} after each write: let only one of the two manage it. "
            "Meanwhile it is written once a minute"
        )
        statuses = len(scene.writes_to_definitions())

        for _ in range(150):
            fighter.act()
            await scene.passed(4)
        assert 9 <= attempts(scene) - before - 2 <= 11
        assert len(scene.writes_to_definitions()) == statuses
        assert scene.event_series("app")["SecretReverted"] == 2

        await scene.passed(121)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1 "}, "Synced")


async def test_a_controller_that_writes_something_else_each_time_is_reported_too(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        before = attempts(scene)
        for number in range(100):
            scene.edit("app", {"data": {"pw": encoded(f"theirs-{number}")}})
            await scene.passed(0.1)
        assert attempts(scene) - before == 2
        assert scene.reason("app") == "SecretContended"


async def test_the_manager_is_named(autojump_clock: MockClock) -> None:
    entry: Object = {"manager": "reloader", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {"f:pw": {}}}}
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        managed = fault.seen({"metadata": {"managedFields": [entry]}})
        scene.faults.always(managed, when=fault.on_path(ends="/secrets/app"))
        for _ in range(3):
            scene.edit("app", {"data": {"pw": encoded("theirs")}})
            await scene.passed(1)
        assert "manager reloader changes data.pw after each write" in scene.message("app")


async def test_a_secret_that_is_deleted_again_and_again_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        before = attempts(scene)
        for _ in range(100):
            if scene.secret("app"):
                scene.user.delete(secret_path("app"))
            await scene.passed(0.1)
        assert attempts(scene) - before == 2
        assert "it is deleted after each write" in scene.message("app")

        await scene.passed(61)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1 "}, "SecretContended")
        await scene.passed(61)
        assert scene.reason("app") == "Synced"


async def test_edits_by_hand_are_undone_at_once_twice_and_again_after_a_while(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        for _ in range(3):
            for _ in range(2):
                scene.edit("app", {"data": {"pw": encoded("theirs")}})
                await scene.passed(0.1)
                assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1 "}, "Synced")
            await scene.passed(300)


async def test_the_competing_manager_is_looked_up_again_after_a_failed_lookup(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.always(fault.admission({"data": {"more": encoded("x")}}), when=to_a_secret)
        scene.faults.next(
            fault.answer(500), when=lambda request: request.method == "GET" and to_the_secret(request), times=3
        )
        in_sync(scene)
        await scene.passed(30)
        assert scene.reason("app") == "SecretContended"
        assert attempts(scene) == 2
        assert scene.metric("secret_read_errors_total", "app") == 3


def to_the_secret(request: httpx.Request) -> bool:
    return request.url.path == secret_path("app")


async def test_the_message_follows_the_field_that_is_contested(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        await contested(scene, {"metadata": {"labels": {MANAGED_BY: "Helm"}}})
        assert f"manager administrator changes metadata.labels[{MANAGED_BY}]" in scene.message("app")

        scene.edit("app", {"metadata": {"labels": {MANAGED_BY: "secrets-manager"}}, "data": {"more": encoded("x")}})
        await scene.passed(1)
        assert "manager administrator changes data.more" in scene.message("app")


async def test_who_works_against_us_is_read_again_in_a_new_contention(autojump_clock: MockClock) -> None:
    change: Object = {"data": {"more": encoded("x")}}
    async with running(config=RARELY) as scene:
        scene.faults.always(fault.admission(change), when=to_a_secret)
        in_sync(scene)
        await scene.passed(1)
        assert "an admission webhook or policy changes data.more" in scene.message("app")
        scene.faults.heal()
        await scene.passed(121)
        assert scene.reason("app") == "Synced"

        await contested(scene, change)
        assert "manager administrator changes data.more" in scene.message("app")


async def test_another_secret_begins_without_contention(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        await contested(scene, {"data": {"more": encoded("x")}})
        scene.change("app", name="renamed")
        await scene.passed(1)
        assert (scene.values("renamed"), scene.values("app")) == ({"pw": "hunter-1 "}, None)
        assert scene.reason("app") == "Synced"


async def test_the_former_secret_stays_while_the_new_one_is_deleted_again_and_again(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(fault.answer(500), when=lambda request: request.method == "DELETE")
        scene.change("app", name="renamed")
        for _ in range(30):
            if scene.secret("renamed"):
                scene.user.delete(secret_path("renamed"))
            await scene.passed(0.1)
        scene.faults.heal()
        await scene.passed(30)
        assert [scene.values(name) for name in ("app", "renamed")] == [{"pw": "hunter-1 "}, None]
        await scene.passed(61)
        assert [scene.values(name) for name in ("app", "renamed")] == [None, {"pw": "hunter-1 "}]


async def test_a_secret_whose_time_was_removed_is_in_sync(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.edit("app", {"metadata": {"annotations": {"secrets-manager.tuenti.io/lastUpdateTime": None}}})
        await scene.settled()
        assert (scene.reason("app"), scene.writes_to_secrets()) == ("Synced", ["POST secrets app"])


async def test_a_recreated_definition_begins_without_contention(autojump_clock: MockClock) -> None:
    """Recreated while no watch listens, so that nothing is heard of the end of the first one."""
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        await contested(scene, {"data": {"more": encoded("x")}})
        scene.faults.always(fault.lose_request())
        scene.cluster.end_watches()
        await scene.passed(1)
        scene.delete("app")
        scene.define("app", pw="app#password")
        del scene.door.writes[:]  # their history goes
        scene.cluster.compact()
        scene.faults.heal()
        await scene.passed(30)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1 "}, "Synced")


async def test_what_was_brought_about_is_forgotten_with_its_definition(autojump_clock: MockClock) -> None:
    others = all_known()  # of tests before this one
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        assert len(all_known()) == len(others) + 1
        scene.delete("app")
        await scene.settled()
        assert len(all_known()) == len(others)


async def contested(scene: Scene, change: Object) -> None:
    """Change the Secret until that is no longer undone."""
    for _ in range(3):
        scene.edit("app", change)
        await scene.passed(0.5)
    assert scene.reason("app") == "SecretContended"


def all_known() -> list[_LastSync]:
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, _LastSync)]


@pytest.mark.parametrize("policy", ["Owner", "Merge"])
async def test_reverts_whose_answers_are_lost_count_too(policy: str, autojump_clock: MockClock) -> None:
    """They were made, so a controller that puts its own back costs no more writes than with answers."""
    async with running(config=RARELY) as scene:
        scene.write("app", password="hunter-1 ")
        if policy == "Merge":
            scene.foreign_secret("app", data={"token": "theirs"})
        scene.define("app", pw="app#password")
        scene.change("app", creationPolicy=policy)
        await scene.settled()
        before = attempts(scene)
        scene.faults.always(fault.lose_reply(), when=to_a_secret)
        for number in range(100):
            scene.edit("app", {"data": {"pw": encoded(f"{number}")}})
            await scene.passed(0.5)

        assert attempts(scene) - before <= 6


async def test_reverts_that_do_not_arrive_do_not_count(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(fault.lose_request(), when=to_a_secret)
        scene.edit("app", {"data": {"pw": encoded("theirs")}})
        reasons: set[str] = set()
        for _ in range(200):
            await scene.passed(1)
            reasons.add(scene.reason("app"))
        assert "SecretContended" not in reasons

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1 "}, "Synced")


async def test_a_lost_answer_says_nothing_of_the_secret_of_another_name(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        for number in range(3):
            scene.edit("app", {"data": {"pw": encoded(f"{number}")}})
            await scene.passed(1)
        assert scene.reason("app") == "SecretContended"

        scene.faults.always(fault.lose_request(), when=to_a_secret)
        await scene.passed(70)
        scene.faults.heal()
        scene.change("app", name="renamed")
        await scene.passed(5)
        assert (scene.reason("app"), scene.values("renamed")) == ("Synced", {"pw": "hunter-1 "})
