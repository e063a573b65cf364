"""What is meant for the Prometheus Operator, held to its own CRDs by a real API server that refuses unknown fields."""

from functools import reduce
from pathlib import Path

import httpx
import pytest

from fake_kubernetes.documents import Json, Object, items, mapping, text
from tests.deploy.chart import rendered
from tests.deploy.helm import merged
from tests.deploy.test_chart_and_kustomize import COMPONENTS
from tests.deploy.test_chart_values import SECURED
from tests.deploy.test_manifests import documents_beside
from tests.deploy.test_release import EVERYTHING
from tests.real.cluster import ControlPlane
from tests.real.kube_api import path_of
from tests.real.operator_crds import operator_crd_or_skip

KINDS = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
WITH_BOTH: Object = reduce(merged, (COMPONENTS["pod-monitor"], COMPONENTS["monitoring"]))


@pytest.fixture
def cluster(control_plane: ControlPlane) -> ControlPlane:
    control_plane.install(*map(operator_crd_or_skip, KINDS.values()))
    return control_plane


def created(cluster: ControlPlane, documents: list[Object]) -> set[str]:
    """Make those of the Operator's kinds in a new namespace, and return their kinds. Raises: httpx.HTTPStatusError."""
    namespace = cluster.namespace()
    wanted = [document for document in documents if document["kind"] in KINDS]
    for document in wanted:
        moved: Object = {**document, "metadata": {**mapping(document, "metadata"), "namespace": namespace}}
        cluster.request("POST", path_of(moved, named=False), body=moved, query={"fieldValidation": "Strict"})
    return {text(document, "kind") for document in wanted}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="plain"),
        pytest.param({"metrics": SECURED}, id="secured"),
        pytest.param(EVERYTHING, id="everything"),
    ],
)
def test_the_operator_takes_what_the_chart_makes(cluster: ControlPlane, values: Object) -> None:
    assert created(cluster, rendered(merged(WITH_BOTH, values))) == {*KINDS}


def test_the_operator_takes_what_the_components_make(cluster: ControlPlane, tmp_path: Path) -> None:
    named = "../deploy/pod-monitor, ../deploy/monitoring, ../deploy/secured-metrics"
    overlay = f"resources: [../deploy/cluster-wide]\ncomponents: [{named}]\n"

    assert created(cluster, documents_beside(overlay, tmp_path)) == {*KINDS}


def misspelt(document: Object) -> Object:
    """With one more field, deep in it, that there is not."""
    if document["kind"] == "PodMonitor":
        (endpoint,) = items(document, "spec", "podMetricsEndpoints")
        deep: Json = [{**mapping(endpoint), "honourLabels": True}]
        return {**document, "spec": {**mapping(document, "spec"), "podMetricsEndpoints": deep}}
    group = mapping(items(document, "spec", "groups")[0])
    rule = mapping(items(group, "rules")[0])
    return {**document, "spec": {"groups": [{**group, "rules": [{**rule, "runbook": "x"}]}]}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_there_is_not_is_refused(cluster: ControlPlane, kind: str) -> None:
    (document,) = (each for each in rendered(WITH_BOTH) if each["kind"] == kind)

    with pytest.raises(httpx.HTTPStatusError, match="unknown field"):
        created(cluster, [misspelt(document)])
