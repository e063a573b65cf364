import msgspec
import pytest

from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret, Secret, decode, digest
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, OwnerReference
from tests.gen import current_secret, owner

CANARY = "canary-7d1f"

SECRET = Secret(
    api_version="v1",
    metadata=ObjectMeta(name="db", namespace="shop", labels={OWNER: "u-1"}),
    type="Opaque",
    data={"pw": CANARY.encode()},
)


def test_secret_is_written_in_the_form_of_the_api() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SECRET)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "shop", "labels": {"secrets-manager.tuenti.io/owner": "u-1"}},
        "type": "Opaque",
        "data": {"pw": "Y2FuYXJ5LTdkMWY="},
    }


def test_secret_is_read_without_its_values() -> None:
    raw = b"""{
        "apiVersion": "v1", "kind": "Secret", "immutable": true, "type": "kubernetes.io/basic-auth",
        "metadata": {
            "name": "db", "namespace": "shop", "uid": "u-9", "resourceVersion": "7",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u-2"}]
        },
        "data": {"password": "aHVudGVyMg==", "empty": ""}
    }"""

    assert decode(raw) == CurrentSecret(
        metadata=ObjectMeta(
            name="db",
            namespace="shop",
            uid="u-9",
            resource_version="7",
            owner_references=(OwnerReference(api_version="apps/v1", kind="Deployment", name="web", uid="u-2"),),
        ),
        type="kubernetes.io/basic-auth",
        immutable=True,
        keys=("password", "empty"),
        digest=digest({"password": b"hunter2", "empty": b""}),
    )


@pytest.mark.parametrize("data", ["", ', "data": null', ', "data": {}'])
def test_secret_without_data_is_an_empty_one(data: str) -> None:
    raw = f'{{"metadata": {{"name": "db"}}, "type": "Opaque"{data}}}'.encode()

    assert decode(raw) == CurrentSecret(
        metadata=ObjectMeta(name="db"), type="Opaque", immutable=False, keys=(), digest=digest({})
    )


def test_what_was_written_reads_back_equal() -> None:
    back = SECRETS.decode(msgspec.json.encode(SECRET))

    assert (back.key, back.type, back.keys, back.digest) == (
        ObjectKey("shop", "db"),
        "Opaque",
        ("pw",),
        digest(SECRET.data),
    )


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", f'{{"metadata": {{}}, "data": {{"pw": "!{CANARY}"}}}}'.encode()])
def test_what_is_no_secret_is_an_error_that_shows_no_value(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError) as failure:
        decode(raw)

    assert CANARY not in str(failure.value)


def test_digests_are_equal_for_equal_data_in_any_order() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})


def test_digests_differ_where_anything_differs() -> None:
    different: list[dict[str, bytes]] = [
        {},
        {"": b""},
        {"a": b""},
        {"a": b"1"},
        {"a": b"2"},
        {"b": b"1"},
        {"a1": b""},
        {"a": b"1", "b": b""},
        {"a": b"", "b": b"1"},
        {"a": b"1b"},
        {"ab": b"1"},
    ]

    assert len({digest(data) for data in different}) == len(different)


def test_no_repr_shows_a_value() -> None:
    raw = msgspec.json.encode(SECRET)

    assert repr(SECRET) == "Secret(shop/db, type='Opaque', keys=['pw'])"
    assert [text for text in (CANARY, "Y2FuYXJ5LTdkMWY=") if text in repr(decode(raw))] == []


@pytest.mark.parametrize(
    ("owners", "controller"),
    [
        ((), None),
        ((owner("web"),), None),
        ((owner("web"), owner("db", controller=True)), owner("db", controller=True)),
    ],
)
def test_controller_is_the_owner_that_manages_it(
    owners: tuple[OwnerReference, ...], controller: OwnerReference | None
) -> None:
    assert current_secret(owners=owners).controller == controller


def test_secrets_are_of_the_core_group() -> None:
    assert (SECRETS.api_version, SECRETS.path("shop", "db")) == ("v1", "/api/v1/namespaces/shop/secrets/db")


def test_copy_of_the_values_that_kubectl_keeps_is_dropped_too() -> None:
    copy = f'{{"data": {{"pw": "{CANARY}"}}}}'
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": copy, "note": "kept"}

    current = decode(msgspec.json.encode({"metadata": {"name": "db", "annotations": annotations}}))

    assert current.metadata == ObjectMeta(name="db", annotations={"note": "kept"})
