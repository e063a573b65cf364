"""Writes of the Secret that fail, between in-memory Kubernetes and Vault: what is reported, and when."""

import base64
import json
from itertools import count

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.documents import Json, Object, items, mapping, text
from fake_kubernetes.storage import Key
from secrets_manager.config import ControllerConfig
from tests.controller.component import NAMESPACE, Scene, definition_path, running, secret_path
from tests.controller.invariants import DEFINITIONS
from tests.definitions import CRD
from tests.doubles import faults as fault
from tests.doubles.faults import Fault

RARELY = ControllerConfig(reconcile_period=3600)
"""No poll of Vault comes to the rescue."""
FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
LAST_UPDATE = "secrets-manager.tuenti.io/lastUpdateTime"
CALLING = 'failed calling webhook "guard.example.com": failed to call webhook: Post "https://guard": connection refused'
WEBHOOK_DOWN = fault.answer(500, reason="InternalError", message=f"Internal error occurred: {CALLING}")


def to_a_secret(request: httpx.Request) -> bool:
    return "/secrets/" in f"{request.url.path}/" and fault.is_write(request)


def in_sync(scene: Scene) -> None:
    scene.write("app", password="hunter-1")
    scene.define("app", pw="app#password")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (WEBHOOK_DOWN, f"500 InternalError: Internal error occurred: {CALLING}"),
        (fault.answer(503, reason="ServiceUnavailable", message="try later"), "503 ServiceUnavailable: try later"),
        (fault.lose_request(httpx.ConnectError("")), "no connection"),
        (fault.lose_request(httpx.ReadTimeout("no answer in time")), "no answer in time"),
        (fault.rubbish(b"<html>"), "the response does not match the API"),
        (fault.answer(401, reason="Unauthorized", message="who are you?"), "401 Unauthorized: who are you?"),
    ],
    ids=["webhook", "unavailable", "no connection", "timeout", "malformed", "unauthorized"],
)
async def test_a_new_definition_whose_secret_can_not_be_written_says_so(
    failure: Fault, words: str, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.always(failure, when=to_a_secret)
        in_sync(scene)
        await scene.passed(25)
        assert scene.reason("app") == "SecretWriteFailed"
        assert scene.message("app").endswith(words)
        assert ("SyncFailed", "app") in scene.events()

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_changed_value_that_can_not_be_written_is_reported(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(WEBHOOK_DOWN, when=to_a_secret)
        scene.write("app", password="hunter-2")
        await scene.passed(10)
        assert scene.reason("app") == "SecretWriteFailed"
        assert scene.values("app") == {"pw": "hunter-1"}

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-2"}, "Synced")


async def test_a_change_that_is_refused_is_reported_and_nothing_is_made_in_its_place(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(fault.answer(422, reason="Invalid"), when=to_a_secret)
        scene.write("app", password="hunter-2")
        await scene.passed(10)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "SecretRejected")
        assert scene.faults.count(lambda call: call.method == "POST" and call.path.endswith("/secrets")) == 1


async def test_a_deleted_secret_that_can_not_be_made_again_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(WEBHOOK_DOWN, when=to_a_secret)
        scene.user.delete(secret_path("app"))
        await scene.passed(3)
        assert (scene.secret("app"), scene.reason("app")) == (None, "SecretWriteFailed")


async def test_one_failure_of_each_definition_changes_no_condition(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        scene.define("other", pw="app#password")
        await scene.settled()
        before = scene.ready("app")
        for name in ("app", "other"):
            scene.faults.next(WEBHOOK_DOWN, when=fault.on_path(ends=f"/secrets/{name}"))
        scene.write("app", password="hunter-2")
        await scene.passed(10)
        assert (scene.values("app"), scene.values("other")) == ({"pw": "hunter-2"}, {"pw": "hunter-2"})
        assert scene.ready("app") == before
        assert ("SyncFailed" in scene.event_series("app"), "SyncFailed" in scene.event_series("other")) == (
            False,
            False,
        )


async def test_a_second_failure_in_a_row_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.next(WEBHOOK_DOWN, when=to_a_secret, times=2)
        in_sync(scene)
        await scene.passed(10)
        assert (scene.values("app"), scene.event_series("app")["SyncFailed"]) == ({"pw": "hunter-1"}, 1)


async def test_a_recreated_definition_has_not_failed_yet(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.next(WEBHOOK_DOWN, when=to_a_secret, times=2)
        in_sync(scene)
        await scene.passed(0.001)
        scene.delete("app")
        await scene.passed(0.001)
        scene.define("app", pw="app#password")
        await scene.passed(10)
        assert (scene.values("app"), "SyncFailed" in scene.event_series("app")) == ({"pw": "hunter-1"}, False)


async def test_a_write_whose_reply_is_lost_counts_as_a_sync(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.next(fault.lose_reply(), when=to_a_secret)
        scene.edit("app", {"data": {"pw": "ZWRpdGVk"}})
        await scene.passed(10)
        assert scene.values("app") == {"pw": "hunter-1"}
        synced_at = text(scene.definition("app"), "status", "lastSyncTime")
        assert synced_at == text(scene.secret("app"), "metadata", "annotations", LAST_UPDATE)


async def test_a_creation_whose_reply_is_lost_is_found(autojump_clock: MockClock) -> None:
    """The watch does not show it either."""
    async with running(config=RARELY) as scene:
        of_secrets = fault.on_path(ends="/secrets")
        scene.faults.always(fault.silent_after(0), when=lambda request: of_secrets(request) and fault.is_watch(request))
        scene.faults.next(fault.lose_reply(), when=to_a_secret)
        in_sync(scene)
        await scene.passed(10)
        assert (scene.reason("app"), scene.writes_to_secrets()) == ("Synced", ["POST secrets app"])
        assert scene.events() == []
        assert scene.faults.count(lambda call: call == ("GET", secret_path("app"))) == 1


async def test_a_secret_that_goes_just_before_its_change_is_made_again(autojump_clock: MockClock) -> None:
    async def gone(request: httpx.Request, send: fault.Send) -> httpx.Response:
        scene.user.delete(secret_path("app"))
        return await send(request)

    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.next(gone, when=to_a_secret)
        scene.write("app", password="hunter-2")
        await scene.passed(10)
        assert (scene.values("app"), "SyncFailed" in scene.event_series("app")) == ({"pw": "hunter-2"}, False)


async def test_failures_count_only_in_a_row(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        before = scene.ready("app")
        for number in (2, 3, 4):
            scene.faults.next(WEBHOOK_DOWN, when=to_a_secret)
            scene.write("app", password=f"hunter-{number}")
            await scene.passed(10)
        assert scene.values("app") == {"pw": "hunter-4"}
        assert scene.ready("app") == before


async def test_a_read_that_fails_while_writing_counts_too(autojump_clock: MockClock) -> None:
    """A Secret of this name is there, and the watch does not show it: the answer to the creation is a conflict."""
    async with running(config=RARELY) as scene:
        scene.foreign_secret("app")
        scene.faults.always(fault.answer(504, reason="Timeout"), when=fault.on_path(ends="/secrets/app"))
        in_sync(scene)
        await scene.passed(3)
        assert scene.reason("app") == "SecretWriteFailed"
        assert scene.metric("secret_read_errors_total", "app") is not None


async def test_failed_writes_are_tried_again_with_backoff(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.faults.always(WEBHOOK_DOWN, when=to_a_secret)
        in_sync(scene)
        await scene.passed(3600)
        assert 3600 / 60 <= scene.faults.count(lambda call: call == ("POST", secret_path("").rstrip("/"))) < 150
        assert len(scene.writes_to_definitions()) == 1


async def test_no_write_is_tried_before_the_server_asked_for_it(autojump_clock: MockClock) -> None:
    busy = fault.answer(503, reason="ServiceUnavailable", message="storage moves", headers={"Retry-After": "20"})
    async with running(config=RARELY) as scene:
        scene.faults.always(busy, when=to_a_secret)
        in_sync(scene)
        await scene.passed(50)
        assert scene.faults.count(lambda call: call.method == "POST" and call.path.endswith("/secrets")) == 3
        assert scene.reason("app") == "SecretWriteFailed"


async def test_a_secret_that_changes_faster_than_it_can_be_written_is_reported(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled()

        numbers = count()

        async def overtake(request: httpx.Request, send: fault.Send) -> httpx.Response:
            await trio.sleep(0.5)
            scene.edit("app", {"metadata": {"annotations": {"another": f"{next(numbers)}"}}})
            return await send(request)

        scene.faults.always(overtake, when=to_a_secret)
        scene.write("app", password="hunter-2")
        await scene.passed(10)
        assert (scene.reason("app"), scene.message("app")) == (
            "SecretContended",
            "Secret app: others change it faster than it can be written",
        )

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-2"}, "Synced")


@pytest.mark.parametrize("code", [404, 409])
@pytest.mark.parametrize("first", [True, False])
async def test_a_denial_with_the_code_of_a_conflict_is_told_as_the_denial(
    code: int, *, first: bool, autojump_clock: MockClock
) -> None:
    """The API server passes on what code a webhook chooses."""
    words = 'admission webhook "guard.example.com" denied the request: the name is taken'
    async with running(config=RARELY) as scene:
        scene.write("app", password="hunter-1")
        if not first:
            scene.define("app", pw="app#password")
            await scene.settled()
        scene.faults.always(fault.answer(code, message=words), when=to_a_secret)
        if first:
            scene.define("app", pw="app#password")
        else:
            scene.edit("app", {"data": {"pw": "eA=="}})
        before = len(scene.faults.calls)
        await scene.passed(5)
        assert scene.reason("app") == "SecretRejected"
        assert scene.message("app").endswith(f": {words}")

        await scene.passed(600)
        assert scene.faults.count(lambda call: "/secrets" in call.path) - before < (120 if first else 60)

        scene.faults.heal()
        await scene.passed(65)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_secret_stays_while_kubernetes_refuses_what_would_replace_it(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.write("app", password="")
        keys: Object = {"ssh-privatekey": {"path": "secret/data/app", "key": "password"}}
        scene.define_as_it_is("app", {"name": "app", "keysMap": keys})
        await scene.settled()
        scene.edit("app", {"metadata": {"labels": {"foreign": "stays"}}})
        before = scene.secret("app")
        scene.change("app", type="kubernetes.io/ssh-auth")
        await scene.passed(60)
        assert (scene.secret("app"), scene.reason("app")) == (before, "SecretRejected")
        assert "data[ssh-privatekey]" in scene.message("app")

        scene.write("app", password="hunter-1")
        scene.annotate("app", **{"force-sync": "1"})
        await scene.passed(65)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("kubernetes.io/ssh-auth", "Synced")
        assert text(scene.secret("app"), "metadata", "labels", "foreign") == "stays"


async def test_a_webhook_without_dry_run_hinders_no_replacement(autojump_clock: MockClock) -> None:
    words = 'admission webhook "x.example.com" does not support dry run'
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(
            fault.answer(400, reason="BadRequest", message=words), when=lambda request: "dryRun" in request.url.params
        )
        scene.change("app", type="example.com/other")
        await scene.passed(5)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("example.com/other", "Synced")


def limit_secrets(scene: Scene, number: int) -> None:
    spec: Object = {"hard": {"count/secrets": str(number)}}
    metadata: Object = {"name": "few", "namespace": NAMESPACE}
    scene.user.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})


async def test_a_full_quota_in_which_the_present_secret_counts_hinders_no_replacement(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        limit_secrets(scene, 1)
        scene.change("app", type="example.com/other")
        await scene.passed(5)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("example.com/other", "Synced")


OLD_COUNT = fault.answer(
    403,
    reason="Forbidden",
    message='secrets "app" is forbidden: exceeded quota: few, requested: count/secrets=1, used: count/secrets=1, '
    "limited: count/secrets=1",
    headers={"Warning": '299 - "full"'},
)


def to_create_a_secret(request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path.endswith("/secrets")


def to_replace_a_secret(request: httpx.Request) -> bool:
    return to_create_a_secret(request) and "dryRun" not in request.url.params


async def test_a_replacement_that_meets_the_old_count_of_a_full_quota_is_tried_again_at_once(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        limit_secrets(scene, 1)
        scene.faults.next(OLD_COUNT, when=to_replace_a_secret, times=4)
        scene.change("app", type="example.com/other")
        await scene.passed(1)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("example.com/other", "Synced")
        assert scene.message("app") == "Secret app is in sync"
        assert "SyncFailed" not in scene.event_series("app")


async def test_a_replacement_that_a_quota_has_no_room_for_is_reported_soon(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        limit_secrets(scene, 1)
        scene.faults.always(OLD_COUNT, when=to_replace_a_secret)
        scene.change("app", type="example.com/other")
        await scene.passed(2)
        assert (scene.secret("app"), scene.reason("app")) == (None, "SecretRejected")

        scene.faults.heal()
        await scene.passed(65)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("example.com/other", "Synced")


async def interrupt_a_replacement(scene: Scene, *, seconds: float) -> None:
    """Delete a Secret with a foreign label, annotation and owner, and fail for so long to create it again."""
    in_sync(scene)
    await scene.settled()
    owners: Json = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "uid-of-theirs"}]
    ours = items(scene.secret("app"), "metadata", "ownerReferences")
    foreign: Object = {"labels": {"foreign": "stays"}, "annotations": {"example.com/foreign": "stays"}}
    scene.edit("app", {"metadata": {**foreign, "ownerReferences": [*ours, *items({"all": owners}, "all")]}})
    await scene.passed(1)
    scene.faults.always(fault.lose_request(), when=to_replace_a_secret)
    scene.change("app", type="example.com/other")
    await scene.passed(seconds)
    assert scene.secret("app") is None


def foreign_metadata(scene: Scene) -> tuple[str, str, list[str]]:
    secret = scene.secret("app")
    return (
        text(secret, "metadata", "labels", "foreign"),
        text(secret, "metadata", "annotations", "example.com/foreign"),
        [text(owner, "name") for owner in items(secret, "metadata", "ownerReferences")],
    )


@pytest.mark.parametrize("seconds", [0.1, 600])
async def test_a_replacement_that_was_interrupted_keeps_foreign_metadata(
    seconds: float, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        await interrupt_a_replacement(scene, seconds=seconds)
        scene.faults.heal()
        await scene.passed(65)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("example.com/other", "Synced")
        assert foreign_metadata(scene) == ("stays", "stays", ["app", "theirs"])


async def test_metadata_of_a_replaced_secret_is_forgotten_once_there_is_one(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await interrupt_a_replacement(scene, seconds=10)
        scene.faults.heal()
        await scene.passed(65)
        scene.edit("app", {"metadata": {"labels": {"foreign": None}}})
        await scene.passed(1)
        scene.user.delete(secret_path("app"))
        await scene.passed(65)
        assert foreign_metadata(scene) == ("", "", ["app"])


async def test_metadata_of_a_replaced_secret_is_forgotten_once_others_have_made_one(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await interrupt_a_replacement(scene, seconds=10)
        scene.foreign_secret("app")
        scene.faults.heal()
        await scene.passed(65)
        assert scene.reason("app") == "SecretNotOwned"
        scene.user.delete(secret_path("app"))
        await scene.passed(65)
        assert foreign_metadata(scene) == ("", "", ["app"])


async def test_a_new_definition_gets_no_metadata_of_what_an_earlier_one_replaced(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await interrupt_a_replacement(scene, seconds=10)
        scene.delete("app")
        scene.define("app", pw="app#password")
        scene.faults.heal()
        await scene.passed(65)
        assert foreign_metadata(scene) == ("", "", ["app"])


async def test_a_secret_stays_while_a_quota_is_exceeded_already(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        scene.foreign_secret("other")
        await scene.settled()
        before = scene.secret("app")
        limit_secrets(scene, 1)
        scene.change("app", type="example.com/other")
        await scene.passed(60)
        assert (scene.secret("app"), scene.reason("app")) == (before, "SecretRejected")
        assert scene.message("app").endswith("used: count/secrets=2, limited: count/secrets=1")

        scene.user.delete(secret_path("other"))
        await scene.passed(65)
        assert (text(scene.secret("app"), "type"), scene.reason("app")) == ("example.com/other", "Synced")


@pytest.mark.parametrize(
    ("code", "reason"), [(403, "Forbidden"), (409, "Conflict"), (409, ""), (409, "AlreadyExists"), (404, "NotFound")]
)
async def test_a_secret_stays_while_a_webhook_denies_what_would_replace_it_by_any_code(
    code: int, reason: str, autojump_clock: MockClock
) -> None:
    words = 'admission webhook "guard.example.com" denied the request: no'
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        before = scene.secret("app")
        creation = fault.on_path(ends="/secrets")
        scene.faults.always(
            fault.answer(code, reason=reason, message=words),
            when=lambda request: creation(request) and fault.is_write(request),
        )
        scene.change("app", type="example.com/other")
        await scene.passed(60)
        assert (scene.secret("app"), scene.reason("app")) == (before, "SecretRejected")
        assert scene.message("app").endswith(words)


async def test_a_definition_that_changes_under_way_is_tried_again_without_a_word(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        before = scene.ready("app")
        changed = fault.seen({"metadata": {"annotations": {"another": "one"}}})
        scene.faults.next(changed, when=fault.on_path(ends="/secretdefinitions/app"), times=3)
        scene.user.delete(secret_path("app"))
        await scene.passed(10)
        assert (scene.values("app"), scene.ready("app")) == ({"pw": "hunter-1"}, before)


async def test_a_secret_is_not_replaced_for_a_definition_that_has_changed_unseen(autojump_clock: MockClock) -> None:
    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        scene.edit("app", {"immutable": True})
        changed = fault.seen({"metadata": {"annotations": {"another": "one"}}})
        scene.faults.always(changed, when=fault.on_path(ends="/secretdefinitions/app"))
        scene.write("app", password="hunter-2")
        await scene.passed(30)
        assert (scene.values("app"), scene.writes_to_secrets()) == ({"pw": "hunter-1"}, ["POST secrets app"])

        scene.faults.heal()
        await scene.passed(65)
        assert scene.values("app") == {"pw": "hunter-2"}


async def test_a_secret_is_not_made_again_for_a_definition_that_is_gone_unseen(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled()
        assert scene.faults.count(lambda call: call == ("GET", definition_path("app"))) == 0
        of_definitions = fault.on_path(ends="/secretdefinitions")
        scene.faults.always(
            fault.silent_after(0), when=lambda request: of_definitions(request) and fault.is_watch(request)
        )
        scene.cluster.end_watches()
        await scene.passed(1)
        scene.delete("app")
        await scene.passed(10)
        assert (scene.secret("app"), scene.writes_to_secrets()) == (None, ["POST secrets app"])


@pytest.mark.parametrize("code", [500, 422, 403, 409])
async def test_a_webhook_that_prints_the_object_leaks_no_value(code: int, autojump_clock: MockClock) -> None:
    """The scene searches everything that was output, in the end."""

    async def quote(request: httpx.Request, send: fault.Send) -> httpx.Response:
        body = json.loads(await request.aread())
        shown = json.dumps(body.get("data") or base64.b64encode(b"hunter-1").decode())
        return await fault.answer(code, reason="Invalid", message=f"denied: {shown}")(request, send)

    async with running() as scene:
        in_sync(scene)
        scene.vault.write_kv("secret/data/pin", {"pin": "1"})  # too short for the scene to search
        scene.change("app", keysMap={"pin": {"path": "secret/data/pin", "key": "pin"}})
        await scene.settled()
        scene.faults.always(quote, when=to_a_secret)
        scene.write("app", password="hunter-2")
        scene.write("more", password="hunter-3")
        scene.define("more", pw="more#password")
        await scene.passed(60)
        if code != 409:
            assert "(the server's message is withheld: it may quote a value)" in scene.message("more")
            assert f"/api/v1/namespaces/{NAMESPACE}/secrets" in scene.message("app")


async def test_a_deletion_that_is_refused_with_the_object_leaks_no_value(autojump_clock: MockClock) -> None:
    data: Object = {"pw": base64.b64encode(b"canary-1").decode()}
    refusal = fault.answer(403, reason="Forbidden", message=f"denied: {json.dumps(data)}")
    async with running() as scene:
        in_sync(scene)
        await scene.settled()
        scene.faults.always(refusal, when=lambda request: request.method == "DELETE")
        scene.change("app", name="renamed")
        await scene.passed(60)
        assert scene.values("renamed") == {"pw": "hunter-1"}
        assert scene.reason("app") == "SecretWriteFailed"
        assert "withheld" in scene.message("app")
        assert [line for line in scene.log.lines if str(data["pw"]) in line] == []


async def test_a_definition_that_can_not_let_go_its_secret_says_so(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        scene.foreign_secret("app", labels={"app.kubernetes.io/managed-by": "secrets-manager"})
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.delete("app")
        scene.faults.next(fault.answer(500), when=fault.on_path(ends="/secrets/app"))
        scene.faults.always(WEBHOOK_DOWN, when=lambda request: request.method == "DELETE")
        scene.start()
        await scene.passed(5)
        assert scene.reason("app") == "SecretWriteFailed"
        assert scene.metric("secret_read_errors_total", "app") == 1

        scene.faults.heal()
        await scene.settled()
        assert scene.picture() == {"secrets": {}, "definitions": {}}


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ({"name": "app"}, []),
        ({"name": "app", "keysMap": {"pw": {"path": 5, "key": "pw"}}}, []),
        ({"name": 5}, ["app"]),
        ({"name": "../app"}, ["app"]),
        ({}, ["app"]),
    ],
)
async def test_a_broken_definition_of_the_original_is_released_with_the_secret_that_it_names(
    spec: Object, left: list[str], autojump_clock: MockClock
) -> None:
    async with running(alive=False, crd=without_schema(CRD)) as scene:
        scene.foreign_secret("app", labels={"app.kubernetes.io/managed-by": "secrets-manager"})
        break_one(scene, spec)
        scene.delete("app")
        scene.start()
        await scene.settled()
        assert scene.user.find(definition_path("app")) is None
        assert [text(each, "metadata", "name") for each in scene.user.list(secret_path(""))] == left
        line = "WARNING removed finalizer without deleting a Secret: spec has no valid name"
        assert scene.log.lines.count(f"{line} {{'namespace': 'shop', 'name': 'app'}}") == len(left)


async def test_a_broken_definition_of_the_original_takes_no_foreign_secret_along(autojump_clock: MockClock) -> None:
    async with running(alive=False, crd=without_schema(CRD)) as scene:
        theirs = scene.foreign_secret("app")
        break_one(scene, {"name": "app"})
        scene.delete("app")
        scene.start()
        await scene.settled()
        assert scene.secret("app") == theirs


def break_one(scene: Scene, spec: Object) -> None:
    """Store a definition of the original with a spec that is none."""
    whole = scene.define("app", pw="app#password", finalizers=(FINALIZER,))
    scene.cluster.storage.put(Key(DEFINITIONS, NAMESPACE, "app"), {**whole, "spec": spec})


def without_schema(crd: Object) -> Object:
    """The CRD as of a time when it let everything pass."""
    anything: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions: list[Json] = [
        {**mapping(version), "schema": {"openAPIV3Schema": anything}} for version in items(crd, "spec", "versions")
    ]
    return {**crd, "spec": {**mapping(crd, "spec"), "versions": versions}}
