"""The API's validation of Secrets, Leases and Events."""

import base64

import pytest

from fake_kubernetes.documents import Json, Object, with_metadata, without
from tests.contracts.kube_api import Api
from tests.contracts.widgets import event, secret

MEBIBYTE = 1024 * 1024


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def test_string_data_is_folded_in_and_the_type_is_opaque(api: Api) -> None:
    made = await api.post(api.secrets, secret(data={"a": "MQ==", "b": "MQ=="}, stringData={"b": "2", "c": "3"}))
    assert {name: made.at(name) for name in ("type", "data", "stringData")} == {
        "type": "Opaque",
        "data": {"a": "MQ==", "b": "Mg==", "c": "Mw=="},
        "stringData": None,
    }


async def test_an_empty_secret_has_no_data_and_a_null_value_is_empty(api: Api) -> None:
    assert (await api.post(api.secrets, secret("empty", data={}))).at("data") is None
    assert (await api.post(api.secrets, secret("null", data={"a": None}))).at("data") == {"a": ""}


@pytest.mark.parametrize("key", ["a b", "ä", "a/b", "..", "..a", "", "x" * 254, "a\n"])
async def test_a_key_that_can_not_be_a_file_name_is_invalid(api: Api, key: str) -> None:
    made = await api.post(api.secrets, secret(data={key: ""}))
    assert (made.outcome, made.causes) == ((422, "Invalid"), {(f"data[{key}]", "FieldValueInvalid")})


@pytest.mark.parametrize("key", ["a", "A.b-c_1", "a..", "-", "x" * 253])
async def test_a_key_that_can_be(api: Api, key: str) -> None:
    assert (await api.post(api.secrets, secret(data={key: ""}))).code == 201


@pytest.mark.parametrize("data", [{"a": "%%%"}, {"a": "abc"}, {"a": 1}, ["a"], "a", {"a": {"b": ""}}])
async def test_data_that_is_not_base64_in_a_map_is_a_bad_request(api: Api, data: Json) -> None:
    assert (await api.post(api.secrets, secret(data=data))).outcome == (400, "BadRequest")


@pytest.mark.parametrize(
    ("kind", "data", "field", "reason"),
    [
        ("kubernetes.io/tls", {"tls.crt": "eA=="}, "data[tls.key]", "FieldValueRequired"),
        ("kubernetes.io/tls", {"tls.key": "eA=="}, "data[tls.crt]", "FieldValueRequired"),
        ("kubernetes.io/dockerconfigjson", {"a": "eA=="}, "data[.dockerconfigjson]", "FieldValueRequired"),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": encoded(b"x")},
            "data[.dockerconfigjson]",
            "FieldValueInvalid",
        ),
    ],
)
async def test_a_type_demands_its_keys(api: Api, kind: str, data: Object, field: str, reason: str) -> None:
    made = await api.post(api.secrets, secret(type=kind, data=data))
    assert (made.outcome, made.causes) == ((422, "Invalid"), {(field, reason)})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("kubernetes.io/tls", {"tls.crt": "", "tls.key": ""}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": encoded(b"{}")}),
        ("kubernetes.io/basic-auth", {"username": ""}),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": "eA=="}),
        ("example.org/anything", {}),
    ],
)
async def test_a_type_with_its_keys_passes(api: Api, kind: str, data: Object) -> None:
    assert (await api.post(api.secrets, secret(type=kind, data=data))).code == 201


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("kubernetes.io/basic-auth", {}),
        ("kubernetes.io/ssh-auth", {}),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": ""}),
        ("kubernetes.io/service-account-token", {}),
    ],
)
async def test_a_type_without_what_it_demands_is_invalid(api: Api, kind: str, data: Object) -> None:
    assert (await api.post(api.secrets, secret(type=kind, data=data))).outcome == (422, "Invalid")


async def test_a_refusal_shows_no_value(api: Api) -> None:
    canary = "canary-in-the-coal-mine"
    data: Object = {".dockerconfigjson": encoded(canary.encode()), "bad key": encoded(canary.encode())}
    made = await api.post(api.secrets, secret(type="kubernetes.io/dockerconfigjson", data=data))
    assert made.outcome == (422, "Invalid")
    assert canary not in str(made)
    assert encoded(canary.encode()) not in str(made)


async def test_the_values_of_a_secret_are_at_most_one_mebibyte(api: Api) -> None:
    full: Object = {"a": encoded(b"x" * (MEBIBYTE - 1)), "b": encoded(b"x")}
    assert (await api.post(api.secrets, secret("full", data=full))).code == 201
    made = await api.post(api.secrets, secret("fuller", data=full | {"c": encoded(b"x")}))
    assert (made.outcome, made.causes) == ((422, "Invalid"), {("data", "FieldValueTooLong")})


