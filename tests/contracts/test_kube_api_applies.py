"""Server-side apply, and who owns which field of a Secret."""

import pytest

from fake_kubernetes.documents import Json, Object, at, items, mapping, text, with_metadata
from fake_kubernetes.patches import APPLY
from tests.contracts.kube_api import Answer, Api
from tests.contracts.widgets import secret
from tests.real.kube_api import MERGE_PATCH

A, B, C = "MQ==", "Mg==", "Mw=="
OTHER_UID = "00000000-0000-0000-0000-000000000000"
KEYS = {"f:x", "f:y", "f:z"}


async def apply(api: Api, data: Object | None = None, *, by: str = "ours", **more: Json) -> Answer:
    """Apply some keys to the Secret `one`. `uid`, `version` and `force` are those of the request."""
    metadata: Object = {"uid": more.get("uid"), "resourceVersion": more.get("version")}
    document = with_metadata(secret(), **metadata)
    if data is not None:
        document["data"] = data
    query = {"fieldManager": by} | ({"force": "true"} if more.get("force") else {})
    return await api.call("PATCH", f"{api.secrets}/one", document, content_type=APPLY, query={**query})


async def create(api: Api, data: Object, *, by: str = "kubectl") -> Answer:
    made = await api.call("POST", api.secrets, secret(data=data), query={"fieldManager": by})
    return made.expect(201)


async def patch(api: Api, change: Object, *, by: str = "patcher") -> Answer:
    path = f"{api.secrets}/one"
    return await api.call("PATCH", path, change, content_type=MERGE_PATCH, query={"fieldManager": by})


def keys(answer: Answer) -> dict[str, set[str]]:
    """Return the keys of data that each manager owns."""
    return {
        f"{text(entry, 'manager')} {text(entry, 'operation')}": set(mapping(entry, "fieldsV1", "f:data")) & KEYS
        for entry in answer.managers
    }


def trees(answer: Answer) -> list[tuple[str, str, str, Json]]:
    return [
        (text(entry, "manager"), text(entry, "operation"), text(entry, "apiVersion"), at(entry, "fieldsV1"))
        for entry in answer.managers
    ]


async def test_the_creator_owns_all_fields(api: Api) -> None:
    document = secret(data={"x": A, "tls.crt": B}, immutable=True, labels={"team": "a"})
    owner: Object = {"apiVersion": "v1", "kind": "Secret", "name": "other", "uid": OTHER_UID}
    document = with_metadata(document, annotations={"note": "b"}, finalizers=["example.org/a"], ownerReferences=[owner])
    made = (await api.call("POST", api.secrets, document, query={"fieldManager": "kubectl"})).expect(201)
    metadata: Object = {
        "f:labels": {".": {}, "f:team": {}},
        "f:annotations": {".": {}, "f:note": {}},
        "f:finalizers": {".": {}, 'v:"example.org/a"': {}},
        "f:ownerReferences": {".": {}, f'k:{{"uid":"{OTHER_UID}"}}': {}},
    }
    data: Object = {".": {}, "f:x": {}, "f:tls.crt": {}}
    tree: Json = {"f:data": data, "f:immutable": {}, "f:metadata": metadata, "f:type": {}}
    assert trees(made) == [("kubectl", "Update", "v1", tree)]
    assert text(made.managers[0], "time") == made.text("metadata", "creationTimestamp")
    await patch(api, {"metadata": {"finalizers": None}})  # or it would hold the namespace


async def test_without_a_manager_it_is_the_program_that_writes(api: Api) -> None:
    made = await api.post(api.secrets, secret())
    assert trees(made) == [("python-httpx", "Update", "v1", {"f:type": {}})]


async def test_a_manager_that_changes_a_field_owns_it(api: Api) -> None:
    await create(api, {"x": A, "y": A})
    assert keys(await patch(api, {"data": {"x": B, "y": A}})) == {"kubectl Update": {"f:y"}, "patcher Update": {"f:x"}}
    replaced = await api.call(
        "PUT", f"{api.secrets}/one", secret(data={"x": B, "z": A}), query={"fieldManager": "putter"}
    )
    assert keys(replaced) == {"kubectl Update": set(), "patcher Update": {"f:x"}, "putter Update": {"f:z"}}
    emptied = await patch(api, {"data": None}, by="other")
    assert trees(emptied) == [("kubectl", "Update", "v1", {"f:type": {}})]


async def test_an_apply_owns_what_it_names(api: Api) -> None:
    await create(api, {"x": A})
    applied = (await apply(api, {"y": A})).expect(200)
    assert (applied.at("data"), applied.at("type")) == ({"x": A, "y": A}, "Opaque")
    assert trees(applied) == [
        ("ours", "Apply", "v1", {"f:data": {"f:y": {}}}),
        ("kubectl", "Update", "v1", {"f:data": {".": {}, "f:x": {}}, "f:type": {}}),
    ]
    assert (await api.get(f"{api.secrets}/one")).managers == applied.managers


