import base64

import msgspec
import pytest

from secrets_manager.controller.decision import (
    Create,
    Delete,
    OtherSecrets,
    Patch,
    decide,
    decide_deletion,
    decide_orphaning,
    differing_fields,
    other_secrets,
)
from secrets_manager.controller.definition import Reason, SecretDefinition, Status
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rollout_restart import RESTARTS
from secrets_manager.controller.secret import CurrentSecret, Secret
from secrets_manager.kube.objects import ObjectMeta, OwnerReference
from tests.gen import LATER, NOW, current_secret, desired_secret, owner, secret_definition, spec, synced_secret

CANARY = "canary-7d1f"
DB = secret_definition("db")
OURS = OwnerReference(
    api_version="secrets-manager.tuenti.io/v1alpha1",
    kind="SecretDefinition",
    name="db",
    uid="uid-of-db",
    controller=True,
)
OWN_LABELS = {"app.kubernetes.io/managed-by": "secrets-manager", "secrets-manager.tuenti.io/owner": "uid-of-db"}
COPIED = "secrets-manager.tuenti.io/copied"
NAME = "secrets-manager.tuenti.io/name"
UPDATED = {"secrets-manager.tuenti.io/lastUpdateTime": LATER, NAME: "db"}
ADOPTING = secret_definition("db", annotations={"secrets-manager.tuenti.io/adopt": "true"})


def changed(secret: CurrentSecret, metadata: ObjectMeta) -> CurrentSecret:
    return msgspec.structs.replace(secret, metadata=metadata)


def without_owners(secret: CurrentSecret) -> CurrentSecret:
    return changed(secret, msgspec.structs.replace(secret.metadata, owner_references=()))


def deleted(secret: CurrentSecret) -> CurrentSecret:
    return changed(secret, msgspec.structs.replace(secret.metadata, deletion_timestamp=NOW))


def annotated(secret: CurrentSecret, marks: dict[str, str]) -> CurrentSecret:
    merged = {**secret.metadata.annotations, **marks}
    return changed(secret, msgspec.structs.replace(secret.metadata, annotations=merged))


def test_secret_that_is_missing_is_created_with_all_its_marks() -> None:
    definition = secret_definition("db", secret="db-secret", labels={"team": "shop"})

    assert decide(definition, desired_secret({"pw": "x"}, name="db-secret"), None, now=NOW) == Create(
        Secret(
            api_version="v1",
            metadata=ObjectMeta(
                name="db-secret",
                namespace="shop",
                labels={"team": "shop", **OWN_LABELS},
                annotations={
                    "secrets-manager.tuenti.io/copied": "team;",
                    "secrets-manager.tuenti.io/lastUpdateTime": NOW,
                    NAME: "db-secret",
                },
                owner_references=(OURS,),
            ),
            type="Opaque",
            data={"pw": b"x"},
        )
    )


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(synced_secret(DB), id="as it was written"),
        pytest.param(
            synced_secret(DB, labels={"x": "1"}, annotations={"y": "2"}, owners=(owner(),)), id="with foreign marks"
        ),
        pytest.param(synced_secret(DB, immutable=True), id="made immutable"),
    ],
)
def test_at_rest_nothing_is_done(secret: CurrentSecret) -> None:
    assert decide(DB, desired_secret(), secret, now=LATER) is None


def test_changed_values_are_patched_and_keys_that_went_are_removed() -> None:
    current = synced_secret(DB, {"pw": "old", "gone": "old"})

    assert decide(DB, desired_secret({"pw": "new", "more": "new"}), current, now=LATER) == Patch(
        current,
        {
            "metadata": {"resourceVersion": "1", "annotations": UPDATED},
            "data": {"pw": b"new", "gone": None, "more": b"new"},
        },
        Claim.OWNED,
    )


def test_changed_labels_and_annotations_are_patched_without_sending_values() -> None:
    before = secret_definition("db", labels={"team": "shop", "tier": "1"}, annotations={"note": "x"})
    after = secret_definition("db", labels={"team": "web"})
    current = synced_secret(before, labels={"foreign": "1"})

    assert decide(after, desired_secret(), current, now=LATER) == Patch(
        current,
        {
            "metadata": {
                "resourceVersion": "1",
                "labels": {"team": "web", "tier": None},
                "annotations": {"note": None, "secrets-manager.tuenti.io/copied": "team;"} | UPDATED,
            }
        },
        Claim.OWNED,
    )


