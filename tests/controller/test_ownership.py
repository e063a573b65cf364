import msgspec
import pytest

from secrets_manager.controller.definition import Reason, SecretDefinition, Status
from secrets_manager.controller.ownership import (
    WRITTEN_AS,
    Claim,
    claim,
    definition_of,
    holder,
    is_copy,
    not_owned,
    orphan_of,
    owns,
)
from secrets_manager.controller.ownership import owner as owner_of
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.kube.objects import OwnerReference
from tests.gen import NOW, current_secret, owner, secret_definition, spec, synced_secret

DB = secret_definition("db")
OURS = synced_secret(DB)
ORIGINALS = {"app.kubernetes.io/managed-by": "secrets-manager"}
OF_1 = {"managedBy": "secrets-manager", "lastUpdatedAt": "2021-01-06T10.00.00Z"}
"""What the original 1.x wrote."""
ADOPT = "secrets-manager.tuenti.io/adopt"


def definition_owner(name: str, uid: str, *, api_version: str = "secrets-manager.tuenti.io/v1alpha1") -> OwnerReference:
    return OwnerReference(api_version=api_version, kind="SecretDefinition", name=name, uid=uid, controller=True)


def orphan(name: str, *, uid: str = "uid-of-its-predecessor") -> CurrentSecret:
    """A Secret that a definition of this name has made without an ownerReference."""
    ours = {**ORIGINALS, "secrets-manager.tuenti.io/owner": uid}
    return current_secret(labels=ours, annotations={"secrets-manager.tuenti.io/definition": name})


def with_owners(secret: CurrentSecret, *owners: OwnerReference) -> CurrentSecret:
    return msgspec.structs.replace(secret, metadata=msgspec.structs.replace(secret.metadata, owner_references=owners))


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        pytest.param(OURS, Claim.OWNED, id="owned"),
        pytest.param(synced_secret(DB, owners=(owner(),)), Claim.OWNED, id="owned beside others"),
        pytest.param(with_owners(OURS), Claim.OWNED, id="ownerReference removed, label left"),
        pytest.param(
            current_secret(owners=(definition_owner("db", "uid-of-its-predecessor"),)),
            Claim.OWNED,
            id="owned by an earlier definition of the same name",
        ),
        pytest.param(
            current_secret(owners=(definition_owner("db", "u", api_version="secrets-manager.tuenti.io/v1beta1"),)),
            Claim.OWNED,
            id="owned at another version of the API",
        ),
        pytest.param(current_secret(labels=ORIGINALS), Claim.LEGACY, id="the original's, by label"),
        pytest.param(
            current_secret(annotations={"secrets-manager.tuenti.io/lastUpdateTime": NOW}),
            Claim.LEGACY,
            id="the original's, by annotation, where a user's label won",
        ),
        pytest.param(current_secret(labels=OF_1), Claim.LEGACY, id="the original's of 1.x"),
        pytest.param(current_secret(labels={**OF_1, "managedBy": "x"}), Claim.NONE, id="managed by another"),
        pytest.param(
            current_secret(labels={"managedBy": "secrets-manager"}), Claim.NONE, id="with one label of 1.x alone"
        ),
        pytest.param(
            current_secret(owners=(owner("db", kind="Certificate", controller=True),), labels=OF_1),
            Claim.NONE,
            id="of 1.x once, another controller's now",
        ),
        pytest.param(orphan("db"), Claim.OWNED, id="orphaned by an earlier definition of the same name"),
        pytest.param(orphan("web"), Claim.NONE, id="orphaned by another definition"),
        pytest.param(
            with_owners(orphan("db"), owner(controller=True)), Claim.NONE, id="orphaned, another controller's by now"
        ),
        pytest.param(current_secret(), Claim.NONE, id="of others"),
        pytest.param(current_secret(labels={"app.kubernetes.io/managed-by": "Helm"}), Claim.NONE, id="Helm's"),
        pytest.param(synced_secret(secret_definition("web", secret="db")), Claim.NONE, id="another definition's"),
        pytest.param(
            current_secret(owners=(definition_owner("db", "u", api_version="example.org/v1"),)),
            Claim.NONE,
            id="owned by a kind of the same name in another group",
        ),
        pytest.param(
            current_secret(owners=(owner("db", kind="Certificate", controller=True),), labels=ORIGINALS),
            Claim.NONE,
            id="the original's once, another controller's now",
        ),
        pytest.param(
            current_secret(owners=(owner(),), labels=ORIGINALS),
            Claim.NONE,
            id="the original's once, owned by another now",
        ),
    ],
)
def test_claim_of_a_definition_to_a_secret(secret: CurrentSecret, expected: Claim) -> None:
    assert claim(DB, secret) is expected


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        pytest.param(OURS, Claim.OWNED, id="owned anyway"),
        pytest.param(current_secret(), Claim.ADOPTED, id="without an owner"),
        pytest.param(current_secret(owners=(owner(),)), Claim.ADOPTED, id="has an owner that does not manage it"),
        pytest.param(current_secret(owners=(owner(controller=True),)), Claim.NONE, id="another controller's"),
        pytest.param(orphan("web"), Claim.ADOPTED, id="orphaned by another definition"),
        pytest.param(
            synced_secret(secret_definition("web", secret="db")), Claim.NONE, id="another definition's, which keeps it"
        ),
    ],
)
def test_adopt_takes_over_what_no_other_controller_manages(secret: CurrentSecret, expected: Claim) -> None:
    assert claim(secret_definition("db", annotations={ADOPT: "true"}), secret) is expected


