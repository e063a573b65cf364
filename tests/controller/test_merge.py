"""creationPolicy Merge: our keys in a Secret of others, and nothing else of it."""

import base64
from collections.abc import Mapping

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.documents import Object, items, mapping, parse, text, without
from fake_kubernetes.patches import APPLY
from secrets_manager.config import ControllerConfig
from tests.controller.component import NAMESPACE, Scene, definition_path, keys_map, running, secret_path, values_of
from tests.doubles import faults as fault
from tests.managed_fields import MERGER, managers

RARELY = ControllerConfig(reconcile_period=86_400)
"""No poll of Vault comes to the rescue."""
SECRETS = ("/secrets", "/secrets/app")
LABELS: Object = {"team": "shop"}


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def theirs(scene: Scene, name: str = "app", **values: str) -> None:
    """Make a Secret of another client, with labels, an annotation and an owner."""
    owner: Object = {"apiVersion": "v1", "kind": "Secret", "name": "any", "uid": "any"}
    scene.user.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "any", "namespace": NAMESPACE}})
    owner["uid"] = text(scene.secret("any"), "metadata", "uid")
    scene.foreign_secret(
        name, data=values or {"token": "theirs"}, labels=LABELS, annotations={"note": "x"}, ownerReferences=[owner]
    )


def merge(
    scene: Scene,
    name: str = "ours",
    *,
    into: str = "app",
    annotations: Mapping[str, str] | None = None,
    namespace: str = NAMESPACE,
    **keys: str,
) -> None:
    """Define keys, as path#key, that are merged into a Secret."""
    spec: Object = {"name": into, "creationPolicy": "Merge", "keysMap": keys_map(**keys)}
    scene.define_as_it_is(name, spec, annotations={**(annotations or {})}, namespace=namespace)


def adopting() -> dict[str, str]:
    return {"secrets-manager.tuenti.io/adopt": "true"}


async def merged(scene: Scene) -> None:
    """Bring one definition to rest that merges a password into a Secret of others."""
    theirs(scene)
    scene.write("db", password="canary-1")
    merge(scene, password="db#password")
    await scene.settled()
    assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def contended(scene: Scene) -> None:
    """Let another client remove the key after each write, until that is contention."""
    for _ in range(3):
        scene.edit("app", {"data": {"password": None}})
        await scene.passed(1)
    assert scene.reason("ours") == "SecretContended"


def rest_of(secret: Object | None) -> Object:
    """Return all of a Secret but data and bookkeeping."""
    assert secret is not None
    return {
        **without(secret, "data"),
        "metadata": without(mapping(secret, "metadata"), "managedFields", "resourceVersion"),
    }


def requests(scene: Scene) -> list[httpx.Request]:
    """Return all requests but watches."""
    return [request for request in scene.faults.requests if not fault.is_watch(request)]


def is_of(request: httpx.Request, name: str) -> bool:
    return request.url.path == secret_path(name)


def is_metadata(request: httpx.Request) -> bool:
    return "PartialObjectMetadata" in request.headers["Accept"]


async def test_keys_are_written_and_nothing_else(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        before = scene.secret("app")
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, password="db#password", user="db#user")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1", "user": "canary-user"}
        assert rest_of(scene.secret("app")) == rest_of(before)
        assert managers(scene.secret("app")) == {f"{MERGER}ours": {"password", "user"}, "administrator": {"token"}}
        assert scene.writes_to_secrets() == ["PATCH secrets app"]
        assert (scene.reason("ours"), scene.message("ours")) == ("Synced", "Secret app is in sync")
        assert scene.events() == [("Synced", "ours")]
        assert text(scene.definition("ours"), "status", "lastSyncTime") != ""
        assert scene.metric("last_sync_status", "app") == 1