def test_marks_that_others_removed_are_restored() -> None:
    secret = synced_secret(DB)
    current = changed(secret, msgspec.structs.replace(secret.metadata, labels={}))

    assert decide(DB, desired_secret(), current, now=LATER) == Patch(
        current,
        {"metadata": {"resourceVersion": "1", "labels": OWN_LABELS, "annotations": UPDATED}},
        Claim.OWNED,
    )


def test_owner_that_others_removed_are_restored() -> None:
    current = without_owners(synced_secret(DB))

    assert decide(DB, desired_secret(), current, now=LATER) == Patch(
        current,
        {"metadata": {"resourceVersion": "1", "annotations": UPDATED, "ownerReferences": (OURS,)}},
        Claim.OWNED,
    )


def test_earlier_definition_of_the_same_name_is_replaced_as_owner_and_others_stay() -> None:
    current = synced_secret(secret_definition("db", uid="its-predecessor"), owners=(owner(),))

    assert decide(DB, desired_secret(), current, now=LATER) == Patch(
        current,
        {
            "metadata": {
                "resourceVersion": "1",
                "labels": {"secrets-manager.tuenti.io/owner": "uid-of-db"},
                "annotations": UPDATED,
                "ownerReferences": (owner(), OURS),
            }
        },
        Claim.OWNED,
    )


def test_owner_of_a_like_named_kind_in_another_group_stays() -> None:
    namesake = owner("db", kind="SecretDefinition", api_version="example.org/v1")
    current = current_secret(data={"pw": "hunter2"}, owners=(namesake,))

    decision = decide(ADOPTING, desired_secret(), current, now=LATER)

    assert decision == Patch(
        current,
        {
            "metadata": {
                "resourceVersion": "1",
                "labels": OWN_LABELS,
                "annotations": UPDATED,
                "ownerReferences": (namesake, OURS),
            }
        },
        Claim.ADOPTED,
    )


@pytest.mark.parametrize(
    ("current", "right"),
    [
        (
            current_secret(data={"pw": "hunter2"}, labels={"app.kubernetes.io/managed-by": "secrets-manager"}),
            Claim.LEGACY,
        ),
        (current_secret(data={"pw": "hunter2"}, labels={"app.kubernetes.io/managed-by": "Helm"}), Claim.ADOPTED),
    ],
)
def test_secret_that_is_taken_over_gets_our_marks_even_if_its_data_is_right(
    current: CurrentSecret, right: Claim
) -> None:
    labels = {name: text for name, text in OWN_LABELS.items() if current.metadata.labels.get(name) != text}

    assert decide(ADOPTING, desired_secret(), current, now=LATER) == Patch(
        current,
        {
            "metadata": {
                "resourceVersion": "1",
                "annotations": UPDATED,
                "labels": labels,
                "ownerReferences": (OURS,),
            }
        },
        right,
    )


def test_a_secret_that_is_being_deleted_is_waited_for() -> None:
    assert decide(DB, desired_secret(), deleted(synced_secret(DB, {"pw": "old"})), now=LATER) == Problem(
        Reason.SECRET_REJECTED, "Secret db is being deleted: it is created again once it is gone"
    )


def test_what_is_foreign_on_a_secret_moves_over_to_the_one_that_takes_its_place() -> None:
    before = synced_secret(DB, labels={"x": "1"}, annotations={"y": "2"}, owners=(owner(),))

    created = decide(DB, desired_secret(), None, now=LATER, before=before)

    assert isinstance(created, Create)
    assert created.secret.metadata.labels["x"] == "1"
    assert created.secret.metadata.annotations["y"] == "2"
    assert created.secret.metadata.owner_references == before.metadata.owner_references


@pytest.mark.parametrize(
    "current",
    [
        pytest.param(current_secret(data={"pw": "hunter2"}), id="without an owner"),
        pytest.param(current_secret(type_="kubernetes.io/tls"), id="without an owner, of another type"),
        pytest.param(current_secret(owners=(owner(controller=True),)), id="another controller's"),
        pytest.param(synced_secret(secret_definition("web", secret="db")), id="another definition's"),
        pytest.param(deleted(current_secret()), id="without an owner, being deleted"),
    ],
)
def test_secret_that_is_not_ours_is_left_alone(current: CurrentSecret) -> None:
    decision = decide(DB, desired_secret(), current, now=NOW)

    assert isinstance(decision, Problem)
    assert decision.reason is Reason.SECRET_NOT_OWNED


