"""Deletion: preconditions, finalizers, owners, namespaces, kinds."""

import pytest

from fake_kubernetes.documents import Object, with_metadata
from tests.contracts.kube_api import Answer, Api
from tests.contracts.widgets import manifest, owned_by, secret, widget


def gone(answer: Answer) -> bool:
    return answer.code == 404


async def test_a_deleted_object_is_gone(api: Api) -> None:
    made = await api.post(api.secrets, secret())
    deleted = (await api.delete(f"{api.secrets}/one")).expect(200)
    assert (deleted.at("kind"), deleted.at("status")) == ("Status", "Success")
    assert deleted.at("details") == {"name": "one", "kind": "secrets", "uid": made.at("metadata", "uid")}
    assert (await api.delete(f"{api.secrets}/one")).outcome == (404, "NotFound")


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_delete_with_a_precondition_that_does_not_hold_conflicts(api: Api, field: str) -> None:
    made = await api.post(api.secrets, secret())
    wrong: Object = {"preconditions": {field: "1"}}
    right: Object = {"preconditions": {field: made.at("metadata", field)}}
    assert (await api.delete(f"{api.secrets}/one", wrong)).outcome == (409, "Conflict")
    assert (await api.delete(f"{api.secrets}/one", right)).code == 200


async def test_a_finalizer_without_a_domain_is_for_custom_kinds_alone(api: Api) -> None:
    (await api.post(api.widgets, with_metadata(widget(), finalizers=["hold.example.org"]))).expect(201)
    refused = await api.post(api.secrets, with_metadata(secret(), finalizers=["hold.example.org"]))
    assert refused.outcome == (422, "Invalid")


async def test_a_finalizer_holds_an_object_until_it_is_removed(api: Api) -> None:
    await api.post(api.widgets, with_metadata(widget(), finalizers=["example.org/hold"]))
    path = f"{api.widgets}/one"
    dying = (await api.delete(path)).expect(200)
    assert dying.at("kind") == "Widget"
    assert dying.text("metadata", "deletionTimestamp")
    assert (dying.at("metadata", "deletionGracePeriodSeconds"), dying.at("metadata", "generation")) == (0, 2)
    assert (await api.delete(path)).document == dying.document
    more = await api.patch(path, {"metadata": {"finalizers": ["example.org/hold", "example.org/more"]}})
    assert (more.outcome, more.causes) == ((422, "Invalid"), {("metadata.finalizers", "FieldValueForbidden")})
    released = (await api.patch(path, {"metadata": {"finalizers": None}})).expect(200)
    assert released.at("metadata", "finalizers") is None
    assert gone(await api.get(path))


async def test_what_has_an_owner_goes_with_it(api: Api) -> None:
    owner = await api.post(api.widgets, widget())
    await api.post(api.secrets, owned_by(secret(), owner.document))
    await api.post(api.secrets, secret("free"))
    await api.delete(f"{api.widgets}/one", {"propagationPolicy": "Background"})
    await api.until(f"{api.secrets}/one", gone)
    (await api.get(f"{api.secrets}/free")).expect(200)


async def test_an_owner_that_never_was_takes_the_object_along(api: Api) -> None:
    owner = await api.post(api.widgets, widget())
    impostor = with_metadata(owner.document, uid="00000000-0000-0000-0000-00000000dead")
    await api.post(api.secrets, owned_by(secret(), impostor))
    await api.until(f"{api.secrets}/one", gone)


async def test_one_living_owner_is_enough(api: Api) -> None:
    first, second = await api.post(api.widgets, widget("first")), await api.post(api.widgets, widget("second"))
    await api.post(api.secrets, owned_by(secret(), first.document, second.document))
    await api.delete(f"{api.widgets}/first")

    def has_one_owner(answer: Answer) -> bool:
        owners = answer.at("metadata", "ownerReferences")
        return isinstance(owners, list) and len(owners) == 1

    await api.until(f"{api.secrets}/one", has_one_owner)


async def test_an_orphaned_object_stays(api: Api) -> None:
    owner = await api.post(api.widgets, widget())
    await api.post(api.secrets, owned_by(secret(), owner.document))
    await api.delete(f"{api.widgets}/one", {"propagationPolicy": "Orphan"})
    await api.until(f"{api.widgets}/one", gone)
    left = await api.get(f"{api.secrets}/one")
    assert (left.code, left.at("metadata", "ownerReferences")) == (200, None)


async def test_a_deleted_namespace_takes_all_along_and_accepts_nothing_new(api: Api) -> None:
    path = f"/api/v1/namespaces/{api.namespace}"
    await api.post(api.secrets, secret())
    await api.post(api.widgets, with_metadata(widget(), finalizers=["example.org/hold"]))
    dying = await api.delete(path)
    assert dying.at("status", "phase") == "Terminating"
    await api.until(f"{api.secrets}/one", gone)
    refused = await api.post(api.secrets, secret("late"))
    assert (refused.outcome, refused.causes) == (
        (403, "Forbidden"),
        {("metadata.namespace", "NamespaceTerminating")},
    )
    held = await api.until(f"{api.widgets}/one", lambda answer: bool(answer.text("metadata", "deletionTimestamp")))
    assert held.at("metadata", "finalizers") == ["example.org/hold"]


async def test_a_deleted_kind_takes_its_objects_along_and_is_served_no_more(api: Api) -> None:
    kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await api.post(kinds, manifest("gizmos", "Gizmo"))
    gizmos = api.widgets.replace("widgets", "gizmos")
    await api.until(gizmos, lambda answer: answer.code == 200)
    (await api.post(gizmos, widget(kind="Gizmo"))).expect(201)
    await api.delete(f"{kinds}/gizmos.example.org")
    await api.until(f"{kinds}/gizmos.example.org", gone)
    await api.until(gizmos, gone)
