"""Create, replace, patch, delete: conflicts, validation, and the fields that a write may change."""

import re

import pytest
import trio

from fake_kubernetes.documents import Object, items, with_metadata, without
from tests.contracts.kube_api import Api
from tests.contracts.widgets import UNOBSERVED, secret, widget


async def test_what_the_server_adds_to_a_new_object(api: Api) -> None:
    made = (await api.post(api.widgets, {**widget(), "status": {"from": "user"}})).expect(201)
    assert without(made.document, "metadata") == without(widget(), "metadata")
    assert (made.at("metadata", "generation"), made.at("metadata", "namespace")) == (1, api.namespace)
    assert made.text("metadata", "uid")
    assert made.version.isdecimal()
    assert made.text("metadata", "creationTimestamp").endswith("Z")


async def test_a_new_object_has_the_status_that_is_its_kinds_default(api: Api) -> None:
    made = await api.post(api.meters, {**widget(kind="Meter"), "status": {"from": "user"}})
    assert (made.at("status"), (await api.get(f"{api.meters}/one")).at("status")) == (UNOBSERVED, UNOBSERVED)
    patched = await api.patch(f"{api.meters}/one/status", {"status": {"observedGeneration": 1}})
    assert patched.at("status") == {"observedGeneration": 1}


async def test_unknown_fields_are_dropped_and_defaults_set(api: Api) -> None:
    made = await api.post(api.widgets, widget(colour="red", keys={"k": {"path": "p", "more": 1}}))
    assert made.at("spec") == {"name": "target", "keys": {"k": {"path": "p", "encoding": "text"}}}


async def test_the_second_create_of_a_name_is_refused(api: Api) -> None:
    await api.post(api.widgets, widget())
    again = await api.post(api.widgets, widget())
    assert (again.outcome, again.text("message")) == (
        (409, "AlreadyExists"),
        'widgets.example.org "one" already exists',
    )


async def test_a_dry_run_is_refused_as_a_creation_would_be_and_creates_nothing(api: Api) -> None:
    dry_run = f"{api.secrets}?dryRun=All"
    assert (await api.post(dry_run, secret())).outcome[0] == 201
    assert (await api.get(f"{api.secrets}/one")).outcome == (404, "NotFound")
    await api.post(api.secrets, secret())
    assert (await api.post(dry_run, secret())).outcome == (409, "AlreadyExists")
    without_a_key = secret(type="kubernetes.io/ssh-auth", data={"ssh-privatekey": ""})
    assert (await api.post(dry_run, without_a_key)).outcome == (422, "Invalid")


def quota(**hard: str) -> Object:
    spec: Object = {"hard": {**hard}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}


@pytest.mark.parametrize("names", [["count/secrets"], ["secrets"], ["count/secrets", "secrets"]], ids=",".join)
@pytest.mark.parametrize("hard", ["1", "2"], ids=["exceeded already", "full"])
async def test_a_quota_refuses_a_dry_run_before_the_name_does_and_says_how_much_is_used(
    api: Api, hard: str, names: list[str]
) -> None:
    for name in ("one", "two"):
        (await api.post(api.secrets, secret(name))).expect(201)
    (await api.post(api.secrets.replace("/secrets", "/resourcequotas"), quota(**dict.fromkeys(names, hard)))).expect(
        201
    )
    with trio.fail_after(60):
        while not (made := await api.post(f"{api.secrets}?dryRun=All", secret("one"))).text("message").count("used"):
            assert made.code in (403, 409)  # the quota has not been counted yet
            await trio.sleep(0.05)
    requested, used, limited = (",".join(f"{name}={amount}" for name in names) for amount in ("1", "2", hard))
    amounts = f"requested: {requested}, used: {used}, limited: {limited}"
    assert made.outcome == (403, "Forbidden")
    assert made.text("message") == f'secrets "one" is forbidden: exceeded quota: few, {amounts}'


@pytest.mark.parametrize("document", [widget(), secret()], ids=["custom", "own"])
async def test_nothing_is_created_in_a_namespace_that_is_not_there(api: Api, document: Object) -> None:
    path = api.widgets if document["kind"] == "Widget" else api.secrets
    made = await api.post(path.replace(api.namespace, "nowhere"), document)
    assert (made.outcome, made.at("details")) == ((404, "NotFound"), {"name": "nowhere", "kind": "namespaces"})


async def test_the_schema_of_a_custom_kind_is_enforced(api: Api) -> None:
    made = await api.post(api.widgets, widget(name="ABC", size=0, mode="wild", keys={"k": {}}))
    assert made.outcome == (422, "Invalid")
    assert made.causes == {
        ("spec.name", "FieldValueInvalid"),
        ("spec.size", "FieldValueInvalid"),
        ("spec.mode", "FieldValueNotSupported"),
        ("spec.keys.k.path", "FieldValueRequired"),
    }