@pytest.mark.parametrize("secret", [OURS, with_owners(orphan("db"), owner(controller=True)), current_secret()])
def test_secret_that_has_a_controller_or_no_mark_is_no_orphan(secret: CurrentSecret) -> None:
    assert orphan_of(secret) == ""


WEB = secret_definition("web", secret="db")
MARKED = with_owners(synced_secret(WEB))
"""Its ownerReference was removed, and its label was not."""


def with_policy(policy: str) -> SecretDefinition:
    return secret_definition("web", wants=msgspec.structs.replace(spec("db"), creation_policy=policy))


@pytest.mark.parametrize(
    ("definition", "secret", "held"),
    [
        pytest.param(WEB, orphan("web"), True, id="by the annotation"),
        pytest.param(WEB, MARKED, True, id="by the label"),
        pytest.param(WEB, synced_secret(WEB), True, id="by the ownerReference"),
        pytest.param(secret_definition("other", secret="db"), orphan("web"), False, id="another one's"),
        pytest.param(
            secret_definition("web", secret="db", namespace="other"), MARKED, False, id="copied from elsewhere"
        ),
        pytest.param(secret_definition("web", secret="renamed"), orphan("web"), False, id="it has another one now"),
        pytest.param(
            secret_definition("web", secret="db", deletion_timestamp=NOW), orphan("web"), False, id="being deleted"
        ),
        pytest.param(with_policy("Merge"), orphan("web"), False, id="it merges now"),
        pytest.param(with_policy("Orphan"), orphan("web"), True, id="still an orphan"),
        pytest.param(WEB, with_owners(orphan("web"), owner(controller=True)), False, id="another controller's by now"),
    ],
)
def test_a_definition_holds_its_secret_while_it_wants_it(
    definition: SecretDefinition, secret: CurrentSecret, *, held: bool
) -> None:
    assert holder(secret, [DB, definition]) == (definition if held else None)


@pytest.mark.parametrize(
    "secret",
    [orphan("web"), MARKED, with_owners(current_secret(labels=MARKED.metadata.labels), owner())],
    ids=["orphan", "labelled", "with another owner"],
)
def test_a_held_secret_is_not_taken_over(secret: CurrentSecret) -> None:
    assert claim(secret_definition("db", annotations={ADOPT: "true"}), secret, WEB) is Claim.NONE
    assert claim(DB, secret, WEB) is Claim.NONE


def test_who_holds_a_secret_may_write_it() -> None:
    assert claim(DB, OURS, DB) is Claim.OWNED


@pytest.mark.parametrize("word", ["", "false", "True", "yes", "1"])
def test_adopt_is_true_or_nothing(word: str) -> None:
    assert claim(secret_definition("db", annotations={ADOPT: word}), current_secret()) is Claim.NONE


def test_label_of_a_definition_that_is_gone_gives_no_ownership() -> None:
    assert not owns(secret_definition("db", uid="its-successor"), with_owners(OURS))


