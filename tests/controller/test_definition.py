import msgspec
import pytest

from secrets_manager.backends.base import Source
from secrets_manager.controller.definition import (
    SECRET_DEFINITIONS,
    Condition,
    SecretDefinition,
    SourceStatus,
    Status,
    decode,
)
from secrets_manager.controller.rules import LAST_APPLIED
from secrets_manager.controller.spec import DataFrom, DataSource, InvalidSpec, Spec
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, ObjectReference, OwnerReference
from tests.gen import data_source, secret_definition

SERVED = b"""{
    "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
    "kind": "SecretDefinition",
    "metadata": {
        "name": "db", "namespace": "shop", "uid": "u-1", "resourceVersion": "42", "generation": 3,
        "creationTimestamp": "2026-02-03T04:05:06Z", "labels": {"team": "shop"},
        "managedFields": [{"manager": "kubectl"}]
    },
    "spec": {
        "name": "db-secret", "type": "kubernetes.io/basic-auth", "unknownField": {"of": ["a", "later", "version"]},
        "keysMap": {
            "username": {"path": "secret/data/db", "key": "user"},
            "password": {"path": "secret/data/db", "key": "pw", "encoding": "base64"}
        }
    },
    "status": {
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Synced", "message": "Secret db-secret is in sync",
            "lastTransitionTime": "2026-02-03T04:05:06Z", "observedGeneration": 3
        }],
        "observedGeneration": 3, "lastSyncTime": "2026-02-03T04:05:06Z", "secretName": "db-secret",
        "sources": [{"path": "secret/data/db", "version": 7}, {"path": "kv1/app"}]
    }
}"""


def ready(status: str, generation: int) -> Status:
    condition = Condition(type="Ready", status=status, observed_generation=generation)
    return Status(conditions=(condition,), observed_generation=generation)


def test_object_of_the_api_is_read_whole() -> None:
    assert decode(SERVED) == SecretDefinition(
        metadata=ObjectMeta(
            name="db",
            namespace="shop",
            uid="u-1",
            resource_version="42",
            generation=3,
            labels={"team": "shop"},
        ),
        spec=Spec(
            name="db-secret",
            type="kubernetes.io/basic-auth",
            keys_map={
                "username": DataSource(path="secret/data/db", key="user"),
                "password": DataSource(path="secret/data/db", key="pw", encoding="base64"),
            },
        ),
        status=Status(
            conditions=(
                Condition(
                    type="Ready",
                    status="True",
                    reason="Synced",
                    message="Secret db-secret is in sync",
                    last_transition_time="2026-02-03T04:05:06Z",
                    observed_generation=3,
                ),
            ),
            observed_generation=3,
            last_sync_time="2026-02-03T04:05:06Z",
            secret_name="db-secret",
            sources=(SourceStatus(path="secret/data/db", version=7), SourceStatus(path="kv1/app")),
        ),
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param("{}", "spec can't be read: name is missing", id="empty"),
        pytest.param("null", "spec can't be read: it must be a map, and is null", id="null"),
        pytest.param("[1, 2]", "spec can't be read: it must be a map, and is a list", id="no object"),
        pytest.param(
            '{"name": "db", "keysMap": {"pw": {"path": 5, "key": "pw"}}}',
            "spec can't be read: keysMap[...].path must be a text, and is a number: write it in quotes",
            id="path is a number",
        ),
        pytest.param(
            '{"name": "db", "refreshInterval": true}',
            "spec can't be read: refreshInterval must be a text, and is true or false: write it in quotes",
            id="interval is a boolean",
        ),
        pytest.param(
            '{"name": "db", "immutable": "yes"}',
            "spec can't be read: immutable must be true or false, and is a text",
            id="flag is a text",
        ),
        pytest.param(
            '{"name": "db", "sources": {"a": {"path": "x", "version": 1.5}}}',
            "spec can't be read: sources[...].version must be a number or a text, and is a number: write it in quotes",
            id="version is no integer",
        ),
        pytest.param(
            f'{{"name": "db", "dataFrom": [{",".join(["{}"] * 33)}]}}',
            "spec can't be read: dataFrom has too many entries: make several definitions with at most 32",
            id="too many documents",
        ),
        pytest.param(
            f'{{"name": "db", "dataFrom": [{{"prefix": "{"a" * 254}"}}]}}',
            "spec can't be read: dataFrom[0].prefix is too long: write at most 253 characters",
            id="long prefix",
        ),
        pytest.param(
            '{"name": "db", "rolloutRestartTargets": [{"kind": "Deployment"}]}',
            "spec can't be read: rolloutRestartTargets[0].name is missing",
            id="target without a name",
        ),
    ],
)
def test_spec_that_is_none_is_reported_and_affects_no_other(spec: str, message: str) -> None:
    raw = f'{{"metadata": {{"name": "db"}}, "spec": {spec}}}'.encode()

    invalid = decode(raw).spec

    assert isinstance(invalid, InvalidSpec)
    assert invalid.message == message
    assert decode(raw) == SecretDefinition(metadata=ObjectMeta(name="db"), spec=invalid)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ('{"name": "db"}', "db"),
        ('{"name": "db", "keysMap": {"pw": {"path": 5, "key": "pw"}}}', "db"),
        ('{"name": 5}', ""),
        ("{}", ""),
        ("null", ""),
    ],
)
def test_name_of_the_secret_is_read_where_the_rest_of_the_spec_can_not_be(spec: str, name: str) -> None:
    assert decode(f'{{"metadata": {{"name": "x"}}, "spec": {spec}}}'.encode()).spec.name == name


