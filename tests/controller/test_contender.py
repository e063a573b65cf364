import base64

import msgspec
import pytest

from secrets_manager.controller.contender import Contested, contended, decode
from secrets_manager.controller.decision import whole
from secrets_manager.controller.definition import Reason
from secrets_manager.demo.api.documents import Object, parse
from secrets_manager.demo.api.patches import merged
from tests.gen import NOW, secret_definition, wish

CANARY = "canary-7d1f"
DB = secret_definition("db")
DESIRED = wish({"pw": CANARY, "user": "shop"})
LET = "let only one of the two manage it"
MANAGED_BY = "app.kubernetes.io/managed-by"


def seen(change: Object, *, manager: str = "", fields: Object | None = None) -> Contested:
    """Our Secret, as somebody has changed it."""
    ours = parse(msgspec.json.encode(whole(DB, DESIRED, now=NOW)))
    entry: Object = {"manager": manager, "time": NOW, "fieldsV1": fields or {}}
    theirs = merged(merged(ours, change), {"metadata": {"managedFields": [entry]}})
    return decode(msgspec.json.encode(theirs))


@pytest.mark.parametrize(
    ("change", "fields", "told"),
    [
        (
            {"data": {"pw": base64.b64encode(b"canary-other").decode()}},
            {"f:data": {"f:pw": {}}},
            "manager kubectl-edit changes data.pw after each write: let only one of the two manage it",
        ),
        ({"data": {"pw": None}}, {}, "somebody changes data.pw after each write: let only one of the two manage it"),
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
            "somebody changes metadata.ownerReferences after each write: let only one of the two manage it",
        ),
        (
            {"type": "example.com/own"},
            {"f:type": {}},
            "manager kubectl-edit changes type after each write: let only one of the two manage it",
        ),
        ({}, {}, "somebody changes it after each write: let only one of the two manage it"),
    ],
    ids=["value", "key is gone", "several", "label", "owner", "type", "nothing any more"],
)
def test_the_field_and_the_manager_are_named(change: Object, fields: Object, told: str) -> None:
    problem = contended(DB, DESIRED, seen(change, manager="kubectl-edit", fields=fields), by_admission=False)

    assert problem.reason is Reason.SECRET_CONTENDED
    assert problem.message == f"Secret db: {told}. Meanwhile it is written once a minute"


def test_what_the_reply_to_our_own_write_shows_is_the_work_of_admission() -> None:
    problem = contended(DB, DESIRED, seen({"data": {"more": "eA=="}}, manager="kubectl-edit"), by_admission=True)

    assert problem.message == (
        "Secret db: an admission webhook or policy changes data.more in each write: exempt Secrets with the label "
        "secrets-manager.tuenti.io/owner from it. Meanwhile it is written once a minute"
    )


def test_a_secret_that_is_not_there_was_deleted() -> None:
    assert contended(DB, DESIRED, None, by_admission=False).message == (
        "Secret db: somebody deletes it after each write: find out who, or delete this definition. "
        "Meanwhile it is written once a minute"
    )


def test_no_value_is_kept_of_a_secret_that_is_looked_at_closely() -> None:
    assert CANARY not in repr(seen({}))
