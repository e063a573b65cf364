"""Deployments, StatefulSets and DaemonSets: what a client that restarts them relies on."""

import pytest

from fake_kubernetes.documents import Json, Object
from tests.contracts.kube_api import Api
from tests.workloads import LABELS, workload

KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
RESTARTED: Object = {"example.org/restarted-for": "once"}


def annotated(annotations: Json, version: str = "") -> Object:
    """A merge patch of the pod template, with a resourceVersion as precondition."""
    change: Object = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    if version:
        change["metadata"] = {"resourceVersion": version}
    return change


@pytest.fixture(params=KINDS)
async def path(api: Api, request: pytest.FixtureRequest) -> str:
    """The path of one new workload of each kind."""
    collection = f"/apis/apps/v1/namespaces/{api.namespace}/{KINDS[request.param]}"
    (await api.post(collection, workload(request.param))).expect(201)
    return f"{collection}/web"


async def test_a_workload_is_found_by_name_and_listed(api: Api, path: str) -> None:
    found = await api.get(path)
    assert (found.code, found.at("metadata", "generation")) == (200, 1)
    assert found.at("spec", "template", "metadata", "labels") == LABELS
    assert (await api.get(path.removesuffix("/web"))).names == ["web"]
    assert (await api.get(path.replace("/web", "/gone"))).outcome == (404, "NotFound")


async def test_an_annotation_on_the_pod_template_is_a_new_generation(api: Api, path: str) -> None:
    before = await api.get(path)
    after = (await api.patch(path, annotated(RESTARTED, before.version))).expect(200)
    assert (after.at("metadata", "generation"), after.version != before.version) == (2, True)
    assert after.at("spec", "template", "metadata", "annotations") == RESTARTED
    assert after.at("spec", "template", "metadata", "labels") == LABELS
    assert after.at("spec", "template", "spec") == before.at("spec", "template", "spec")


async def test_other_annotations_of_the_template_stay(api: Api, path: str) -> None:
    await api.patch(path, annotated({"theirs": "1"}))
    after = await api.patch(path, annotated(RESTARTED))
    assert after.at("spec", "template", "metadata", "annotations") == {"theirs": "1", **RESTARTED}


async def test_a_patch_of_what_others_have_changed_is_a_conflict(api: Api, path: str) -> None:
    before = await api.get(path)
    changed = await api.patch(path, {"metadata": {"labels": {"team": "shop"}}})
    assert (await api.patch(path, annotated(RESTARTED, before.version))).outcome == (409, "Conflict")
    assert (await api.get(path)).version == changed.version


async def test_a_patch_that_changes_nothing_is_no_new_version(api: Api, path: str) -> None:
    once = await api.patch(path, annotated(RESTARTED))
    again = await api.patch(path, annotated(RESTARTED, once.version))
    assert (again.code, again.version, again.at("metadata", "generation")) == (200, once.version, 2)


async def test_labels_and_status_are_no_new_generation(api: Api, path: str) -> None:
    await api.patch(path, {"metadata": {"labels": {"team": "shop"}}})
    (await api.patch(f"{path}/status", {"status": {"observedGeneration": 1}})).expect(200)
    found = await api.get(path)
    assert (found.at("metadata", "generation"), found.at("status", "observedGeneration")) == (1, 1)


async def test_a_workload_that_is_not_there_can_not_be_patched(api: Api, path: str) -> None:
    (await api.delete(path, {"propagationPolicy": "Background"})).expect(200)
    assert (await api.patch(path, annotated(RESTARTED))).outcome == (404, "NotFound")