async def test_an_apply_that_changes_nothing_makes_no_new_version(api: Api) -> None:
    await create(api, {"x": A})
    first = await apply(api, {"y": A})
    again = await apply(api, {"y": A})
    assert (again.version, again.managers) == (first.version, first.managers)
    assert (await apply(api, by="another")).version == first.version


async def test_keys_that_are_not_applied_any_more_go(api: Api) -> None:
    await create(api, {"x": A})
    await apply(api, {"y": A, "z": A})
    fewer = await apply(api, {"z": A})
    assert (fewer.at("data"), keys(fewer)) == ({"x": A, "z": A}, {"kubectl Update": {"f:x"}, "ours Apply": {"f:z"}})
    none = await apply(api)
    assert (none.at("data"), keys(none)) == ({"x": A}, {"kubectl Update": {"f:x"}})


async def test_a_value_that_two_agree_on_has_two_owners(api: Api) -> None:
    made = await create(api, {"x": A})
    shared = (await apply(api, {"x": A})).expect(200)
    assert keys(shared) == {"ours Apply": {"f:x"}, "kubectl Update": {"f:x"}}
    assert shared.version != made.version
    left = await apply(api)
    assert (left.at("data"), keys(left)) == ({"x": A}, {"kubectl Update": {"f:x"}})


async def test_a_key_of_another_manager_is_a_conflict(api: Api) -> None:
    made = await create(api, {"x": A})
    refused = await apply(api, {"x": B, "y": B})
    assert (refused.outcome, refused.text("message")) == (
        (409, "Conflict"),
        'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.x',
    )
    cause: Json = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.x"}
    assert refused.at("details") == {"causes": [cause]}
    assert (await api.get(f"{api.secrets}/one")).version == made.version


async def test_conflicts_with_several_managers(api: Api) -> None:
    await create(api, {"x": A, "y": A})
    await apply(api, {"tls.crt": A}, by="another")
    await apply(api, {"tls.crt": A}, by="one more")
    refused = await apply(api, {"x": B, "y": B, "tls.crt": B})
    assert refused.text("message") == (
        'Apply failed with 4 conflicts: conflicts with "another":\n- .data.tls.crt\n'
        'conflicts with "kubectl" using v1:\n- .data.x\n- .data.y\nconflicts with "one more":\n- .data.tls.crt'
    )
    causes = {(text(cause, "message"), text(cause, "field")) for cause in items(refused.at("details", "causes"))}
    assert causes == {
        ('conflict with "another"', ".data.tls.crt"),
        ('conflict with "one more"', ".data.tls.crt"),
        ('conflict with "kubectl" using v1', ".data.x"),
        ('conflict with "kubectl" using v1', ".data.y"),
    }


async def test_force_takes_the_key(api: Api) -> None:
    await create(api, {"x": A})
    taken = (await apply(api, {"x": B}, force=True)).expect(200)
    assert (taken.at("data"), keys(taken)) == ({"x": B}, {"ours Apply": {"f:x"}, "kubectl Update": set()})
    assert (await apply(api)).at("data") is None


async def test_a_patch_takes_what_was_applied(api: Api) -> None:
    await create(api, {"x": A})
    applied = await apply(api, {"y": A})
    assert (await patch(api, {"data": {"y": A}})).version == applied.version
    taken = await patch(api, {"data": {"y": B}})
    assert keys(taken) == {"kubectl Update": {"f:x"}, "patcher Update": {"f:y"}}
    assert (await apply(api, {"y": A})).outcome == (409, "Conflict")
    removed = await patch(api, {"data": {"y": None}})
    assert keys(removed) == {"kubectl Update": {"f:x"}}
    assert (await apply(api, {"y": A})).at("data") == {"x": A, "y": A}


async def test_a_manager_that_patches_is_another_one_than_it_is_where_it_applies(api: Api) -> None:
    await create(api, {})
    await apply(api, {"x": A}, by="same")
    assert keys(await patch(api, {"data": {"x": B}}, by="same")) == {"same Update": {"f:x"}, "kubectl Update": set()}
    assert (await apply(api, {"x": A}, by="same")).outcome == (409, "Conflict")


async def test_an_apply_makes_what_is_not_there(api: Api) -> None:
    made = (await apply(api, {"x": A}, version="5")).expect(201)
    assert (made.at("data"), made.at("type")) == ({"x": A}, "Opaque")
    assert trees(made) == [("ours", "Apply", "v1", {"f:data": {"f:x": {}}})]