def test_object_without_spec_has_an_invalid_one() -> None:
    assert decode(b'{"metadata": {"name": "db"}}').spec == InvalidSpec(
        "spec is missing: write name, and keysMap or dataFrom, below spec"
    )


@pytest.mark.parametrize(
    "status", ["{}", "null", "[]", '"fine"', '{"conditions": "fine"}', '{"observedGeneration": "3"}']
)
def test_status_of_another_form_counts_as_none(status: str) -> None:
    raw = f'{{"metadata": {{"name": "db"}}, "spec": {{"name": "db", "keysMap": {{}}}}, "status": {status}}}'.encode()

    assert decode(raw) == SecretDefinition(metadata=ObjectMeta(name="db"), spec=Spec(name="db", keys_map={}))


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b'{"spec": {}}', b'{"metadata": 5}', b'{"metadata": {"name": 5}}']
)
def test_what_has_no_metadata_is_no_object(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(raw)


def test_copy_that_kubectl_keeps_is_not_kept_in_memory() -> None:
    raw = msgspec.json.encode({"metadata": {"annotations": {LAST_APPLIED: "{...}", "note": "kept"}}})

    assert decode(raw).metadata == ObjectMeta(annotations={"note": "kept"})


def test_resource_addresses_the_kind() -> None:
    assert (SECRET_DEFINITIONS.api_version, SECRET_DEFINITIONS.path("shop", "db", "status")) == (
        "secrets-manager.tuenti.io/v1alpha1",
        "/apis/secrets-manager.tuenti.io/v1alpha1/namespaces/shop/secretdefinitions/db/status",
    )
    assert SECRET_DEFINITIONS.decode(SERVED) == decode(SERVED)


def test_secret_is_owned_and_events_are_about_this_very_object() -> None:
    definition = decode(SERVED)

    assert definition.key == ObjectKey("shop", "db")
    assert definition.owner_reference == OwnerReference(
        api_version="secrets-manager.tuenti.io/v1alpha1", kind="SecretDefinition", name="db", uid="u-1", controller=True
    )
    assert definition.reference == ObjectReference(
        api_version="secrets-manager.tuenti.io/v1alpha1",
        kind="SecretDefinition",
        namespace="shop",
        name="db",
        uid="u-1",
        resource_version="42",
    )


def test_paths_that_are_named_twice_are_one_source() -> None:
    definition = secret_definition(
        keys={"crt": "secret/data/tls#crt", "key": "secret/data/tls#key", "ca": data_source("secret/data/ca#crt")}
    )

    assert definition.sources == {Source("secret/data/tls"), Source("secret/data/ca")}


@pytest.mark.parametrize("wants", [InvalidSpec("broken"), Spec(name="db", data_from=(DataFrom(source="unknown"),))])
def test_invalid_spec_has_no_sources(wants: Spec | InvalidSpec) -> None:
    assert secret_definition(wants=wants).sources == frozenset()


@pytest.mark.parametrize(("written", "meant"), [("", "Opaque"), ("Opaque", "Opaque"), ("kubernetes.io/tls",) * 2])
def test_type_is_opaque_unless_said(written: str, meant: str) -> None:
    assert Spec(name="db", keys_map={}, type=written).secret_type == meant


@pytest.mark.parametrize(
    ("status", "in_sync"),
    [
        pytest.param(Status(), False, id="never reconciled"),
        pytest.param(ready("False", 2), False, id="failed"),
        pytest.param(ready("Unknown", 2), False, id="unknown"),
        pytest.param(ready("True", 1), False, id="synced, then changed"),
        pytest.param(ready("True", 2), True, id="synced"),
        pytest.param(
            Status(conditions=(Condition(type="Approved", status="True"),), observed_generation=2),
            False,
            id="a foreign condition",
        ),
    ],
)
def test_in_sync_speaks_of_the_present_spec(status: Status, *, in_sync: bool) -> None:
    assert secret_definition(status=status, generation=2).in_sync is in_sync


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(secret_definition(status=ready("True", 1)), id="status"),
        pytest.param(secret_definition(resource_version="99"), id="resourceVersion"),
        pytest.param(secret_definition(generation=5), id="generation"),
    ],
)
def test_system_metadata_changes_no_equivalence(other: SecretDefinition) -> None:
    assert secret_definition().is_equivalent_to(other)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(secret_definition(uid="another"), id="recreated"),
        pytest.param(secret_definition(secret="other"), id="name"),
        pytest.param(secret_definition(type_="kubernetes.io/tls"), id="type"),
        pytest.param(secret_definition(keys={"pw": "secret/data/other#password"}), id="path"),
        pytest.param(
            secret_definition(keys={"pw": data_source("secret/data/db#password", encoding="text")}), id="encoding"
        ),
        pytest.param(secret_definition(wants=InvalidSpec("broken")), id="invalid"),
        pytest.param(secret_definition(labels={"team": "shop"}), id="label"),
        pytest.param(secret_definition(annotations={"note": "x"}), id="annotation, so force-sync and adopt too"),
        pytest.param(secret_definition(finalizers=("other.example/f",)), id="finalizer"),
        pytest.param(secret_definition(deletion_timestamp="2026-02-03T04:05:06Z"), id="deletion"),
    ],
)
def test_equivalence_ends_with(other: SecretDefinition) -> None:
    assert not secret_definition().is_equivalent_to(other)