async def test_an_apply_names_the_secret_that_was_compared(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        compared = mapping(scene.secret("app"), "metadata")
        scene.write("db", password="canary-1")
        merge(scene, password="db#password")
        await scene.settled()
        (sent,) = applies(scene)
        assert mapping(parse(sent.content), "metadata") == {
            name: compared[name] for name in ("name", "uid", "resourceVersion")
        }


async def test_at_rest_no_request_is_sent(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        before = requests(scene)
        await scene.passed(3_600)
        assert requests(scene) == before


async def test_without_a_definition_that_merges_no_metadata_is_watched(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.write("db", password="canary-1")
        scene.define("app", password="db#password")
        await scene.settled()
        assert not any(map(is_metadata, scene.faults.requests))
        assert scene.sample("secrets_manager_watch_up", kind="SecretMetadata", namespace="") is None

        theirs(scene, "their")
        merge(scene, into="their", password="db#password")
        await scene.settled()
        assert sum(is_metadata(request) and fault.is_watch(request) for request in scene.faults.requests) == 1
        assert scene.sample("secrets_manager_watch_up", kind="SecretMetadata", namespace="") == 1


async def test_a_new_value_is_written(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await merged(scene)
        scene.write("db", password="canary-2")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-2"}


async def test_keys_leave_with_the_definition_s_keys(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, password="db#password", user="db#user")
        await scene.settled()
        scene.user.patch(definition_path("ours"), {"spec": {"keysMap": {"user": None}}})
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def test_keys_leave_with_the_definition(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs"}
        assert managers(scene.secret("app")) == {"administrator": {"token"}}
        assert "INFO keys removed {'namespace': 'shop', 'secret': 'app'}" in scene.log.lines
        assert "data" not in mapping(parse(applies(scene)[-1].content)), "or we would own that, without any key"


async def test_two_definitions_merge_into_one_secret(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        merge(scene, "second", user="db#password")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1", "user": "canary-1"}
        before = requests(scene)
        await scene.passed(120)
        assert requests(scene) == before
        reconciled = reconciles(scene)
        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "user": "canary-1"}
        assert reconciles(scene) == reconciled + 1, "the other one is not concerned"


async def test_keys_move_to_another_secret(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.change("ours", name="new")
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == (
            "SecretRejected",
            {"token": "theirs", "password": "canary-1"},
        )
        scene.foreign_secret("new", data={"more": "theirs"})
        await scene.settled()
        assert (scene.values("app"), scene.values("new")) == (
            {"token": "theirs"},
            {"more": "theirs", "password": "canary-1"},
        )
        assert text(scene.definition("ours"), "status", "secretName") == "new"


async def test_keys_stay_while_the_watch_hides_that_others_have_deleted_the_next_secret(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.foreign_secret("new")
        await scene.stop()
        unseen(scene)
        scene.start()
        await scene.passed(10)
        scene.faults.always(fault.answer(500), when=lambda request: fault.is_write(request) and is_of(request, "app"))
        scene.change("ours", name="new")
        await scene.passed(2)
        assert scene.values("new") == {"password": "canary-1"}

        scene.user.delete(secret_path("new"))
        scene.faults.heal()
        await scene.passed(60)
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}
        await scene.passed(60)
        assert scene.reason("ours") == "SecretRejected"


async def test_another_policy_takes_the_keys_out(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.change("ours", creationPolicy="Owner")
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == ("SecretNotOwned", {"token": "theirs"})


async def test_keys_leave_a_secret_that_another_controller_has_by_now(autojump_clock: MockClock) -> None:
    """Also if the definition adopts: it can't adopt that."""
    async with running(config=RARELY) as scene:
        await merged(scene)
        (owner,) = items(scene.secret("app"), "metadata", "ownerReferences")
        assert isinstance(owner, dict)
        scene.edit("app", {"metadata": {"ownerReferences": [{**owner, "controller": True}]}})
        scene.annotate("ours", adopt="true")
        scene.change("ours", creationPolicy="Owner")
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == ("SecretNotOwned", {"token": "theirs"})


async def test_a_definition_that_takes_the_whole_secret_over_keeps_the_keys(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.foreign_secret("app", data={"token": "theirs"})
        scene.write("db", password="canary-1")
        merge(scene, password="db#password", annotations=adopting())
        await scene.settled()
        seen: list[Mapping[str, str] | None] = []
        scene.cluster.storage.listeners.add(lambda: seen.append(scene.values("app")))
        scene.change("ours", creationPolicy="Owner")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-1"}
        assert all(values and values["password"] == "canary-1" for values in seen)


async def test_a_secret_that_a_definition_made_is_not_merged_into(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.write("db", password="canary-1", user="canary-user")
        scene.define("app", password="db#password")
        merge(scene, user="db#user", annotations=adopting())
        await scene.settled()
        assert scene.reason("ours") == "SecretNotOwned"
        assert "was made by SecretDefinition app" in scene.message("ours")
        scene.change("app", creationPolicy="Merge")
        await scene.settled()
        assert scene.reason("app") == "SecretNotOwned"
        assert "was made by this definition" in scene.message("app")
        assert scene.values("app") == {"password": "canary-1"}


async def test_a_secret_with_the_label_of_a_definition_in_another_namespace_is_merged_into(
    autojump_clock: MockClock,
) -> None:
    """What copies Secrets to other namespaces copies their labels."""
    async with running(config=RARELY) as scene:
        scene.write("db", password="canary-1")
        scene.define("app", namespace="other", password="db#password")
        await scene.settled()
        scene.foreign_secret("copied", labels=mapping(scene.secret("app", namespace="other"), "metadata", "labels"))
        merge(scene, into="copied", password="db#password")
        await scene.settled()

        assert scene.reason("ours") == "Synced"
        assert scene.values("copied") == {"password": "canary-1"}


async def test_the_secret_that_a_definition_owned_before_goes(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene, "their")
        scene.write("db", password="canary-1")
        scene.define("ours", secret="app", password="db#password")
        await scene.settled()
        scene.change("ours", name="their", creationPolicy="Merge")
        await scene.settled()
        assert (scene.values("app"), scene.values("their")) == (None, {"token": "theirs", "password": "canary-1"})


# Keys of others


async def test_a_key_of_others_is_left_alone(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene, password="canary-theirs", token="theirs")
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, password="db#password", user="db#user")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-theirs", "token": "theirs"}
        assert scene.reason("ours") == "SecretNotOwned"
        assert "Secret app: key password is owned by manager administrator: remove the key" in scene.message("ours")
        assert scene.writes_to_secrets() == []

        scene.annotate("ours", adopt="true")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-1", "token": "theirs", "user": "canary-user"}
        assert scene.reason("ours") == "Synced"


async def test_a_key_of_another_definition_is_left_alone(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.write("other", password="canary-2")
        merge(scene, "second", password="other#password")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}
        assert "key password is owned by SecretDefinition ours" in scene.message("second")
        scene.delete("ours")
        await scene.settled()
        assert (scene.reason("second"), scene.values("app")) == (
            "Synced",
            {"token": "theirs", "password": "canary-2"},
        )


async def test_a_key_that_others_write_alike_stays_when_the_definition_goes(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene, password="canary-1")
        scene.write("db", password="canary-1")
        merge(scene, password="db#password")
        await scene.settled()
        assert scene.reason("ours") == "Synced"
        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-1"}


async def test_a_key_that_others_take_is_theirs(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.edit("app", {"data": {"password": encoded("taken")}})
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == (
            "SecretNotOwned",
            {"token": "theirs", "password": "taken"},
        )
        assert scene.writes_to_secrets() == ["PATCH secrets app"]
        scene.edit("app", {"data": {"password": None}})
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == (
            "Synced",
            {"token": "theirs", "password": "canary-1"},
        )


async def test_a_key_that_others_remove_is_written_again(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        for number in (1, 2):
            scene.write("db", password=f"canary-{number}")
            scene.annotate("ours", poke=f"{number}")
            await scene.passed(1)
            scene.edit("app", {"data": {"password": None}})
            await scene.passed(1)
            assert scene.values("app") == {"token": "theirs", "password": f"canary-{number}"}
            assert scene.event_series("ours")["SecretReverted"] == number
        assert scene.sample("secrets_manager_controller_verification_age_seconds_gcount", reason="") is None


async def test_an_adopted_key_that_others_change_is_written_again(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        merge(scene, password="db#password", annotations=adopting())
        await scene.settled()
        scene.edit("app", {"data": {"password": encoded("taken")}})
        await scene.passed(1)
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}
        scene.user.apply_keys(secret_path("app"), {"password": encoded("again")}, by="helm", force=True)
        await scene.passed(1)
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def test_keys_that_are_taken_over_are_reported_once_with_their_managers(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene, user="theirs", password="theirs")
        scene.user.apply_keys(secret_path("app"), {"host": encoded("theirs")}, by="helm", force=True)
        scene.write("db", password="canary-1", user="canary-2", host="canary-3")
        merge(scene, password="db#password", user="db#user", host="db#host")
        await scene.settled()
        assert scene.notes("KeysAdopted") == []

        scene.annotate("ours", adopt="true")
        scene.foreign_secret("other", data={"password": "theirs"})
        merge(scene, "second", into="other", annotations=adopting(), password="db#password")
        await scene.settled()
        for _ in range(5):
            await scene.passed(400)  # later than an Event joins the series of the one before
            scene.edit("app", {"data": {"password": encoded("again"), "user": encoded("again")}})
            scene.edit("other", {"data": {"password": encoded("again")}})
        await scene.settled()
        owned = "and this definition does from now on"
        assert sorted(line for line in scene.events_of("ours") if "KeysAdopted" in line) == [
            f"Normal KeysAdopted Sync Secret app: manager administrator owned 'password', 'user', {owned}",
            f"Normal KeysAdopted Sync Secret app: manager helm owned 'host', {owned}",
        ]
        await scene.stop()
        scene.start()
        await scene.settled()
        assert len(scene.notes("KeysAdopted")) == 2 + 1


async def test_keys_that_are_taken_over_are_reported_of_each_definition_of_a_name(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.write("db", password="canary-1")
        scene.foreign_secret("app")
        for number in (1, 2):
            scene.edit("app", {"data": {"password": encoded("theirs")}})
            merge(scene, annotations=adopting(), password="db#password")
            await scene.passed(400)
            assert len(scene.notes("KeysAdopted")) == number
            scene.delete("ours")
            await scene.passed(400)


@pytest.mark.parametrize("change", ["changed", "removed"])
async def test_a_manager_that_rewrites_our_keys_is_reported_and_costs_a_write_a_minute(
    change: str, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        merge(scene, password="db#password", annotations=adopting())
        await scene.settled()
        before, statuses = len(scene.writes_to_secrets()), len(scene.writes_to_definitions())
        for number in range(600):
            value = encoded(f"theirs-{number}") if change == "changed" else None
            scene.edit("app", {"data": {"password": value}})
            await scene.passed(1)
        assert 9 <= len(scene.writes_to_secrets()) - before <= 12
        assert len(scene.writes_to_definitions()) - statuses == 3  # two reverts, and the contention
        who = "manager administrator" if change == "changed" else "another manager"
        assert scene.reason("ours") == "SecretContended"
        assert f"{who} changes data.password after each write" in scene.message("ours")

        await scene.passed(121)
        assert (scene.reason("ours"), (scene.values("app") or {})["password"]) == ("Synced", "canary-1")


async def test_the_message_follows_the_key_that_is_contested(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, password="db#password", user="db#user")
        await scene.settled()
        await contended(scene)
        assert "another manager changes data.password after each write" in scene.message("ours")

        await scene.passed(61)
        scene.edit("app", {"data": {"user": None}})
        await scene.passed(1)
        assert "another manager changes data.user after each write" in scene.message("ours")


async def test_a_manager_that_writes_other_keys_causes_no_request(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        before = (requests(scene), reconciles(scene))
        for number in range(100):
            scene.edit(
                "app", {"data": {"token": encoded(f"theirs-{number}")}, "metadata": {"labels": {"n": str(number)}}}
            )
            await scene.passed(1)
        assert (requests(scene), reconciles(scene)) == before
        assert scene.values("app") == {"token": "theirs-99", "password": "canary-1"}


async def test_admission_that_changes_our_values_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene, token="theirs", password="theirs")
        scene.faults.always(fault.admission({"data": {"password": encoded("canary-x")}}), when=is_apply)
        scene.write("db", password="canary-1")
        merge(scene, password="db#password", annotations=adopting())
        await scene.passed(300)
        owned = "Secret app: manager administrator owned 'password', and this definition does from now on"
        assert scene.notes("KeysAdopted") == [owned]
        assert scene.reason("ours") == "SecretContended"
        assert "an admission webhook or policy changes data.password in each write" in scene.message("ours")
        assert len(applies(scene)) <= 7
        scene.faults.heal()
        await scene.passed(121)
        assert (scene.reason("ours"), scene.values("app")) == (
            "Synced",
            {"token": "theirs", "password": "canary-1"},
        )


def is_apply(request: httpx.Request) -> bool:
    return str(request.headers.get("Content-Type")) == APPLY


def applies(scene: Scene) -> list[httpx.Request]:
    return [request for request in scene.faults.requests if is_apply(request)]


# The Secret itself


async def test_there_is_no_secret_yet(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.write("db", password="canary-1")
        merge(scene, password="db#password")
        await scene.settled()
        assert scene.reason("ours") == "SecretRejected"
        assert "Secret app does not exist, and creationPolicy Merge makes none" in scene.message("ours")
        assert (scene.writes_to_secrets(), applies(scene)) == ([], [])
        theirs(scene)
        await scene.passed(1)
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def test_a_secret_that_is_made_again_gets_the_keys_again(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.user.delete(secret_path("app"))
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == ("SecretRejected", None)
        scene.foreign_secret("app", data={"token": "new"})
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == ("Synced", {"token": "new", "password": "canary-1"})


async def test_a_definition_that_is_made_again_begins_without_contention(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        await contended(scene)
        scene.delete("ours")
        await scene.passed(1)
        merge(scene, password="db#password")
        await scene.passed(1)
        assert (scene.reason("ours"), (scene.values("app") or {})["password"]) == ("Synced", "canary-1")


@pytest.mark.parametrize("refusal", [None, fault.answer(422, reason="Invalid")], ids=["as it is", "for its uid"])
@pytest.mark.parametrize("again", [False, True])
async def test_a_secret_that_goes_just_before_the_write_is_not_made(
    autojump_clock: MockClock, *, again: bool, refusal: fault.Fault | None
) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")

        async def gone(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.delete(secret_path("app"))
            if again:
                scene.foreign_secret("app", data={"token": "new"})
            return await (send(request) if refusal is None else refusal(request, send))

        scene.faults.next(gone, when=is_apply)
        merge(scene, password="db#password")
        await scene.settled()
        expected = {"token": "new", "password": "canary-1"} if again else None
        assert (scene.values("app"), scene.reason("ours")) == (expected, "Synced" if again else "SecretRejected")
        assert scene.event_series("ours") == {"Synced" if again else "SyncFailed": 1}
        assert [line for line in scene.log.lines if "sync failed" in line and "does not exist" not in line] == []


async def test_a_secret_that_is_being_deleted_is_waited_for(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.foreign_secret("app", data={"token": "theirs"}, finalizers=["example.org/hold"])
        scene.user.delete(secret_path("app"))
        scene.write("db", password="canary-1")
        merge(scene, password="db#password")
        await scene.settled()
        assert scene.reason("ours") == "SecretRejected"
        assert "is being deleted" in scene.message("ours")
        assert applies(scene) == []


async def test_an_immutable_secret_refuses(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.edit("app", {"immutable": True})
        scene.write("db", password="canary-2")
        scene.annotate("ours", poke="1")
        await scene.settled()
        assert scene.reason("ours") == "SecretRejected"
        assert "immutable" in scene.message("ours")

        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}
        why = 'Secret "app" is invalid: data: Forbidden: field is immutable when `immutable` is set'
        error = f"PATCH {secret_path('app')}: 422 Invalid: {why}"
        fields = {"namespace": NAMESPACE, "secret": "app", "definition": "ours", "error": error}
        kept = "keys of a definition stay in a Secret: Kubernetes refuses to remove them"
        assert f"WARNING {kept} {fields}" in scene.log.lines
        before = requests(scene)
        scene.edit("app", {"metadata": {"labels": {"more": "theirs"}}})
        await scene.passed(3_600)
        assert requests(scene) == before


@pytest.mark.parametrize(("code", "reason"), [(403, "SecretRejected"), (500, "SecretWriteFailed")])
async def test_a_webhook_that_refuses_and_quotes_a_value(code: int, reason: str, autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        refusal = fault.answer(code, message='denied: {"password": "canary-1"}')
        scene.faults.always(refusal, when=is_apply)
        merge(scene, password="db#password")
        await scene.passed(30)
        assert scene.reason("ours") == reason
        assert "withheld" in scene.message("ours")
        scene.faults.heal()
        await scene.passed(121)
        assert scene.reason("ours") == "Synced"


# Other lives


async def test_a_new_process_applies_each_definition_once(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        written = "INFO keys written {'namespace': 'shop', 'secret': 'app'}"
        assert scene.log.lines.count(written) == 1
        await scene.stop()
        before = len(applies(scene))
        scene.start()
        await scene.settled()
        assert len(applies(scene)) - before == 1
        assert scene.writes_to_secrets() == ["PATCH secrets app"]
        assert scene.events() == [("Synced", "ours")]
        assert scene.log.lines.count(written) == 1


@pytest.mark.parametrize("name", ["ours", "o" * 200])
async def test_keys_of_a_definition_that_went_meanwhile_are_removed(name: str, autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, name, password="db#password")
        merge(scene, "second", user="db#user")
        await scene.settled()
        assert len(managers(scene.secret("app"))) == 3
        assert all(len(manager) <= 128 for manager in managers(scene.secret("app")))
        await scene.stop()
        scene.delete(name)
        scene.start()
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "user": "canary-user"}


async def test_keys_of_a_long_name_are_removed_though_a_page_of_definitions_is_too_large(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, "o" * 200, password="db#password")
        merge(scene, "second", user="db#user")
        await scene.settled()
        listed = definition_path("").rstrip("/")
        scene.faults.always(
            fault.rubbish(b" " * 17 * 1024 * 1024),
            when=lambda request: request.url.path == listed and request.url.params["limit"] != "1",
        )
        scene.delete("o" * 200)
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "user": "canary-user"}


async def test_keys_of_the_last_definition_that_merged_stay_until_another_one_merges(autojump_clock: MockClock) -> None:
    """They go with no controller up, and without a definition that merges no metadata is watched."""
    async with running(config=RARELY) as scene:
        await merged(scene)
        await scene.stop()
        scene.delete("ours")
        assert scene.user.find(definition_path("ours")) is None
        scene.start()
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}

        merge(scene, "second", into="any", password="db#password")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs"}


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_a_namespace_can_be_deleted(autojump_clock: MockClock, *, up: bool) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        if not up:
            await scene.stop()
        scene.user.delete(f"/api/v1/namespaces/{NAMESPACE}")
        await scene.settled()
        assert scene.user.find(f"/api/v1/namespaces/{NAMESPACE}") is None
        before = requests(scene)
        await scene.passed(600)
        assert requests(scene) == before


@pytest.mark.parametrize("name", ["ours", "o" * 200])
@pytest.mark.parametrize("change", [{"name": "new"}, {"name": "new", "creationPolicy": "Owner"}])
async def test_keys_of_a_definition_that_moved_meanwhile_are_removed(
    name: str, change: Object, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        merge(scene, name, password="db#password")
        await scene.settled()
        await scene.stop()
        if "creationPolicy" not in change:
            scene.foreign_secret("new")
        else:
            merge(scene, "any", into="none", password="db#password")  # so that metadata is watched
        scene.change(name, **change)
        scene.start()
        await scene.settled()
        assert (scene.values("app"), scene.values("new")) == ({"token": "theirs"}, {"password": "canary-1"})


async def test_a_definition_that_is_made_again_goes_on(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        await scene.stop()
        scene.delete("ours")
        scene.write("db", password="canary-2")
        merge(scene, password="db#password")
        scene.start()
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == (
            "Synced",
            {"token": "theirs", "password": "canary-2"},
        )


@pytest.mark.parametrize("name", ["ours", "o" * 200])
async def test_no_keys_are_removed_while_the_watch_of_definitions_is_behind(
    name: str, autojump_clock: MockClock
) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        merge(scene, "before", user="db#password")
        await scene.settled()
        before = scene.cluster.storage.revision
        merge(scene, name, password="db#password")
        await scene.settled()
        await scene.stop()

        of_definitions = fault.on_path(ends="/secretdefinitions")

        async def old(request: httpx.Request, send: fault.Send) -> httpx.Response:
            return await fault.as_of(before)(request, send)

        async def one_by_one(request: httpx.Request, send: fault.Send) -> httpx.Response:
            request.url = request.url.copy_set_param("limit", 1)
            return await send(request)

        listed = definition_path("").rstrip("/")
        scene.faults.always(one_by_one, when=lambda request: request.url.path == listed)
        scene.faults.next(old, when=of_definitions)
        scene.faults.always(fault.late(30), when=lambda request: of_definitions(request) and fault.is_watch(request))
        seen: list[Mapping[str, str] | None] = []
        scene.cluster.storage.listeners.add(lambda: seen.append(scene.values("app")))
        scene.start()
        await scene.settled()
        assert all(values and "password" in values for values in seen)
        assert scene.values("app") == {"token": "theirs", "user": "canary-1", "password": "canary-1"}
        assert bool(scene.faults.count(lambda call: call.path == listed)) is (name != "ours")


async def test_no_removal_is_tried_before_the_server_asked_for_it(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        busy = fault.answer(503, reason="ServiceUnavailable", headers={"Retry-After": "20"})
        scene.faults.next(busy, when=is_apply)
        scene.delete("ours")
        await scene.passed(19)
        assert len(applies(scene)) == 2
        await scene.settled()
        assert scene.values("app") == {"token": "theirs"}


@pytest.mark.parametrize("code", [500, 409])
async def test_keys_are_removed_once_the_server_lets_them(code: int, autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.faults.next(fault.answer(code), when=is_apply, times=3)
        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs"}


async def test_a_secret_that_is_gone_is_not_made_for_taking_keys_out(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)

        async def gone(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.delete(secret_path("app"))
            return await send(request)

        scene.faults.next(gone, when=is_apply)
        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") is None


async def test_metadata_that_can_not_be_watched_does_not_hold_the_keys_up(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        forbidden = fault.answer(403, reason="Forbidden")
        scene.faults.always(
            forbidden, when=lambda request: is_metadata(request) and request.url.path == "/api/v1/secrets"
        )
        merge(scene, password="db#password")
        await scene.passed(60)
        assert (scene.reason("ours"), scene.unsynced) == ("Synced", [])
        assert len(scene.unwatched) == 1
        assert scene.sample("secrets_manager_watch_up", kind="SecretMetadata", namespace="") == 0
        scene.faults.heal()
        await scene.passed(60)
        assert scene.unwatched == []
        scene.edit("app", {"data": {"password": None}})
        await scene.passed(1)
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def test_namespaces_that_are_excluded_are_left_alone(autojump_clock: MockClock) -> None:
    config = ControllerConfig(reconcile_period=86_400, exclude_namespaces=frozenset({NAMESPACE}))
    async with running(config=RARELY) as scene:
        await merged(scene)
        await scene.stop()
        scene.user.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app", "namespace": "other"}})
        merge(scene, "there", namespace="other", password="db#password")
        scene.start(config)
        await scene.settled()
        scene.delete("ours")
        await scene.settled()
        await scene.stop()
        scene.start()
        await scene.settled()
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def test_stripped_owners_are_no_reason_to_lose_keys(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.edit("app", {"metadata": {"managedFields": [{}]}})
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == (
            "Synced",
            {"token": "theirs", "password": "canary-1"},
        )
        assert f"{MERGER}ours" in managers(scene.secret("app"))


async def test_values_of_others_are_never_read(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        scene.edit("app", {"data": {"token": encoded("other")}})
        await scene.settled()
        reads = [each for each in scene.faults.requests if each.method == "GET" and each.url.path.endswith(SECRETS)]
        assert all("labelSelector" in each.url.params for each in reads if not is_metadata(each))
        assert values_of(scene.secret("app") or {})["token"] == "other"

        scene.foreign_secret("new")
        scene.change("ours", name="new")
        await scene.settled()
        assert scene.values("app") == {"token": "other"}
        looks = [each for each in scene.faults.requests if each.method == "GET" and is_of(each, "new")]
        assert [is_metadata(each) for each in looks] == [True] * len(looks) != []


# What is not done twice, and not too early


def reconciles(scene: Scene) -> float:
    return scene.sample_of("secrets_manager_controller_reconcile_duration_seconds", "_count")


async def test_a_write_of_ours_is_known_before_the_watch_shows_it(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        merge(scene, "second", user="db#password")
        await scene.settled()
        await scene.stop()
        unseen(scene)
        scene.start()
        await scene.passed(10)
        before, sent = reconciles(scene), len(requests(scene))
        scene.change("ours", keysMap=keys_map(more="db#password"))
        await scene.passed(5)
        assert (scene.values("app") or {}).keys() == {"token", "password", "more", "user"}
        assert reconciles(scene) - before == 1
        scene.annotate("ours", poke="1")
        await scene.passed(5)
        secrets = [each for each in requests(scene)[sent:] if each.url.path.endswith(SECRETS)]
        assert [each.method for each in secrets] == ["PATCH"]


def unseen(scene: Scene) -> None:
    """Let the watch of metadata show nothing."""
    scene.faults.always(fault.silent_after(0), when=lambda request: is_metadata(request) and fault.is_watch(request))


async def test_the_first_list_of_metadata_wakes_no_definition_whose_secret_is_known(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")

        async def slow(request: httpx.Request, send: fault.Send) -> httpx.Response:
            await trio.sleep(2)
            return await send(request)

        scene.faults.next(slow, when=lambda request: is_metadata(request) and request.url.path == "/api/v1/secrets")
        merge(scene, password="db#password")
        await scene.settled()
        assert (scene.values("app"), reconciles(scene)) == ({"token": "theirs", "password": "canary-1"}, 1)


async def test_a_secret_that_is_deleted_and_made_again_before_each_write_is_tried_again_later(
    autojump_clock: MockClock,
) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")

        async def again(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.delete(secret_path("app"))
            scene.foreign_secret("app", data={"token": "new"})
            return await send(request)

        scene.faults.next(again, when=is_apply, times=9)
        merge(scene, password="db#password")
        await scene.settled()
        assert scene.values("app") == {"token": "new", "password": "canary-1"}
        assert sum("others change it faster" in line for line in scene.log.lines) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_a_secret_that_went_unseen_is_looked_up(autojump_clock: MockClock, *, again: bool) -> None:
    """The watch shows nothing for a while."""
    async with running(config=RARELY) as scene:
        await merged(scene)
        await scene.stop()
        unseen(scene)
        scene.start()
        await scene.passed(5)
        scene.user.delete(secret_path("app"))
        if again:
            scene.foreign_secret("app", data={"token": "new"})
        scene.write("db", password="canary-2")
        scene.annotate("ours", poke="1")
        await scene.passed(2)
        expected = {"token": "new", "password": "canary-2"} if again else None
        assert (scene.values("app"), scene.reason("ours")) == (expected, "Synced" if again else "SecretRejected")


async def test_a_secret_that_comes_to_be_deleted_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.foreign_secret("app", data={"token": "theirs"}, finalizers=["example.org/hold"])
        scene.write("db", password="canary-1")
        merge(scene, password="db#password")
        await scene.settled()
        scene.user.delete(secret_path("app"))
        await scene.passed(1)
        assert scene.reason("ours") == "SecretRejected"


@pytest.mark.parametrize("name", ["ours", "o" * 200])
async def test_keys_stay_where_they_are_until_they_are_elsewhere(name: str, autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        merge(scene, name, password="db#password")
        await scene.settled()
        scene.foreign_secret("new", data={"password": "canary-theirs"})
        scene.change(name, name="new")
        await scene.settled()
        await scene.stop()
        scene.start()
        await scene.settled()
        assert scene.reason(name) == "SecretNotOwned"
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}
        assert [line for line in scene.log.lines if "retrying" in line] == []


async def test_contention_for_one_secret_is_none_for_the_next(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        await contended(scene)
        scene.foreign_secret("new")
        scene.change("ours", name="new")
        await scene.passed(1)
        assert (scene.reason("ours"), scene.values("new")) == ("Synced", {"password": "canary-1"})


async def test_a_definition_that_owns_the_secret_now_keeps_its_keys_for_good(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.foreign_secret("app", data={"token": "theirs"})
        scene.write("db", password="canary-1")
        merge(scene, password="db#password", annotations=adopting())
        merge(scene, "second", into="none", password="db#password")  # so that metadata is watched
        await scene.settled()
        scene.change("ours", creationPolicy="Owner")
        await scene.settled()
        seen: list[Mapping[str, str] | None] = []
        scene.cluster.storage.listeners.add(lambda: seen.append(scene.values("app")))
        scene.user.patch(
            definition_path("ours"), {"metadata": {"annotations": {"secrets-manager.tuenti.io/adopt": None}}}
        )
        await scene.settled()
        await scene.stop()
        scene.start()
        scene.edit("app", {"metadata": {"labels": {"more": "theirs"}}})
        await scene.settled()
        assert [values for values in seen if values != {"password": "canary-1"}] == []


@pytest.mark.parametrize("change", [{"keysMap": {"user": None}}, {"name": "old"}])
async def test_a_new_leader_that_sees_an_old_definition_removes_no_key(
    change: Object, autojump_clock: MockClock
) -> None:
    """Its watch may lead to an API server that is behind the one of the other leader."""
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.foreign_secret("old")
        scene.write("db", password="canary-1", user="canary-user")
        merge(scene, password="db#password", user="db#user")
        scene.user.patch(definition_path("ours"), {"spec": change})
        await scene.settled()
        before = scene.cluster.storage.revision
        scene.change("ours", name="app", keysMap=keys_map(password="db#password", user="db#user"))
        await scene.settled()
        whole = {"token": "theirs", "password": "canary-1", "user": "canary-user"}
        assert scene.values("app") == whole
        await scene.stop()

        of_definitions = fault.on_path(ends="/secretdefinitions")
        scene.faults.always(fault.late(5), when=lambda request: of_definitions(request) and fault.is_watch(request))
        scene.faults.next(fault.as_of(before), when=of_definitions)
        seen: list[Mapping[str, str] | None] = []
        scene.cluster.storage.listeners.add(lambda: seen.append(scene.values("app")))
        scene.start()
        await scene.settled()
        assert [values for values in seen if values != whole] == []
        assert scene.reason("ours") == "Synced"


async def test_a_webhook_that_refuses_the_removal_of_keys_is_not_quoted(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        refusal = fault.answer(403, reason="Forbidden", message='denied: {"password": "canary-1"}')
        scene.faults.next(refusal, when=is_apply, times=3)
        scene.delete("ours")
        await scene.settled()
        assert scene.values("app") == {"token": "theirs"}
        why = "the server's message is withheld: it may quote a value"
        error = f"PATCH {secret_path('app')}: 403 Forbidden ({why})"
        fields = {"namespace": NAMESPACE, "name": "ours", "error": error}
        assert f"WARNING keys of a deleted definition are not removed yet, retrying {fields}" in scene.log.lines


@pytest.mark.parametrize("owned", [False, True])
async def test_a_warning_is_reported(autojump_clock: MockClock, *, owned: bool) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene, **{"password" if owned else "token": "theirs"})
        scene.write("db", password="canary-1")
        scene.faults.always(fault.warned("careful"), when=is_apply)
        merge(scene, password="db#password", annotations=adopting())
        await scene.settled()
        assert scene.message("ours") == "Secret app is in sync, and Kubernetes warns: careful"


async def test_a_response_that_shows_another_value_is_checked_by_another_write(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        scene.faults.next(fault.seen({"data": {"password": encoded("canary-x")}}), when=is_apply)
        merge(scene, password="db#password")
        await scene.settled()
        assert (len(applies(scene)), scene.events()) == (2, [("Synced", "ours")])


async def test_a_write_that_arrives_late_replaces_no_newer_value(autojump_clock: MockClock) -> None:
    async with running() as scene, trio.open_nursery() as network:
        await merged(scene)
        scene.faults.next(fault.delayed(300, nursery=network), when=is_apply)
        for value in ("canary-2", "canary-3"):
            scene.write("db", password=value)
            await scene.passed(120)
        assert scene.values("app") == {"token": "theirs", "password": "canary-3"}
        await scene.passed(300)
        assert scene.values("app") == {"token": "theirs", "password": "canary-3"}


async def test_the_time_of_a_write_whose_response_was_lost_is_in_the_status(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        before = text(scene.definition("ours"), "status", "lastSyncTime")
        await scene.stop()
        scene.edit("app", {"data": {"password": None}})
        scene.start()
        scene.faults.next(fault.kill_after(scene.life), when=is_apply)
        await scene.over()
        await scene.passed(100)
        scene.start()
        await scene.settled()
        assert text(scene.definition("ours"), "status", "lastSyncTime") > before


async def test_a_response_without_owners_counts_as_a_write(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        await merged(scene)
        before = text(scene.definition("ours"), "status", "lastSyncTime")
        scene.faults.next(fault.seen({"metadata": {"managedFields": []}}), when=is_apply)
        scene.edit("app", {"data": {"password": None}})
        await scene.settled()
        assert (scene.reason("ours"), scene.values("app")) == ("Synced", {"token": "theirs", "password": "canary-1"})
        assert (after := text(scene.definition("ours"), "status", "lastSyncTime")) > before

        scene.annotate("ours", poke="1")
        await scene.settled()
        assert text(scene.definition("ours"), "status", "lastSyncTime") == after


async def test_a_namespace_that_is_watched_by_itself_is_known_without_a_read(autojump_clock: MockClock) -> None:
    config = ControllerConfig(reconcile_period=86_400, watch_namespaces=(NAMESPACE,))
    async with running(config=config) as scene:
        await merged(scene)
        before = len(requests(scene))
        scene.change("ours", keysMap=keys_map(more="db#password"))
        await scene.passed(5)
        secrets = [each.method for each in requests(scene)[before:] if each.url.path.endswith(SECRETS)]
        assert secrets == ["PATCH"]
        assert (scene.values("app") or {}).keys() == {"token", "password", "more"}


@pytest.mark.parametrize("code", [404, 409])
async def test_a_denial_with_the_code_of_a_conflict_is_told_as_the_denial(code: int, autojump_clock: MockClock) -> None:
    words = 'admission webhook "guard.example.com" denied the request: the name is taken'
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        scene.faults.always(fault.answer(code, message=words), when=is_apply)
        merge(scene, password="db#password")
        await scene.passed(5)
        assert scene.reason("ours") == "SecretRejected"
        assert scene.message("ours").endswith(f": {words}")

        scene.faults.heal()
        await scene.passed(65)
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}


async def test_a_read_that_fails_is_counted(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        theirs(scene)
        scene.write("db", password="canary-1")
        scene.faults.next(fault.answer(500), when=is_metadata, times=4)
        merge(scene, password="db#password")
        await scene.settled()
        assert (errors := scene.metric("secret_read_errors_total", "app"))
        assert scene.values("app") == {"token": "theirs", "password": "canary-1"}

        async def gone(request: httpx.Request, send: fault.Send) -> httpx.Response:
            scene.user.delete(secret_path("app"))
            return await send(request)

        scene.faults.next(gone, when=is_apply)
        scene.faults.next(fault.answer(500), when=lambda request: request.url.path == secret_path("app"), times=2)
        scene.change("ours", keysMap=keys_map(more="db#password"))
        await scene.settled()
        assert scene.metric("secret_read_errors_total", "app") == errors + 1


async def test_the_finalizer_of_the_original_deletes_no_secret_of_others(autojump_clock: MockClock) -> None:
    async with running(config=RARELY) as scene:
        scene.foreign_secret(
            "app", data={"token": "theirs"}, labels={"app.kubernetes.io/managed-by": "secrets-manager"}
        )
        spec: Object = {"name": "app", "creationPolicy": "Merge", "keysMap": keys_map(password="none#password")}
        scene.define_as_it_is("ours", spec, finalizers=["secret.finalizer.secrets-manager.tuenti.io"])
        scene.delete("ours")
        await scene.settled()
        assert scene.user.find(definition_path("ours")) is None
        assert scene.values("app") == {"token": "theirs"}