@pytest.mark.parametrize("change", [{"spec": {"name": 1}}, {"spec": {"name": None}}, {"spec": None}, {"spec": []}])
async def test_a_wrong_type_in_a_custom_object_is_invalid(api: Api, change: Object) -> None:
    assert (await api.post(api.widgets, widget() | change)).outcome == (422, "Invalid")


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254, ""])
async def test_a_name_that_can_not_be_is_invalid(api: Api, name: str) -> None:
    made = await api.post(api.secrets, secret(name))
    assert (made.outcome, {field for field, _ in made.causes}) == ((422, "Invalid"), {"metadata.name"})


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels"),
        ({"annotations": {"a b": "any text is fine"}}, "metadata.annotations"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "a", "uid": ""}]},
            "metadata.ownerReferences.uid",
        ),
    ],
)
async def test_metadata_that_can_not_be_is_invalid(api: Api, metadata: Object, field: str) -> None:
    made = await api.post(api.secrets, with_metadata(secret(), **metadata))
    assert (made.outcome, {without_index(each) for each, _ in made.causes}) == ((422, "Invalid"), {field})


def without_index(field: str) -> str:
    """Which element of a list it was, newer servers say and older ones do not."""
    return re.sub(r"\[\d+\]", "", field)


async def test_two_controlling_owners_are_invalid(api: Api) -> None:
    owners: Object = {
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": name, "controller": True} for name in "ab"
        ]
    }
    assert (await api.post(api.secrets, with_metadata(secret(), **owners))).outcome == (422, "Invalid")


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b"text"])
async def test_a_body_that_is_no_object_is_a_bad_request(api: Api, content: bytes) -> None:
    assert (await api.call("POST", api.secrets, raw=content)).outcome == (400, "BadRequest")


async def test_a_body_in_another_format_is_unsupported(api: Api) -> None:
    made = await api.call("POST", api.secrets, secret(), content_type="text/plain")
    assert made.outcome == (415, "UnsupportedMediaType")


async def test_a_body_for_another_place_is_a_bad_request(api: Api) -> None:
    elsewhere = with_metadata(secret(), namespace="elsewhere")
    assert (await api.post(api.secrets, elsewhere)).outcome == (400, "BadRequest")
    await api.post(api.secrets, secret())
    assert (await api.put(f"{api.secrets}/one", secret("other"))).outcome == (400, "BadRequest")


async def test_a_replace_with_an_old_version_conflicts(api: Api) -> None:
    made = await api.post(api.widgets, widget())
    (await api.put(f"{api.widgets}/one", {**made.document, "spec": {"name": "first"}})).expect(200)
    second = await api.put(f"{api.widgets}/one", {**made.document, "spec": {"name": "second"}})
    assert second.outcome == (409, "Conflict")
    assert (await api.get(f"{api.widgets}/one")).at("spec") == {"name": "first"}


async def test_a_replace_without_a_version_passes_for_secrets_only(api: Api) -> None:
    await api.post(api.secrets, secret())
    await api.post(api.widgets, widget())
    (await api.put(f"{api.secrets}/one", secret(stringData={"a": "b"}))).expect(200)
    refused = await api.put(f"{api.widgets}/one", widget())
    assert (refused.outcome, refused.causes) == (
        (422, "Invalid"),
        {("metadata.resourceVersion", "FieldValueInvalid")},
    )


async def test_a_replace_of_another_object_of_the_same_name_conflicts(api: Api) -> None:
    made = await api.post(api.secrets, secret())
    other = with_metadata(made.document, uid="00000000-0000-0000-0000-000000000000")
    assert (await api.put(f"{api.secrets}/one", other)).outcome == (409, "Conflict")


async def test_a_replace_of_what_is_not_there(api: Api) -> None:
    assert (await api.put(f"{api.secrets}/one", secret())).outcome == (404, "NotFound")


async def test_a_replace_keeps_what_the_server_owns(api: Api) -> None:
    made = await api.post(api.secrets, secret())
    path = f"{api.secrets}/one"
    replaced = await api.put(path, with_metadata(secret(), creationTimestamp="2001-01-01T00:00:00Z", generation=9))
    assert replaced.document == made.document


@pytest.mark.parametrize("kind", ["widgets", "secrets"])
async def test_a_write_that_changes_nothing_makes_no_new_version(api: Api, kind: str) -> None:
    path, document = (api.widgets, widget()) if kind == "widgets" else (api.secrets, secret(stringData={"a": "b"}))
    made = await api.post(path, document)
    same = await api.put(f"{path}/one", made.document)
    patched = await api.patch(f"{path}/one", {"metadata": {"labels": {"absent": None}}})
    assert made.version == same.version == patched.version


