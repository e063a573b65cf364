"""What an API server does to its clients, in virtual time: it is slow, refuses, forgets, and takes kinds away."""

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Object, text
from secrets_manager.config import ControllerConfig
from secrets_manager.controller import crd
from tests.controller.component import Scene, keys_map, running, secret_path
from tests.doubles import faults as fault

RARELY = ControllerConfig(reconcile_period=3600)
"""No poll of Vault comes to the rescue."""
WATCHED = ["/api/v1/secrets", "/apis/secrets-manager.tuenti.io/v1alpha1/secretdefinitions"]
CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}"


def in_sync(scene: Scene) -> None:
    scene.write("app", password="hunter-1")
    scene.define("app", pw="app#password")


def of_definitions(request: httpx.Request) -> bool:
    """Whether a request lists or watches definitions."""
    return request.method == "GET" and request.url.path == WATCHED[1]


async def test_a_crd_that_is_deleted_takes_all_along_without_any_request_of_ours(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.foreign_secret("theirs")
        await scene.settled()
        del scene.door.writes[:]

        scene.user.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}")
        await scene.passed(600)

        assert scene.writes() == []
        assert [text(each, "metadata", "name") for each in scene.user.list(secret_path(""))] == ["theirs"]


async def test_a_crd_that_comes_after_the_start_is_found(autojump_clock: MockClock) -> None:
    async with running(crd=None) as scene:
        scene.write("app", password="hunter-1")
        await scene.passed(600)
        scene.install()
        scene.define("app", pw="app#password")

        await scene.passed(30)

        assert scene.values("app") == {"pw": "hunter-1"}


async def test_a_crd_that_is_deleted_and_recreated_is_found_and_its_definitions_make_their_secrets_again(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        del scene.door.writes[:]

        scene.user.delete(CRD_PATH)
        await scene.passed(120)
        assert scene.writes() == []
        assert [line for line in scene.log.lines if "404" in line and "secretdefinitions" in line] != []

        scene.install()
        scene.define("app", pw="app#password")
        await scene.passed(35)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_slow_server_is_waited_for(autojump_clock: MockClock) -> None:
    async with running(config=RARELY, alive=False) as scene:
        scene.faults.always(fault.late(9))
        scene.start()
        in_sync(scene)
        await scene.settled()
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert scene.writes_to_secrets() == ["POST secrets app"]


async def test_a_server_that_is_down_for_long_is_found_again_and_all_that_happened_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(fault.lose_request())
        scene.cluster.end_watches()
        await scene.passed(600)
        requests = len(scene.faults.calls)
        scene.write("app", password="hunter-2")
        scene.user.delete(secret_path("app"))
        scene.write("more", password="hunter-3")
        scene.define("more", pw="more#password")
        scene.cluster.compact()
        await scene.passed(600)
        assert len(scene.faults.calls) - requests < 600 / 5

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.values("more")) == ({"pw": "hunter-2"}, {"pw": "hunter-3"})


async def test_a_status_write_hides_no_change_that_a_lagging_server_takes_back(autojump_clock: MockClock) -> None:
    """Vault is sealed meanwhile."""
    async with running() as scene:
        in_sync(scene)
        scene.write("other", password="hunter-2")
        await scene.settled()
        behind = scene.cluster.storage.revision
        scene.faults.next(fault.late(4), when=fault.on_path(ends="/status"))
        scene.change("app", name="renamed", keysMap=keys_map(pw="other#password"))
        await scene.passed(1)

        scene.faults.next(fault.answer(410, reason="Expired"), when=of_definitions)
        scene.faults.next(fault.as_of(behind), when=of_definitions)
        scene.faults.next(fault.late(8), when=of_definitions)  # so the answer to the status write comes before
        with scene.vault.sealed():
            scene.cluster.end_watches()
            await scene.passed(30)
        await scene.passed(65)
        assert (scene.values("renamed"), scene.reason("app")) == ({"pw": "hunter-2"}, "Synced")
        assert (scene.metric("last_sync_status", "renamed"), scene.metric("last_sync_status", "app")) == (1, None)

        scene.write("other", password="hunter-3")
        await scene.passed(ControllerConfig().reconcile_period * 1.5)
        assert scene.values("renamed") == {"pw": "hunter-3"}


async def test_watches_that_fall_silent_are_noticed_within_100_seconds(autojump_clock: MockClock) -> None:
    """Their connections stay open, and new ones work."""
    async with running(config=RARELY, alive=False) as scene:
        scene.faults.next(fault.silent_after(200), when=fault.is_watch, times=2)
        in_sync(scene)
        scene.start()
        await scene.passed(201)
        before = len(scene.faults.calls)
        scene.write("more", password="hunter-3")
        scene.define("more", pw="more#password")
        scene.user.delete(secret_path("app"))

        await scene.passed(100)
        assert (scene.values("app"), scene.values("more")) == ({"pw": "hunter-1"}, {"pw": "hunter-3"})
        assert sorted(call.path for call in scene.faults.calls[before:] if call.path in WATCHED) == WATCHED
        assert not [line for line in scene.log.lines if line.startswith("WARNING")]