@pytest.mark.parametrize(
    ("written_as", "status", "copied"),
    [
        pytest.param("db", Status(secret_name="other"), False, id="its own name"),
        pytest.param("other", Status(secret_name="db"), True, id="another name"),
        pytest.param(None, Status(), False, id="no name, and none in the status"),
        pytest.param(None, Status(secret_name="db"), False, id="no name, and this one in the status"),
        pytest.param(None, Status(secret_name="other"), True, id="no name, and another one in the status"),
    ],
)
def test_copy_is_known_by_the_name_that_it_was_written_under(
    written_as: str | None, status: Status, *, copied: bool
) -> None:
    marks = {} if written_as is None else {WRITTEN_AS: written_as}

    assert is_copy(secret_definition("db", status=status), current_secret(annotations=marks)) is copied


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (
            current_secret(),
            (
                "Secret db was not made by secrets-manager: delete or rename it, "
                "or annotate this definition with secrets-manager.tuenti.io/adopt=true to take it over"
            ),
        ),
        (
            orphan("web"),
            (
                "Secret db was made by SecretDefinition web: delete or rename it, "
                "or annotate this definition with secrets-manager.tuenti.io/adopt=true to take it over"
            ),
        ),
        (
            synced_secret(secret_definition("web", secret="db")),
            "Secret db is owned by SecretDefinition web: choose another spec.name, or delete that owner",
        ),
    ],
)
def test_refusal_names_the_owner_and_the_next_step(secret: CurrentSecret, message: str) -> None:
    assert not_owned(secret) == Problem(Reason.SECRET_NOT_OWNED, message)


def test_refusal_of_a_held_secret_names_the_definition_that_has_it() -> None:
    message = "Secret db is owned by SecretDefinition web: choose another spec.name, or delete that owner"
    assert not_owned(orphan("web"), WEB) == Problem(Reason.SECRET_NOT_OWNED, message)


WEBS = synced_secret(secret_definition("web", secret="db"))


@pytest.mark.parametrize(
    ("of", "rest"),
    [
        pytest.param(WEB, ": choose another spec.name, or delete that owner", id="it wants it"),
        pytest.param(
            secret_definition("web", secret="other"),
            ", which gives it up once it has Secret other: "
            "if that waits for this one, choose a third name for one of them",
            id="it wants another one",
        ),
        pytest.param(
            secret_definition("web", secret="../other"),
            ": choose another spec.name, or delete that owner",
            id="it wants what can't be",
        ),
        pytest.param(
            secret_definition("web", secret="other", deletion_timestamp=NOW),
            ", which is being deleted: wait until that is gone, or choose another spec.name",
            id="it is being deleted",
        ),
        pytest.param(
            secret_definition("web", secret="db", deletion_timestamp=NOW, finalizers=("example.com/a", "orphan")),
            ", which is being deleted (finalizers: 'example.com/a'): wait until that is gone, "
            "or choose another spec.name",
            id="its deletion is held up",
        ),
    ],
)
def test_refusal_tells_when_the_owner_gives_the_secret_up(of: SecretDefinition, rest: str) -> None:
    found = owner_of(WEBS, [DB, of])
    assert found == of
    assert not_owned(WEBS, None, found).message == f"Secret db is owned by SecretDefinition web{rest}"


def test_who_holds_a_secret_without_an_owner_does_not_control_it() -> None:
    assert owner_of(orphan("web"), [WEB]) is None
    assert owner_of(WEBS, [DB]) is None


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        pytest.param(OURS, ("shop/db",), id="owned"),
        pytest.param(
            synced_secret(secret_definition("db", secret="other", uid="u")), ("shop/db",), id="by another uid"
        ),
        pytest.param(with_owners(OURS), (), id="only the label is left"),
        pytest.param(orphan("db"), ("shop/db",), id="orphaned"),
        pytest.param(with_owners(orphan("db"), owner(controller=True)), (), id="orphaned, another controller's by now"),
        pytest.param(with_owners(OURS, owner(controller=True)), (), id="another controller's by now"),
        pytest.param(synced_secret(secret_definition("db", namespace="web")), ("web/db",), id="elsewhere"),
    ],
)
def test_the_definition_of_a_secret_is_its_managing_owner(secret: CurrentSecret, keys: tuple[str, ...]) -> None:
    assert definition_of(secret) == keys