async def test_a_merge_patch_changes_only_what_it_names(api: Api) -> None:
    await api.post(api.secrets, secret(stringData={"a": "1", "b": "2"}, labels={"keep": "me", "drop": "me"}))
    patched = await api.patch(
        f"{api.secrets}/one", {"data": {"b": "Mw=="}, "metadata": {"labels": {"drop": None, "new": "one"}}}
    )
    assert (patched.at("data"), patched.at("metadata", "labels")) == (
        {"a": "MQ==", "b": "Mw=="},
        {"keep": "me", "new": "one"},
    )


async def test_a_patch_with_an_old_version_conflicts(api: Api) -> None:
    made = await api.post(api.widgets, widget())
    (await api.patch(f"{api.widgets}/one", {"spec": {"name": "first"}})).expect(200)
    old: Object = {"metadata": {"resourceVersion": made.version}}
    assert (await api.patch(f"{api.widgets}/one", {**old, "spec": {"name": "second"}})).outcome == (409, "Conflict")
    assert (await api.patch(f"{api.widgets}/one/status", {**old, "status": {"a": 1}})).outcome == (409, "Conflict")


async def test_a_patch_can_not_change_the_uid(api: Api) -> None:
    await api.post(api.widgets, widget())
    patched = await api.patch(f"{api.widgets}/one", {"metadata": {"uid": "another"}})
    assert (patched.outcome, patched.causes) == ((422, "Invalid"), {("metadata.uid", "FieldValueInvalid")})


async def test_a_patch_of_what_is_not_there(api: Api) -> None:
    assert (await api.patch(f"{api.widgets}/one", {"spec": {"name": "a"}})).outcome == (404, "NotFound")


async def test_a_strategic_patch_is_for_own_kinds_only(api: Api) -> None:
    await api.post(api.secrets, with_metadata(secret(), finalizers=["example.org/a"]))
    await api.post(api.widgets, widget())
    strategic = "application/strategic-merge-patch+json"
    change: Object = {"metadata": {"finalizers": ["example.org/b"]}}
    patched = await api.call("PATCH", f"{api.secrets}/one", change, content_type=strategic)
    assert sorted(map(str, items(patched.at("metadata", "finalizers")))) == ["example.org/a", "example.org/b"]
    refused = await api.call("PATCH", f"{api.widgets}/one", change, content_type=strategic)
    assert refused.outcome == (415, "UnsupportedMediaType")


async def test_a_replace_of_the_object_leaves_the_status_and_the_other_way_round(api: Api) -> None:
    await api.post(api.widgets, widget())
    path = f"{api.widgets}/one"
    patched = (await api.patch(f"{path}/status", {"status": {"ready": True}, "spec": {"name": "ignored"}})).expect(200)
    assert (patched.at("spec"), patched.at("status")) == ({"name": "target"}, {"ready": True})
    changed = await api.put(path, {**patched.document, "spec": {"name": "new"}, "status": {"ready": False}})
    assert (changed.at("spec"), changed.at("status")) == ({"name": "new"}, {"ready": True})
    labelled = await api.patch(f"{path}/status", {"metadata": {"labels": {"a": "b"}}})
    assert labelled.at("metadata", "labels") is None


async def test_generation_counts_changes_of_the_spec(api: Api) -> None:
    await api.post(api.widgets, widget())
    path = f"{api.widgets}/one"
    changes: list[tuple[str, Object]] = [
        (path, {"metadata": {"labels": {"a": "b"}}}),
        (f"{path}/status", {"status": {"ready": True}}),
        (path, {"spec": {"name": "target"}}),
        (path, {"spec": {"name": "new"}}),
    ]
    seen = [(await api.patch(where, change)).at("metadata", "generation") for where, change in changes]
    assert seen == [1, 1, 1, 2]


async def test_without_the_status_subresource_status_is_a_field_like_others(api: Api) -> None:
    await api.post(api.gadgets, widget(kind="Gadget"))
    assert (await api.patch(f"{api.gadgets}/one/status", {"status": {"a": 1}})).code == 404
    patched = await api.patch(f"{api.gadgets}/one", {"status": {"a": 1}})
    assert (patched.at("status"), patched.at("metadata", "generation")) == ({"a": 1}, 2)


async def test_secrets_have_no_status_and_no_generation(api: Api) -> None:
    made = await api.post(api.secrets, secret())
    assert made.at("metadata", "generation") is None
    assert (await api.patch(f"{api.secrets}/one/status", {"status": {}})).code == 404


async def test_a_name_can_be_generated(api: Api) -> None:
    document: Object = {"metadata": {"generateName": "pre-"}}
    names = {(await api.post(api.secrets, document)).text("metadata", "name") for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("pre-") and len(name) == len("pre-12345") for name in names)