@pytest.mark.parametrize(
    "current",
    [
        pytest.param(synced_secret(secret_definition("db", type_="kubernetes.io/tls")), id="of another type"),
        pytest.param(synced_secret(DB, {"pw": "old"}, immutable=True), id="immutable, and its data differs"),
    ],
)
def test_what_the_api_would_not_let_us_change_is_recreated(current: CurrentSecret) -> None:
    assert decide(DB, desired_secret(), current, now=NOW) == Delete(current)


def test_secret_of_the_original_that_is_recreated_is_deleted_by_its_legacy_claim() -> None:
    current = current_secret(type_="kubernetes.io/tls", labels={"app.kubernetes.io/managed-by": "secrets-manager"})

    assert decide(DB, desired_secret(), current, now=NOW) == Delete(current, Claim.LEGACY)


def test_marks_of_an_immutable_secret_are_patched() -> None:
    current = without_owners(synced_secret(DB, immutable=True))

    assert isinstance(decide(DB, desired_secret(), current, now=NOW), Patch)


def test_secret_that_another_definition_has_is_neither_taken_over_nor_deleted() -> None:
    other = secret_definition("web", secret="db")
    current = without_owners(synced_secret(other))

    assert isinstance(decide(ADOPTING, desired_secret(), current, now=NOW), Patch)
    assert decide(ADOPTING, desired_secret(), current, now=NOW, holder=other) == Problem(
        Reason.SECRET_NOT_OWNED,
        "Secret db is owned by SecretDefinition web: choose another spec.name, or delete that owner",
    )
    assert decide_deletion(DB, current) == Delete(current, Claim.LEGACY)
    assert decide_deletion(DB, current, other) is None


@pytest.mark.parametrize(
    ("secret", "claimed"),
    [
        pytest.param(synced_secret(DB), Claim.OWNED, id="owned"),
        pytest.param(without_owners(synced_secret(DB)), Claim.OWNED, id="ownerReference removed, label left"),
        pytest.param(
            current_secret(labels={"app.kubernetes.io/managed-by": "secrets-manager"}),
            Claim.LEGACY,
            id="the original's",
        ),
        pytest.param(current_secret(), None, id="of others, that it would have adopted"),
        pytest.param(
            without_owners(synced_secret(DB, annotations={"secrets-manager.tuenti.io/definition": "db"})),
            None,
            id="orphaned",
        ),
    ],
)
def test_secret_of_a_deleted_definition_goes_if_it_was_made_for_it(
    secret: CurrentSecret, claimed: Claim | None
) -> None:
    assert decide_deletion(ADOPTING, secret) == (None if claimed is None else Delete(secret, claimed))


def test_patch_is_what_the_api_reads_as_a_merge_patch() -> None:
    current = current_secret(data={"gone": "x"}, labels={"app.kubernetes.io/managed-by": "secrets-manager"})

    decision = decide(DB, desired_secret({"pw": "hunter2"}), current, now=NOW)

    assert isinstance(decision, Patch)
    assert msgspec.json.decode(msgspec.json.encode(decision.body)) == {
        "metadata": {
            "resourceVersion": "1",
            "labels": {"secrets-manager.tuenti.io/owner": "uid-of-db"},
            "annotations": {"secrets-manager.tuenti.io/lastUpdateTime": NOW, NAME: "db"},
            "ownerReferences": [
                {
                    "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
                    "kind": "SecretDefinition",
                    "name": "db",
                    "uid": "uid-of-db",
                    "controller": True,
                }
            ],
        },
        "data": {"gone": None, "pw": base64.b64encode(b"hunter2").decode()},
    }


LABELLED = secret_definition("db", labels={"team": "shop"}, annotations={"note": "x"})