async def test_an_apply_with_a_uid_makes_nothing(api: Api) -> None:
    refused = await apply(api, {"x": A}, uid=OTHER_UID)
    why = f"uid mismatch: the provided object specified uid {OTHER_UID}, and no existing object was found"
    message = f'Operation cannot be fulfilled on secrets "one": {why}'
    assert (refused.outcome, refused.text("message")) == ((409, "Conflict"), message)
    assert refused.at("details") == {"name": "one", "kind": "secrets"}


async def test_an_apply_with_the_uid_of_another_object_is_invalid(api: Api) -> None:
    made = await create(api, {"x": A})
    refused = await apply(api, {"y": A}, uid=OTHER_UID)
    assert (refused.outcome, refused.causes) == ((422, "Invalid"), {("metadata.uid", "FieldValueInvalid")})
    applied = (await apply(api, {"y": A}, uid=made.text("metadata", "uid"))).expect(200)
    assert (applied.at("data"), set(keys(applied))) == ({"x": A, "y": A}, {"ours Apply", "kubectl Update"})


async def test_an_apply_with_an_old_version_conflicts(api: Api) -> None:
    made = await create(api, {"x": A})
    current = (await apply(api, {"y": A}, version=made.version)).expect(200)
    refused = await apply(api, {"y": A}, version=made.version)
    assert refused.outcome == (409, "Conflict")
    assert "the object has been modified" in refused.text("message")
    (await apply(api, {"y": B}, version=current.version)).expect(200)


@pytest.mark.parametrize("field", ["uid", "version"])
async def test_conflicts_of_fields_come_before_those_of_the_object(api: Api, field: str) -> None:
    await create(api, {"x": A})
    refused = await apply(api, {"x": B}, **{field: OTHER_UID if field == "uid" else "1"})
    assert (refused.outcome, refused.causes) == ((409, "Conflict"), {(".data.x", "FieldManagerConflict")})


async def test_what_an_apply_may_not_change(api: Api) -> None:
    await create(api, {"x": A})
    await apply(api, {"y": A})
    await patch(api, {"immutable": True})
    assert (await apply(api, {"y": B})).causes == {("data", "FieldValueForbidden")}
    assert (await apply(api)).causes == {("data", "FieldValueForbidden")}


@pytest.mark.parametrize(
    ("query", "content_type", "field"),
    [
        ({}, APPLY, "fieldManager"),
        ({"fieldManager": "m" * 129}, APPLY, "fieldManager"),
        ({"force": "true"}, MERGE_PATCH, "force"),
    ],
)
async def test_options_that_can_not_be(api: Api, query: dict[str, str | int], content_type: str, field: str) -> None:
    await create(api, {"x": A})
    path = f"{api.secrets}/one"
    refused = await api.call("PATCH", path, secret(), content_type=content_type, query=query)
    assert (refused.outcome, {each for each, _ in refused.causes}) == ((422, "Invalid"), {field})
    assert refused.text("message").startswith('PatchOptions.meta.k8s.io "" is invalid: ')


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", 400),
        (b'{"metadata": {"name": "one"}}', 400),
        (b'{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}}', 400),
        (b'{"apiVersion": "v1", "kind": "Secret", "metadata": {"managedFields": []}}', 400),
        (b'{"apiVersion": "v1", "kind": "Secret", "metadata": {}, "bogus": 1}', 500),
        (b'{"apiVersion": "v1", "kind": "Secret", "metadata": {}}', 200),
    ],
)
async def test_what_can_be_applied(api: Api, content: bytes, code: int) -> None:
    await create(api, {"x": A})
    path, query = f"{api.secrets}/one", {"fieldManager": "ours"}
    (await api.call("PATCH", path, raw=content, content_type=APPLY, query={**query})).expect(code)


async def test_nothing_is_applied_in_a_namespace_that_is_not_there(api: Api) -> None:
    path, query = f"{api.secrets.replace(api.namespace, 'nowhere')}/one", {"fieldManager": "ours"}
    found = await api.call("PATCH", path, secret(), content_type=APPLY, query={**query})
    assert (found.outcome, found.at("details", "kind")) == ((404, "NotFound"), "namespaces")


@pytest.mark.parametrize("stripped", [[], [{}]])
async def test_where_owners_are_stripped_the_next_apply_names_one_for_all_that_is_there(
    api: Api, stripped: Json
) -> None:
    await create(api, {"x": A})
    await apply(api, {"y": A})
    assert (await patch(api, {"metadata": {"managedFields": stripped}})).managers == []
    assert (await patch(api, {"data": {"x": B}})).managers == []
    applied = await apply(api, {"z": A})
    assert keys(applied) == {"ours Apply": {"f:z"}, "before-first-apply Update": {"f:x", "f:y"}}


async def test_times_show_when_a_manager_last_changed_a_value(api: Api) -> None:
    await create(api, {"x": A})
    shared = await apply(api, {"x": A})
    assert text(shared.managers[0], "time") == ""
    changed = await apply(api, {"x": A, "y": A})
    assert text(changed.managers[0], "time") != ""