async def test_at_rest_kubernetes_is_asked_for_the_renewal_of_watches_alone(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        before = len(scene.faults.calls)
        await scene.passed(3500)
        assert 2 * 3500 // 350 <= len(scene.faults.calls) - before <= 2 * 3500 // 290 + 2
        assert sorted({call.path for call in scene.faults.calls[before:]}) == WATCHED


async def test_a_server_that_sheds_load_gets_no_more_requests_the_more_definitions_there_are(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        scene.write("app", password="hunter-1")
        await scene.settled()
        scene.faults.always(fault.rubbish(b"Too many requests, please try again later.", status=429))
        before = len(scene.faults.calls)
        for number in range(300):
            scene.define(f"app-{number}", pw="app#password")
        await scene.passed(10)
        assert len(scene.faults.calls) - before <= 11 * RARELY.workers

        scene.faults.heal()
        await scene.settled()
        assert {scene.reason(f"app-{number}") for number in range(300)} == {"Synced"}


DENIED = 'admission webhook "guard.example.com" denied the request: not today'


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (fault.answer(403, reason="Forbidden", message=DENIED), f"403 Forbidden: {DENIED}"),
        (fault.answer(400, reason="BadRequest", message=DENIED), f"400 BadRequest: {DENIED}"),
        (fault.answer(422, reason="Invalid", message=DENIED), f"422 Invalid: {DENIED}"),
    ],
    ids=["403", "400", "422"],
)
async def test_a_webhook_that_refuses_is_quoted_and_asked_again_now_and_then(
    refusal: fault.Fault, expected: str, autojump_clock: MockClock
) -> None:
    posts = fault.on_path(ends="/secrets")
    async with running(config=RARELY) as scene:
        scene.faults.always(refusal, when=lambda request: request.method == "POST" and posts(request))
        in_sync(scene)
        await scene.passed(3600)
        assert scene.reason("app") == "SecretRejected"
        assert scene.message("app").endswith(expected)
        assert 3600 / 60 <= scene.faults.count(lambda call: call == ("POST", secret_path("").rstrip("/"))) < 150

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_webhook_that_can_not_be_reached_is_waited_for(autojump_clock: MockClock) -> None:
    failed = fault.answer(500, reason="InternalError", message="failed calling webhook: connection refused")
    async with running(config=RARELY) as scene:
        scene.faults.always(failed, when=fault.is_write)
        in_sync(scene)
        await scene.passed(600)
        assert scene.writes() == []

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_secret_that_is_being_deleted_is_made_again_once_it_is_gone(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.edit("app", {"metadata": {"finalizers": ["example.com/slow"]}})
        await scene.settled()
        uid = text(scene.secret("app"), "metadata", "uid")
        scene.user.delete(secret_path("app"))
        scene.write("app", password="hunter-2")
        await scene.passed(600)
        assert scene.reason("app") == "SecretRejected"
        assert text(scene.secret("app"), "metadata", "uid") == uid

        scene.edit("app", {"metadata": {"finalizers": None}})
        await scene.passed(1)
        assert text(scene.secret("app"), "metadata", "uid") not in ("", uid)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-2"}, "Synced")


async def test_nothing_is_written_to_a_namespace_that_is_being_deleted(
    autojump_clock: MockClock,
) -> None:
    namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.cluster.cleans_up = False
        scene.user.delete("/api/v1/namespaces/shop")
        scene.user.delete(secret_path("app"))
        del scene.door.writes[:]
        await scene.passed(3600)
        assert scene.reason("app") == "SecretRejected"
        assert "terminat" in scene.message("app")
        assert len(scene.writes()) <= 2  # the status, and an Event if it is taken

        scene.cluster.cleans_up = True
        scene.cluster.clean_up()
        requests = len(scene.faults.calls)
        await scene.passed(280)
        assert len(scene.faults.calls) - requests <= 2

        scene.user.create(namespace)
        in_sync(scene)
        await scene.passed(1)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_watch_may_be_cut_at_any_byte(autojump_clock: MockClock) -> None:
    """Both of them at once, that of definitions and that of Secrets."""

    async def course(at: int) -> Object:
        async with running(config=RARELY, alive=False) as scene:
            in_sync(scene)
            scene.faults.next(fault.cut(at, error=at % 2 == 0), when=fault.is_watch, times=2)
            scene.start()
            await scene.passed(1)
            scene.write("more", password="hunter-3")
            scene.define("more", pw="more#password")
            scene.edit("app", {"data": {"pw": "ZWRpdGVk"}})
            await scene.settled(5)
            return scene.picture()

    whole = 5000
    expected = await course(whole)
    reached = {at: await course(at) for at in range(0, whole, 41)}
    assert reached == dict.fromkeys(reached, expected)