@pytest.mark.parametrize(
    ("current", "fields"),
    [
        pytest.param(None, {("metadata", "uid")}, id="there is none"),
        pytest.param(synced_secret(LABELLED, labels={"foreign": "1"}, owners=(owner(),)), set(), id="all is there"),
        pytest.param(
            synced_secret(secret_definition("db", labels=LABELLED.metadata.labels, type_="kubernetes.io/tls")),
            {("type",), ("metadata", "annotations", "note"), ("metadata", "annotations", COPIED)},
            id="type and annotations",
        ),
        pytest.param(synced_secret(LABELLED, {"pw": "old"}), {("data",)}, id="data"),
        pytest.param(
            changed(
                synced_secret(LABELLED),
                msgspec.structs.replace(synced_secret(LABELLED).metadata, labels=OWN_LABELS),
            ),
            {("metadata", "labels", "team")},
            id="a label",
        ),
        pytest.param(
            annotated(synced_secret(LABELLED), {NAME: "other"}), {("metadata", "annotations", NAME)}, id="its name"
        ),
        pytest.param(
            without_owners(synced_secret(LABELLED)), {("metadata", "ownerReferences")}, id="the owner that we are"
        ),
    ],
)
def test_what_a_secret_lacks_is_reported_by_its_fields(
    current: CurrentSecret | None, fields: set[tuple[str, ...]]
) -> None:
    assert differing_fields(LABELLED, desired_secret(), current) == fields


def test_secret_that_is_to_be_immutable_lacks_that_alone() -> None:
    desired = msgspec.structs.replace(desired_secret(), immutable=True)
    current, immutable = synced_secret(DB), synced_secret(DB, immutable=True)
    decision = decide(DB, desired, current, now=LATER)

    assert isinstance(decision, Patch)
    assert decision.body == {
        "metadata": {"resourceVersion": "1", "annotations": UPDATED},
        "immutable": True,
    }
    assert differing_fields(DB, desired, current) == {("immutable",)}
    assert (decide(DB, desired, immutable, now=LATER), differing_fields(DB, desired, immutable)) == (None, frozenset())


def renamed(name: str, metadata: ObjectMeta) -> ObjectMeta:
    return msgspec.structs.replace(metadata, name=name)


def of_an_older_version(secret: CurrentSecret) -> CurrentSecret:
    """The Secret, as it was before the name was recorded on Secrets."""
    kept = {name: text for name, text in secret.metadata.annotations.items() if name != NAME}
    return changed(secret, msgspec.structs.replace(secret.metadata, annotations=kept))


OLD = synced_secret(secret_definition("db", secret="old"))
OLDER = synced_secret(secret_definition("db", secret="older"))


@pytest.mark.parametrize("status", [Status(), Status(secret_name="old"), Status(secret_name="db")])
def test_secrets_under_names_that_are_wanted_no_more_go_whatever_the_status_says(status: Status) -> None:
    definition = secret_definition("db", status=status)

    assert other_secrets(definition, desired_secret(), [synced_secret(DB), OLD, OLDER]) == OtherSecrets(
        [Delete(OLD), Delete(OLDER)], []
    )


def test_a_secret_of_an_earlier_definition_of_the_same_name_goes_under_another_name_too() -> None:
    left = synced_secret(secret_definition("db", secret="old", uid="its-predecessor"))

    assert other_secrets(DB, desired_secret(), [left]) == OtherSecrets([Delete(left)], [])


@pytest.mark.parametrize(("uid", "goes"), [("", True), ("its-predecessor", False)])
def test_a_secret_without_an_owner_goes_unless_an_earlier_definition_has_orphaned_it(uid: str, *, goes: bool) -> None:
    made_for = secret_definition("db", secret="old", uid=uid)
    left = without_owners(synced_secret(made_for, annotations={"secrets-manager.tuenti.io/definition": "db"}))

    assert other_secrets(DB, desired_secret(), [left]) == OtherSecrets([Delete(left)] if goes else [], [])


@pytest.mark.parametrize("status", [Status(), Status(secret_name="db"), Status(secret_name="copy")])
@pytest.mark.parametrize("uid", ["", "its-predecessor"])
def test_a_copy_under_another_name_is_left_alone(status: Status, uid: str) -> None:
    secret = synced_secret(secret_definition("db", uid=uid))
    copy = changed(secret, renamed("copy", secret.metadata))

    assert other_secrets(secret_definition("db", status=status), desired_secret(), [secret, copy]) == OtherSecrets(
        [], [copy]
    )


@pytest.mark.parametrize(
    ("status", "goes"), [(Status(), True), (Status(secret_name="old"), True), (Status(secret_name="db"), False)]
)
def test_of_what_an_older_version_wrote_the_status_has_the_name_if_any(status: Status, *, goes: bool) -> None:
    old = of_an_older_version(OLD)
    expected = OtherSecrets([Delete(old)], []) if goes else OtherSecrets([], [old])

    assert other_secrets(secret_definition("db", status=status), desired_secret(), [old]) == expected


