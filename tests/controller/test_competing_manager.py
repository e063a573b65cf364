import base64

import msgspec
import pytest

from fake_kubernetes.documents import Object, parse
from fake_kubernetes.patches import merged
from secrets_manager.controller.competing_manager import ManagedSecret, contention_problem, decode
from secrets_manager.controller.decision import new_secret
from secrets_manager.controller.definition import Reason
from secrets_manager.kube.client import FIELD_MANAGER
from tests.gen import NOW, desired_secret, secret_definition

CANARY = "canary-7d1f"
DB = secret_definition("db")
DESIRED = desired_secret({"pw": CANARY, "user": "shop"})
LET = "let only one of the two manage it"
MANAGED_BY = "app.kubernetes.io/managed-by"


def seen(change: Object, *, manager: str = "", fields: Object | None = None) -> ManagedSecret:
    """Our Secret, as others have changed it."""
    ours = parse(msgspec.json.encode(new_secret(DB, DESIRED, now=NOW, restarts="")))
    entry: Object = {"manager": manager, "time": NOW, "fieldsV1": fields or {}}
    theirs = merged(merged(ours, change), {"metadata": {"managedFields": [entry]}})
    return decode(msgspec.json.encode(theirs))


@pytest.mark.parametrize(
    ("change", "fields", "expected"),
    [
        (
            {"data": {"pw": base64.b64encode(b"canary-other").decode()}},
            {"f:data": {"f:pw": {}}},
            "manager kubectl-edit changes data.pw after each write: let only one of the two manage it",
        ),
        (
            {"data": {"pw": None}},
            {},
            "another manager changes data.pw after each write: let only one of the two manage it",
        ),
        (
            {"data": {"more": "eA==", "user": None}, "metadata": {"labels": {MANAGED_BY: "Helm"}}},
            {"f:metadata": {"f:labels": {f"f:{MANAGED_BY}": {}}}},
            f"manager kubectl-edit changes data.more (and 2 more of its fields) after each write: {LET}",
        ),
        (
            {"metadata": {"labels": {MANAGED_BY: "Helm"}}},
            {"f:metadata": {"f:labels": {f"f:{MANAGED_BY}": {}}}},
            f"manager kubectl-edit changes metadata.labels[{MANAGED_BY}] after each write: {LET}",
        ),
        (
            {"metadata": {"ownerReferences": None}},
            {},
            "another manager changes metadata.ownerReferences after each write: let only one of the two manage it",
        ),
        (
            {"type": "example.com/own"},
            {"f:type": {}},
            "manager kubectl-edit changes type after each write: let only one of the two manage it",
        ),
        ({}, {}, "another manager changes it after each write: let only one of the two manage it"),
    ],
    ids=["value", "key is gone", "several", "label", "owner", "type", "nothing any more"],
)
def test_the_field_and_the_manager_are_named(change: Object, fields: Object, expected: str) -> None:
    problem = contention_problem(DB, DESIRED, seen(change, manager="kubectl-edit", fields=fields), by_admission=False)

    assert problem.reason is Reason.SECRET_CONTENDED
    assert problem.message == f"Secret db: {expected}. Meanwhile it is written once a minute"


def test_our_own_manager_is_no_other() -> None:
    ours = seen({"data": {"pw": None}}, manager=FIELD_MANAGER, fields={"f:data": {"f:pw": {}}})

    message = contention_problem(DB, DESIRED, ours, by_admission=False).message
    assert message.startswith("Secret db: another manager changes data.pw after each write")


def test_what_the_reply_to_our_own_write_shows_is_the_work_of_admission() -> None:
    problem = contention_problem(
        DB, DESIRED, seen({"data": {"more": "eA=="}}, manager="kubectl-edit"), by_admission=True
    )

    assert problem.message == (
        "Secret db: an admission webhook or policy changes data.more in each write: exempt Secrets with the label "
        "secrets-manager.tuenti.io/owner from it. Meanwhile it is written once a minute"
    )


def test_a_secret_that_is_not_there_was_deleted() -> None:
    assert contention_problem(DB, DESIRED, None, by_admission=False).message == (
        "Secret db: it is deleted after each write: find out by whom, or delete this definition. "
        "Meanwhile it is written once a minute"
    )


def test_no_value_is_kept_of_a_secret_that_is_read_with_its_managers() -> None:
    assert CANARY not in repr(seen({}))


def test_key_of_ours_differs_if_its_value_is_another_or_is_gone() -> None:
    other = base64.b64encode(b"canary-other").decode()

    assert seen({"data": {"more": "eA=="}}).differing(DESIRED.data) == frozenset()
    assert seen({"data": {"pw": other}}).differing(DESIRED.data) == {"pw"}
    assert seen({"data": {"user": None}}).differing(DESIRED.data) == {"user"}
