"""Which keys are applied to a Secret of others, and what is said where that can't be."""

import msgspec
import pytest

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.merge_decision import (
    Known,
    differing_keys,
    keys_not_owned,
    merge_contention,
    missing,
    obstacle,
    taken_keys,
)
from secrets_manager.controller.merged_secret import (
    MAX_MANAGER,
    MERGED_SECRETS,
    MergedSecret,
    field_manager,
    merger_key,
    merger_of,
)
from secrets_manager.controller.secret import digest
from secrets_manager.controller.spec import Spec
from secrets_manager.kube.errors import FieldOwner
from secrets_manager.kube.objects import ObjectKey, ObjectMeta

DATA = {"a": b"1", "b": b"2"}
WANTED = Desired(name="app", type="Opaque", data=DATA, digest=digest(DATA))
DEFINITION = SecretDefinition(
    metadata=ObjectMeta(name="ours", namespace="ns", uid="d1"), spec=Spec(name="app", creation_policy="Merge")
)
KNOWN = Known("s1", WANTED.digest)


def current(*keys: str, uid: str = "s1", deleted: str | None = None) -> MergedSecret:
    metadata = ObjectMeta(name="app", namespace="ns", uid=uid, deletion_timestamp=deleted)
    return MergedSecret(metadata=metadata, owner="", keys={"ours": frozenset(keys), "other": frozenset({"c"})})


@pytest.mark.parametrize(
    ("secret", "known", "expected"),
    [
        (current("a", "b"), KNOWN, ""),
        (current("a", "b"), None, "ab"),
        (current("a", "b"), KNOWN._replace(uid="before"), "ab"),
        (current("a", "b"), KNOWN._replace(digest=b"before"), "ab"),
        (current("a"), KNOWN, "b"),
        (current("a", "b", "old"), KNOWN, ("old",)),
        (current(), KNOWN, "ab"),
        (current("a", "b"), KNOWN._replace(changed=frozenset("b")), "b"),
    ],
)
def test_the_keys_that_are_to_be_applied(secret: MergedSecret, known: Known | None, expected: str) -> None:
    assert differing_keys(DEFINITION, WANTED, secret, known) == {("data", key) for key in expected}


def test_where_nothing_can_be_applied() -> None:
    other = msgspec.structs.replace(DEFINITION, metadata=ObjectMeta(name="owner", namespace="ns"))
    assert obstacle(DEFINITION, WANTED, current(), None) is None
    said = [
        missing(WANTED),
        obstacle(DEFINITION, WANTED, current(deleted="now"), None),
        obstacle(DEFINITION, WANTED, current(), other),
        obstacle(DEFINITION, WANTED, current(), DEFINITION),
    ]
    assert [(problem.reason, problem.message.partition(",")[0]) for problem in said if problem] == [
        ("SecretRejected", "Secret app does not exist"),
        ("SecretRejected", "Secret app is being deleted: its keys are written once it exists again"),
        ("SecretNotOwned", "Secret app was made by SecretDefinition owner"),
        ("SecretNotOwned", "Secret app was made by this definition"),
    ]


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        ((FieldOwner(".data.a", "kubectl"),), "key a is owned by manager kubectl: "),
        ((FieldOwner(".data.tls.crt", ""),), "key tls.crt is owned by another manager: "),
        (
            (FieldOwner(".data.a", "secrets-manager-merge/other"), FieldOwner(".data.b", "helm")),
            "key a is owned by SecretDefinition other (and 1 more of its keys are owned by others): ",
        ),
    ],
)
def test_the_owner_of_a_key_is_named(owners: tuple[FieldOwner, ...], said: str) -> None:
    problem = keys_not_owned(WANTED, owners)
    assert problem.reason == "SecretNotOwned"
    assert said in problem.message


@pytest.mark.parametrize(
    ("keys", "owners", "by_admission", "said"),
    [
        ("a", (), False, "another manager changes data.a after each write: "),
        ("ab", (FieldOwner(".data.b", "helm"),), False, "manager helm changes data.b (and 1 more of its fields) after"),
        ("", (), False, "another manager changes it after each write: "),
        ("a", (), True, "an admission webhook or policy changes data.a in each write: "),
    ],
)
def test_a_manager_that_changes_a_key_again_and_again_is_named(
    keys: str, owners: tuple[FieldOwner, ...], *, by_admission: bool, said: str
) -> None:
    problem = merge_contention(WANTED, {("data", key) for key in keys}, owners, by_admission=by_admission)
    assert problem.reason == "SecretContended"
    assert said in problem.message
    assert problem.message.endswith("Meanwhile it is written once a minute")


def test_a_field_manager_is_named_after_its_definition_and_never_too_long() -> None:
    longest = "x" * (MAX_MANAGER - len(field_manager("")))
    assert (merger_of("app"), merger_of(longest)) == ("app", longest)
    one, other = merger_of(longest + "y"), merger_of(longest + "z")
    assert len({one, other, longest}) == 3
    assert {len(field_manager(each)) for each in (one, other)} == {MAX_MANAGER}
    assert merger_of(one) == one
    assert merger_key(ObjectKey("ns", longest + "y")) == ObjectKey("ns", one)


def test_a_secret_shows_which_keys_each_definition_has() -> None:
    entries = [
        {"manager": "secrets-manager-merge/a", "operation": "Apply", "fieldsV1": {"f:data": {"f:x": {}, "f:y.z": {}}}},
        {"manager": "secrets-manager-merge/b", "operation": "Apply", "fieldsV1": {"f:metadata": {}}},
        {"manager": "secrets-manager-merge/c", "operation": "Update", "fieldsV1": {"f:data": {"f:x": {}}}},
        {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:data": {".": {}, "f:w": {}}}},
    ]
    metadata = {
        "name": "app",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"secrets-manager.tuenti.io/owner": "d1", "team": "x"},
        "annotations": {"long": "x" * 1000},
        "managedFields": entries,
    }
    found = MERGED_SECRETS.decode(msgspec.json.encode({"metadata": metadata}))
    assert found.keys == {"a": {"x", "y.z"}, "b": frozenset()}
    assert (found.key, found.owner, found.metadata.resource_version) == (ObjectKey("ns", "app"), "d1", "7")
    assert (found.metadata.labels, found.metadata.annotations) == ({}, {})

    bare = MERGED_SECRETS.decode(b'{"metadata": {"name": "app"}}')
    assert (bare.owner, bare.keys) == ("", {})


def test_keys_that_were_taken_over_are_described_by_manager() -> None:
    owners = [
        FieldOwner(".data.password", "helm"),
        FieldOwner(".data.user", "secrets-manager-merge/other"),
        FieldOwner(".data.host", "helm"),
        FieldOwner(".data.port", ""),
    ]
    owned = "and this definition does from now on"
    assert taken_keys("app", owners) == [
        f"Secret app: manager helm owned 'password', 'host', {owned}",
        f"Secret app: SecretDefinition other owned 'user', {owned}",
        f"Secret app: another manager owned 'port', {owned}",
    ]