def test_what_an_older_version_wrote_is_not_written_again_for_the_lack_of_its_name() -> None:
    old = of_an_older_version(synced_secret(DB))

    assert (decide(DB, desired_secret(), old, now=LATER), differing_fields(DB, desired_secret(), old)) == (
        None,
        frozenset(),
    )


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(synced_secret(DB), id="the wanted one"),
        pytest.param(deleted(OLD), id="goes already"),
    ],
)
def test_the_wanted_secret_and_one_that_goes_already_are_none_of_the_others(secret: CurrentSecret) -> None:
    assert other_secrets(DB, desired_secret(), [secret]) == OtherSecrets([], [])


def test_secret_that_is_created_is_immutable_if_it_is_to_be_and_has_its_restarts_beside_its_annotations() -> None:
    definition = secret_definition("db", annotations={"note": "x"}, status=Status(secret_name="db"))
    desired = msgspec.structs.replace(desired_secret(), immutable=True)

    decision = decide(definition, desired, None, now=NOW, restarts="Deployment/web")

    assert isinstance(decision, Create)
    assert decision.secret.immutable is True
    assert decision.secret.metadata.annotations.items() >= {"note": "x", RESTARTS: "Deployment/web"}.items()


@pytest.mark.parametrize(
    ("pw", "restarts", "record"),
    [
        ("hunter2", "2;Deployment/web", "1;Deployment/web"),
        ("new", "2;Deployment/web", "2;Deployment/web"),
        ("new", "", ""),
    ],
)
def test_record_of_restarts_moves_over_to_a_secret_of_the_same_data_alone(pw: str, restarts: str, record: str) -> None:
    definition = secret_definition("db", status=Status(secret_name="db"))
    before = annotated(synced_secret(DB, {"pw": "hunter2"}), {RESTARTS: "1;Deployment/web"})

    decision = decide(definition, desired_secret({"pw": pw}), None, now=NOW, before=before, restarts=restarts)

    assert isinstance(decision, Create)
    assert decision.secret.metadata.annotations.get(RESTARTS, "") == record


@pytest.mark.parametrize(
    ("current", "text"),
    [
        (None, "Create(secret=Secret(shop/db, type='Opaque', keys=['pw']))"),
        (synced_secret(DB, {"pw": f"old {CANARY}"}), "Patch(shop/db, ['data', 'metadata'])"),
    ],
)
def test_repr_shows_no_value(current: CurrentSecret | None, text: str) -> None:
    assert repr(decide(DB, desired_secret({"pw": CANARY}), current, now=NOW)) == text


ORPHANING = secret_definition("db", wants=msgspec.structs.replace(spec("db"), creation_policy="Orphan"))


@pytest.mark.parametrize("immutable", [True, False])
def test_a_secret_becomes_an_orphan_by_its_metadata_alone(*, immutable: bool) -> None:
    secret = synced_secret(DB, {"pw": CANARY}, owners=(owner(),), immutable=immutable)
    patch = decide_orphaning(ORPHANING, secret, now=LATER)

    assert patch is not None
    assert patch.body.keys() - {"immutable"} == {"metadata"}
    assert patch.body.get("immutable", False) is immutable
    assert patch.body["metadata"] == {
        "resourceVersion": "1",
        "annotations": {**UPDATED, "secrets-manager.tuenti.io/definition": "db"},
        "ownerReferences": (owner(),),
    }


@pytest.mark.parametrize(
    ("definition", "secret"),
    [
        pytest.param(secret_definition("db", labels={"team": "shop"}), synced_secret(DB), id="not by its policy"),
        pytest.param(ORPHANING, without_owners(synced_secret(DB)), id="it is one"),
        pytest.param(ORPHANING, deleted(synced_secret(DB)), id="being deleted"),
        pytest.param(ORPHANING, current_secret(), id="of others"),
        pytest.param(
            msgspec.structs.replace(ADOPTING, spec=ORPHANING.spec),
            current_secret(owners=(msgspec.structs.replace(OURS, controller=False),)),
            id="to be taken over first",
        ),
        pytest.param(ORPHANING, synced_secret(secret_definition("web", secret="db")), id="of another definition"),
    ],
)
def test_no_other_secret_becomes_an_orphan(definition: SecretDefinition, secret: CurrentSecret) -> None:
    assert decide_orphaning(definition, secret, now=LATER) is None