async def test_a_body_over_three_mebibytes_is_not_even_read(api: Api) -> None:
    made = await api.post(api.secrets, secret(data={"a": "x" * 3 * MEBIBYTE}))
    assert made.outcome == (413, "RequestEntityTooLarge")


async def test_the_type_of_a_secret_can_not_change(api: Api) -> None:
    await api.post(api.secrets, secret())
    for write in (api.put, api.patch):
        refused = await write(f"{api.secrets}/one", secret(type="other"))
        assert (refused.outcome, refused.causes) == ((422, "Invalid"), {("type", "FieldValueInvalid")})


async def test_an_immutable_secret_can_change_only_its_metadata(api: Api) -> None:
    await api.post(api.secrets, secret(immutable=True, data={"a": ""}))
    path = f"{api.secrets}/one"
    assert (await api.patch(path, {"data": {"a": "MQ=="}})).causes == {("data", "FieldValueForbidden")}
    assert (await api.patch(path, {"immutable": None})).causes == {("immutable", "FieldValueForbidden")}
    labelled = await api.patch(path, {"metadata": {"labels": {"a": "b"}}})
    assert (labelled.code, labelled.at("immutable")) == (200, True)


async def test_unknown_fields_of_a_secret_are_dropped(api: Api) -> None:
    made = await api.post(api.secrets, secret(spec={"a": 1}, status={"b": 2}))
    assert set(made.document) == {"apiVersion", "kind", "metadata", "type"}


def lease(**spec: Json) -> Object:
    held: Object = {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    return {"metadata": {"name": "one"}, "spec": held | spec}


async def test_a_lease_is_renewed_only_by_who_saw_it_last(api: Api) -> None:
    path = f"{api.leases}/one"
    made = (await api.post(api.leases, lease())).expect(201)
    renewed = await api.put(path, with_metadata(lease(holderIdentity="a"), resourceVersion=made.version))
    late = await api.put(path, with_metadata(lease(holderIdentity="b"), resourceVersion=made.version))
    blind = await api.put(path, lease(holderIdentity="c"))
    assert (renewed.code, late.outcome, blind.outcome) == (200, (409, "Conflict"), (422, "Invalid"))
    assert (await api.get(path)).at("spec") == lease(holderIdentity="a")["spec"]


async def test_a_released_lease_keeps_its_empty_holder(api: Api) -> None:
    made = await api.post(api.leases, lease())
    released = lease(holderIdentity="", leaseDurationSeconds=1)
    answer = await api.put(f"{api.leases}/one", with_metadata(released, resourceVersion=made.version))
    assert answer.at("spec") == released["spec"]


async def test_a_put_makes_a_lease_that_is_not_there(api: Api) -> None:
    assert (await api.put(f"{api.leases}/one", lease())).code == 201


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"leaseDurationSeconds": 0}, (422, "Invalid")),
        ({"leaseTransitions": -1}, (422, "Invalid")),
        ({"renewTime": "2026-01-01T00:00:00Z"}, (400, "BadRequest")),
        ({"renewTime": "now"}, (400, "BadRequest")),
        ({"leaseDurationSeconds": "15"}, (400, "BadRequest")),
    ],
)
async def test_a_lease_that_can_not_be(api: Api, spec: Object, expected: tuple[int, str]) -> None:
    assert (await api.post(api.leases, lease(**spec))).outcome == expected


async def test_an_event_is_seen_through_both_of_its_apis(api: Api) -> None:
    sent = without(event(api.namespace), "metadata")
    made = (await api.post(api.events, event(api.namespace))).expect(201)
    core = (await api.get(f"{api.core_events}/e")).expect(200)
    assert {name: made.at(name) for name in sent} == sent
    assert {
        name: core.at(name) for name in ("kind", "apiVersion", "message", "reportingComponent", "involvedObject")
    } == {
        "kind": "Event",
        "apiVersion": "v1",
        "message": "hello",
        "reportingComponent": "me",
        "involvedObject": sent["regarding"],
    }


async def test_the_same_event_again_is_a_series(api: Api) -> None:
    await api.post(api.events, event(api.namespace))
    series: Object = {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}
    patched = await api.patch(f"{api.events}/e", {"series": series})
    assert (patched.code, patched.at("series")) == (200, series)


async def test_the_events_of_one_object_can_be_selected(api: Api) -> None:
    await api.post(api.events, event(api.namespace))
    mine = await api.get(api.core_events, fieldSelector="involvedObject.name=one,involvedObject.kind=Widget")
    others = await api.get(api.core_events, fieldSelector="involvedObject.name=two")
    assert (mine.names, others.names) == (["e"], [])


@pytest.mark.parametrize("change", [{"eventTime": None}, {"type": "Other"}, {"note": "x" * 1025}])
async def test_an_event_that_can_not_be(api: Api, change: Object) -> None:
    assert (await api.post(api.events, event(api.namespace) | change)).outcome == (422, "Invalid")
