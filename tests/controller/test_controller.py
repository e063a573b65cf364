"""The main job, in virtual time: a definition becomes a Secret, and follows every change on either side."""

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Object, at, items, mapping, parse, text
from secrets_manager.config import ControllerConfig
from tests.controller.component import NAMESPACE, definition_path, running, secret_path
from tests.doubles import faults as fault

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
OWNER = "secrets-manager.tuenti.io/owner"
MADE_BY_THE_ORIGINAL: Object = {"app.kubernetes.io/managed-by": "secrets-manager"}
REFUSAL = (
    "Secret app was not made by secrets-manager: delete or rename it, "
    "or annotate this definition with secrets-manager.tuenti.io/adopt=true to take it over"
)


async def test_a_definition_becomes_a_secret_that_it_owns(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", user="user-1", password="hunter-1")
        uid = text(scene.define("app", pw="app#password", user="app#user"), "metadata", "uid")
        await scene.settled()

        secret = scene.secret("app")
        assert scene.values("app") == {"pw": "hunter-1", "user": "user-1"}
        assert at(secret, "type") == "Opaque"
        assert at(secret, "metadata", "labels") == {**MADE_BY_THE_ORIGINAL, OWNER: uid}
        assert at(secret, "metadata", "ownerReferences") == [
            {
                "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
                "kind": "SecretDefinition",
                "name": "app",
                "uid": uid,
                "controller": True,
            }
        ]
        (event,) = scene.user.list(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")
        assert (text(event, "reportingController"), text(event, "reportingInstance")) == (
            "secrets-manager",
            "component",
        )


async def test_a_change_in_vault_arrives_within_a_period_and_a_half(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()

        scene.write("app", password="hunter-2")
        await scene.passed(ControllerConfig().reconcile_period * 1.5)

        assert scene.values("app") == {"pw": "hunter-2"}
        assert scene.sample("secrets_manager_controller_verification_age_seconds_gcount", reason="") is None


async def test_a_path_that_many_use_is_read_once_a_period(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("shared", password="hunter-1")
        for number in range(20):
            scene.define(f"app-{number}", pw="shared#password", again="shared#password")
        await scene.settled()
        before = scene.vault.count("GET", "secret/data/shared")

        await scene.passed(600)

        assert scene.vault.count("GET", "secret/data/shared") - before == 600 / ControllerConfig().reconcile_period


async def test_a_definition_may_have_its_own_period_and_a_wrong_one_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(reconcile_period=3600)) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.change("app", refreshInterval="1m30s")
        await scene.settled()
        scene.write("app", password="hunter-2")
        await scene.passed(90 * 1.5)
        assert scene.values("app") == {"pw": "hunter-2"}

        scene.change("app", refreshInterval="soon")
        await scene.settled()
        assert scene.reason("app") == "DefinitionInvalid"
        assert scene.values("app") == {"pw": "hunter-2"}
        before = scene.vault.count("GET", "secret/data/app")
        await scene.passed(600)
        assert scene.vault.count("GET", "secret/data/app") == before


async def test_after_a_restart_a_definition_without_a_secret_comes_first(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(workers=1)) as scene:
        names = [f"app-{number}" for number in range(10)]
        for name in names:
            scene.write(name, password="hunter-1")
            scene.define(name, pw=f"{name}#password")
        await scene.settled()
        await scene.stop()
        for name in names:
            scene.write(name, password="hunter-2")
        scene.define("new", pw="app-0#password")
        del scene.door.writes[:]

        scene.start()
        await scene.settled()

        assert scene.writes_to_secrets() == ["POST secrets new", *(f"PATCH secrets {name}" for name in names)]


async def test_the_annotation_to_force_a_sync_reads_afresh_at_once_at_each_new_value(
    autojump_clock: MockClock,
) -> None:
    async with running(config=ControllerConfig(reconcile_period=3600)) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        for number in (2, 3):
            scene.write("app", password=f"hunter-{number}")
            scene.annotate("app", **{"force-sync": f"{number}"})
            await scene.passed(0.1)
            assert scene.values("app") == {"pw": f"hunter-{number}"}

        del scene.door.writes[:]
        before = scene.vault.count("GET", "secret/data/app")
        scene.annotate("app", **{"force-sync": "4"})
        await scene.passed(0.1)
        assert scene.vault.count("GET", "secret/data/app") == before + 1
        assert scene.writes() == []


async def test_all_keys_of_one_path_change_in_one_write(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", user="u-1", password="hunter-1")
        scene.define("app", pw="app#password", user="app#user")
        await scene.settled()
        del scene.door.writes[:]

        scene.write("app", user="u-2", password="hunter-2")
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-2", "user": "u-2"}
        assert scene.writes_to_secrets() == ["PATCH secrets app"]


async def test_an_edit_by_hand_is_reverted_at_once_and_what_is_foreign_stays(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()

        scene.edit("app", {"metadata": {"labels": {"theirs": "yes"}}, "data": {"pw": "ZWRpdGVk", "more": "ZWRpdGVk"}})
        await scene.passed(0.1)

        assert scene.values("app") == {"pw": "hunter-1"}
        assert text(scene.secret("app"), "metadata", "labels", "theirs") == "yes"


async def test_a_secret_deleted_by_hand_comes_back_at_once(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()

        scene.user.delete(secret_path("app"))
        await scene.passed(0.1)

        assert scene.values("app") == {"pw": "hunter-1"}


async def test_a_secret_whose_label_was_removed_by_hand_gets_it_again(autojump_clock: MockClock) -> None:
    """It leaves our watch by that, and is one of ours all the same."""
    async with running() as scene:
        scene.write("app", password="hunter-1")
        uid = text(scene.define("app", pw="app#password"), "metadata", "uid")
        await scene.settled()
        before = scene.secret("app")

        scene.edit("app", {"metadata": {"labels": {OWNER: None}}, "data": {"pw": "ZWRpdGVk"}})
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-1"}
        assert text(scene.secret("app"), "metadata", "labels", OWNER) == uid
        assert text(scene.secret("app"), "metadata", "uid") == text(before, "metadata", "uid")


async def test_a_secret_whose_owner_was_removed_by_hand_gets_it_again(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        owners = at(scene.secret("app"), "metadata", "ownerReferences")

        scene.edit("app", {"metadata": {"ownerReferences": None}})
        await scene.settled()

        assert at(scene.secret("app"), "metadata", "ownerReferences") == owners


async def test_a_new_name_brings_the_new_secret_before_the_old_one_goes(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        before = mapping(scene.secret("app"), "metadata")
        del scene.door.writes[:]

        scene.change("app", name="renamed")
        await scene.settled()

        assert scene.writes_to_secrets() == ["POST secrets renamed", "DELETE secrets app"]
        assert (scene.values("app"), scene.values("renamed")) == (None, {"pw": "hunter-1"})
        (deletion,) = [request for request in scene.faults.requests if request.method == "DELETE"]
        known = {name: before[name] for name in ("uid", "resourceVersion")}
        assert mapping(parse(deletion.content), "preconditions") == known
        lines = [line for line in scene.log.lines if line.startswith("INFO Secret ")]
        assert lines == [
            "INFO Secret written {'namespace': 'shop', 'secret': 'app'}",
            "INFO Secret written {'namespace': 'shop', 'secret': 'renamed'}",
            "INFO Secret deleted {'namespace': 'shop', 'secret': 'app'}",
        ]


async def test_a_new_name_takes_the_old_secret_along_also_where_its_label_was_removed_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        await scene.stop()

        scene.edit("app", {"metadata": {"labels": {OWNER: None}}})
        scene.change("app", name="renamed")
        for name in ("app", "renamed"):
            scene.faults.next(fault.answer(500), when=fault.on_path(ends=f"/secrets/{name}"))
        scene.start()
        await scene.settled()

        assert scene.values("renamed") == {"pw": "hunter-1"}
        assert scene.secret("app") is None
        assert scene.metric("secret_read_errors_total", "renamed") == 2


async def test_a_new_name_that_is_taken_leaves_the_old_secret_alone(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.foreign_secret("taken")
        await scene.settled()

        scene.change("app", name="taken")
        await scene.settled()

        assert scene.reason("app") == "SecretNotOwned"
        assert (scene.values("app"), scene.values("taken")) == ({"pw": "hunter-1"}, {})


async def test_a_new_type_recreates_the_secret(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", password="app#password")
        await scene.settled()
        del scene.door.writes[:]

        scene.change("app", type="kubernetes.io/basic-auth")
        await scene.settled()

        assert scene.writes_to_secrets() == ["DELETE secrets app", "POST secrets app"]
        assert text(scene.secret("app"), "type") == "kubernetes.io/basic-auth"
        assert scene.values("app") == {"password": "hunter-1"}


async def test_an_immutable_secret_is_recreated_only_when_its_data_changes(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.edit("app", {"immutable": True})
        await scene.settled()
        del scene.door.writes[:]

        await scene.passed(600)
        assert scene.writes_to_secrets() == []

        scene.write("app", password="hunter-2")
        await scene.settled()
        assert scene.writes_to_secrets() == ["DELETE secrets app", "POST secrets app"]
        assert scene.values("app") == {"pw": "hunter-2"}


async def test_a_foreign_secret_is_untouched_until_the_user_gives_it_away(autojump_clock: MockClock) -> None:
    async with running() as scene:
        theirs = scene.foreign_secret("app", data={"token": "theirs"}, labels={"theirs": "yes"})
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(600)
        assert scene.secret("app") == theirs
        assert (scene.reason("app"), scene.message("app")) == ("SecretNotOwned", REFUSAL)

        scene.annotate("app", adopt="true")
        await scene.settled()
        listed = scene.user.list(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")
        (note,) = [text(each, "note") for each in listed if text(each, "reason") == "SecretAdopted"]
        assert note.startswith("Secret app ")

        assert scene.values("app") == {"pw": "hunter-1"}
        assert text(scene.secret("app"), "metadata", "uid") == text(theirs, "metadata", "uid")
        assert text(scene.secret("app"), "metadata", "labels", "theirs") == "yes"
        assert scene.reason("app") == "Synced"


async def test_a_foreign_secret_that_goes_makes_room_within_the_longest_backoff(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.foreign_secret("app")
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(600)

        scene.user.delete(secret_path("app"))
        await scene.passed(60)

        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")


async def test_a_secret_of_the_original_is_taken_over_and_its_finalizer_released(autojump_clock: MockClock) -> None:
    async with running() as scene:
        before = scene.foreign_secret("app", data={"pw": "hunter-0"}, labels=MADE_BY_THE_ORIGINAL)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=(FINALIZER, "theirs/stays"))
        await scene.settled()

        assert scene.values("app") == {"pw": "hunter-1"}
        assert text(scene.secret("app"), "metadata", "uid") == text(before, "metadata", "uid")
        assert at(scene.definition("app"), "metadata", "finalizers") == ["theirs/stays"]


async def test_a_secret_of_the_original_1_is_taken_over_and_keeps_its_labels(autojump_clock: MockClock) -> None:
    labels: Object = {"managedBy": "secrets-manager", "lastUpdatedAt": "2021-01-06T10.00.00Z"}
    async with running() as scene:
        scene.foreign_secret("app", data={"pw": "hunter-0"}, labels=labels)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        await scene.settled()

        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert labels.items() <= mapping(scene.secret("app"), "metadata", "labels").items()
        assert not at(scene.definition("app"), "metadata", "finalizers")


@pytest.mark.parametrize("code", [404, 500, 503])
async def test_a_finalizer_that_can_not_be_removed_once_is_not_worth_a_word(
    code: int, autojump_clock: MockClock
) -> None:
    async with running(alive=False) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.faults.next(
            fault.answer(code),
            when=lambda request: request.method == "PATCH" and request.url.path == definition_path("app"),
        )
        scene.start()
        await scene.passed(120)
        assert [event for event, _ in scene.events()] == ["Synced"]


async def test_a_finalizer_that_can_not_be_removed_hides_no_outcome(autojump_clock: MockClock) -> None:
    refusal = 'admission webhook "require-labels" denied the request'
    async with running(alive=False) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.faults.always(
            fault.answer(403, reason="Forbidden", message=refusal),
            when=lambda request: request.method == "PATCH" and request.url.path == definition_path("app"),
        )
        scene.start()
        await scene.passed(600)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-1"}, "Synced")
        assert (scene.metric("last_sync_status", "app"), scene.metric("sync_errors_total", "app")) == (1, 0)
        asked = scene.faults.count(lambda call: (call.method, call.path) == ("PATCH", definition_path("app")))
        assert 10 < asked < 40
        (note,) = scene.notes("FinalizerNotRemoved")
        assert note.startswith(f"the finalizer {FINALIZER} can't be removed, and is tried again: PATCH ")
        assert note.endswith(refusal)

        scene.vault.write_kv("secret/data/app", {"other": "x"})
        await scene.passed(120)
        assert scene.reason("app") == "SourceNotFound"
        scene.write("app", password="hunter-2")
        await scene.passed(120)
        assert (scene.values("app"), scene.reason("app")) == ({"pw": "hunter-2"}, "Synced")

        scene.faults.heal()
        await scene.settled()
        assert at(scene.definition("app"), "metadata", "finalizers") is None


async def test_a_finalizer_that_can_not_be_removed_from_a_definition_that_goes_is_reported_and_tried_again(
    autojump_clock: MockClock,
) -> None:
    async with running(alive=False) as scene:
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.delete("app")
        scene.faults.always(
            fault.answer(403, reason="Forbidden", message="denied"),
            when=lambda request: request.method == "PATCH" and request.url.path == definition_path("app"),
        )
        scene.start()
        await scene.passed(600)
        assert [reason for reason, _ in scene.events()] == ["FinalizerNotRemoved"]

        scene.faults.heal()
        await scene.settled()
        assert scene.picture() == {"secrets": {}, "definitions": {}}


async def test_the_finalizer_of_the_original_stays_while_the_secret_has_no_owner(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.foreign_secret("app", data={"pw": "hunter-0"}, labels=MADE_BY_THE_ORIGINAL)
        scene.define("app", pw="missing#password", finalizers=(FINALIZER,))
        await scene.settled()

        assert at(scene.definition("app"), "metadata", "finalizers") == [FINALIZER]
        assert scene.values("app") == {"pw": "hunter-0"}


async def test_the_finalizer_of_the_original_is_honoured_on_a_definition_that_goes(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        scene.foreign_secret("app", data={"pw": "hunter-0"}, labels=MADE_BY_THE_ORIGINAL)
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.delete("app")

        scene.start()
        await scene.settled()

        assert scene.picture() == {"secrets": {}, "definitions": {}}


async def test_a_definition_whose_deletion_others_hold_up_says_so_once(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=("example.com/hold", "example.com/other"))
        scene.define("second", secret="app", pw="app#password")
        await scene.settled()
        scene.delete("app")
        await scene.settled()

        held = "is being deleted and is not synced any more: it stays until its finalizers are removed"
        assert scene.reason("app") == "DefinitionTerminating"
        assert scene.message("app") == f"this definition {held}: 'example.com/hold', 'example.com/other'"
        assert text(scene.ready("app"), "status") == "False"
        assert scene.metric("last_sync_status", "app") == 0
        row = await scene.row("app")
        assert (row.state, row.reason) == ("Failing", "DefinitionTerminating")
        assert scene.message("second") == (
            "Secret app is owned by SecretDefinition app, which is being deleted (finalizers: 'example.com/hold', "
            "'example.com/other'): wait until that is gone, or choose another spec.name"
        )

        before = scene.writes()
        scene.write("app", password="hunter-2")
        await scene.passed(600)
        await scene.stop()
        scene.start()
        await scene.passed(600)
        assert scene.writes() == before

        scene.user.patch(definition_path("app"), {"metadata": {"finalizers": ["example.com/other"]}})
        await scene.settled()
        assert scene.message("app").endswith(": 'example.com/other'")

        scene.user.patch(definition_path("app"), {"metadata": {"finalizers": None}})
        await scene.settled()
        assert (scene.reason("second"), scene.values("app")) == ("Synced", {"pw": "hunter-2"})
        assert scene.metric("last_sync_status", "app") == 1


@pytest.mark.parametrize("passing", [FINALIZER, "foregroundDeletion", "orphan"])
async def test_a_deletion_that_nobody_else_holds_up_is_not_worth_a_word(
    passing: str, autojump_clock: MockClock
) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        before = scene.ready("app")
        scene.faults.always(
            fault.answer(500), when=lambda request: request.method == "DELETE" and "/secrets/" in request.url.path
        )
        scene.user.patch(definition_path("app"), {"metadata": {"finalizers": [passing]}})
        scene.delete("app")
        await scene.passed(0.01)
        assert scene.ready("app") == before


async def test_a_deletion_that_others_hold_up_beside_the_original_says_so_too(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        await scene.passed(1)
        await scene.stop()
        scene.define("app", pw="app#password", finalizers=(FINALIZER, "example.com/hold"))
        scene.delete("app")
        scene.start()
        await scene.settled()
        assert at(scene.definition("app"), "metadata", "finalizers") == ["example.com/hold"]
        assert scene.reason("app") == "DefinitionTerminating"


async def test_definitions_that_swap_their_names_say_how_to_go_on(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        for name in ("one", "two"):
            scene.define(name, pw="app#password")
        await scene.settled()
        scene.change("one", name="two")
        scene.change("two", name="one")
        await scene.settled()
        step = "if that waits for this one, choose a third name for one of them"
        assert {scene.message(name) for name in ("one", "two")} == {
            f"Secret two is owned by SecretDefinition two, which gives it up once it has Secret one: {step}",
            f"Secret one is owned by SecretDefinition one, which gives it up once it has Secret two: {step}",
        }

        before = scene.message("one")
        scene.edit("two", {"metadata": {"labels": None}})
        await scene.settled()
        assert scene.message("one") == before

        scene.change("one", name="third")
        await scene.settled()
        scene.change("one", name="two")
        await scene.settled()
        assert {scene.reason("one"), scene.reason("two")} == {"Synced"}
        assert {text(owner, "name") for owner in items(scene.secret("one"), "metadata", "ownerReferences")} == {"two"}


async def test_the_finalizer_of_the_original_goes_where_there_is_no_secret(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.delete("app")

        scene.start()
        await scene.settled()

        assert scene.picture() == {"secrets": {}, "definitions": {}}


async def test_the_finalizer_of_the_original_takes_no_foreign_secret_along(autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        theirs = scene.foreign_secret("app")
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.delete("app")

        scene.start()
        await scene.settled()

        assert scene.secret("app") == theirs
        assert scene.user.find(definition_path("app")) is None


async def test_the_finalizer_of_the_original_takes_no_secret_of_another_definition_along(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("second", secret="app", pw="app#password")
        await scene.settled()
        await scene.stop()
        scene.edit("app", {"metadata": {"ownerReferences": None}})
        theirs = scene.secret("app")
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        scene.delete("app")

        scene.faults.always(fault.answer(500), when=lambda request: request.method == "PATCH")
        scene.start()
        await scene.passed(10)
        assert scene.secret("app") == theirs


async def test_a_finalizer_that_comes_while_that_of_the_original_goes_stays(autojump_clock: MockClock) -> None:
    both: Object = {"metadata": {"finalizers": [FINALIZER, "example.com/theirs"]}}

    async def meanwhile(request: httpx.Request, send: fault.Send) -> httpx.Response:
        scene.user.patch(definition_path("app"), both)
        return await send(request)

    async with running() as scene:
        scene.faults.next(meanwhile, when=lambda request: request.url.path == definition_path("app"))
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password", finalizers=(FINALIZER,))
        await scene.settled()

        assert at(scene.definition("app"), "metadata", "finalizers") == ["example.com/theirs"]


async def test_a_deleted_definition_takes_its_secret_along_without_any_request_of_ours(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        in_sync = {"state": "Ready", "reason": "Synced"}
        assert scene.sample("secrets_manager_controller_definitions", **in_sync) == 1
        del scene.door.writes[:]

        scene.delete("app")
        await scene.settled()

        assert scene.picture() == {"secrets": {}, "definitions": {}}
        assert scene.sample("secrets_manager_controller_definitions", **in_sync) == 0
        assert scene.writes() == []
        before = scene.vault.count("GET", "secret/data/app")
        await scene.passed(600)
        assert scene.vault.count("GET", "secret/data/app") == before


async def test_a_recreated_definition_takes_over_the_secret_of_the_one_before(autojump_clock: MockClock) -> None:
    """Kubernetes' garbage collector is late here: the Secret still names an owner that is gone."""
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        before = scene.secret("app")

        scene.cluster.cleans_up = False
        scene.delete("app")
        uid = text(scene.define("app", pw="app#password"), "metadata", "uid")
        await scene.settled()
        scene.cluster.clean_up()
        await scene.settled()

        secret = scene.secret("app")
        assert text(secret, "metadata", "uid") == text(before, "metadata", "uid")
        assert [text(owner, "uid") for owner in items(secret, "metadata", "ownerReferences")] == [uid]


async def test_two_definitions_of_one_secret_and_the_second_gets_it_when_the_first_goes(
    autojump_clock: MockClock,
) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1", other="hunter-2")
        scene.define("first", secret="app", pw="app#password")
        await scene.settled()
        scene.define("second", secret="app", pw="app#other")
        await scene.settled()
        assert scene.message("second") == (
            "Secret app is owned by SecretDefinition first: choose another spec.name, or delete that owner"
        )
        assert scene.values("app") == {"pw": "hunter-1"}

        scene.delete("first")
        await scene.settled()
        assert (scene.values("app"), scene.reason("second")) == ({"pw": "hunter-2"}, "Synced")


async def test_what_the_queue_has_done_is_reported(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(reconcile_period=600)) as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.foreign_secret("taken")
        scene.define("taken", pw="app#password")
        await scene.passed(60)

        samples = {
            (sample.name, sample.labels.get("name")): sample.value
            for family in scene.registry.collect()
            for sample in family.samples
        }
        queue = "secretdefinition"
        assert samples["workqueue_depth", queue] == samples["workqueue_unfinished_work_seconds", queue] == 0
        assert samples["workqueue_retries_total", queue] > 5
        assert samples["workqueue_adds_total", queue] == samples["workqueue_queue_duration_seconds_count", queue]
        assert samples["workqueue_adds_total", queue] == samples["workqueue_work_duration_seconds_count", queue]
        reconciles = samples["secrets_manager_controller_reconcile_duration_seconds_count", None]
        assert samples["workqueue_retries_total", queue] < reconciles <= samples["workqueue_adds_total", queue]


async def test_a_request_that_is_throttled_is_not_made_again_before_its_time(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        await scene.settled()
        scene.faults.next(
            fault.answer(429, reason="TooManyRequests", headers={"Retry-After": "30"}), when=fault.is_write
        )
        scene.define("app", pw="app#password")

        await scene.passed(29)
        assert scene.faults.count(lambda call: call.method == "POST") == 1

        await scene.passed(2)
        assert scene.values("app") == {"pw": "hunter-1"}


async def test_flags_say_how_often_sources_are_read_and_how_many_at_a_time(autojump_clock: MockClock) -> None:
    config = ControllerConfig(reconcile_period=60, list_period=0, backend_concurrency=3)
    async with running(config=config) as scene:
        scene.write("db", password="canary-1", user="canary-2")
        scene.write("smtp", password="canary-3")
        scene.define("app", password="db#password", mail="smtp#password")
        await scene.settled()
        since = len(scene.vault.requests)
        await scene.passed(600)
        read = [each.path for each in scene.vault.requests[since:] if each.path.startswith("secret/")]
        assert sorted(read) == ["secret/data/db"] * 10 + ["secret/data/smtp"] * 10
        assert scene.sample("secrets_manager_backend_concurrency") == 3
