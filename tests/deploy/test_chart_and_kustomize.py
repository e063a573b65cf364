"""The chart and the kustomizations make the same of a cluster, where nothing is set."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fake_kubernetes.documents import Json, Object, at, items, mapping, text, without
from tests.deploy.chart import rendered
from tests.deploy.installation import DEPLOY, SHOP
from tests.deploy.test_manifests import built, documents_beside

WAYS: list[tuple[str, Object]] = [("cluster-wide", {}), ("namespaced", {"watchNamespaces": [SHOP]})]
"""Each kustomization, and the values that make the same."""

Name = tuple[str, str, str]
"""Kind, namespace and name of an object."""

OF_THE_CHART = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
)
"""Labels that a release adds."""
ONCE_PER_CLUSTER = ("secretdefinitions-view", "secretdefinitions-edit", "secretdefinitions.secrets-manager.tuenti.io")
"""Names of what `kubectl apply -k` leaves out."""


def bare(value: Json) -> Json:
    """Without the labels of a release, wherever they stand."""
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items() if name not in OF_THE_CHART}
    return [bare(each) for each in value] if isinstance(value, list) else value


def flat(documents: list[Object]) -> Iterator[Object]:
    """The objects, with the variables of ConfigMaps in the place where they are used."""
    data = {text(each, "metadata", "name"): mapping(each, "data") for each in documents if each["kind"] == "ConfigMap"}
    for document in copy.deepcopy(documents):
        if document["kind"] == "Deployment":
            (container,) = map(mapping, items(document, "spec", "template", "spec", "containers"))
            variables = {text(each, "name"): at(each, "value") for each in items(container, "env")}
            for source in items(container, "envFrom"):
                variables |= data[text(source, "configMapRef", "name")]
            container.pop("envFrom", None)
            container["env"] = variables
            container.setdefault("imagePullPolicy", "IfNotPresent")  # Kubernetes' own default
        if document["kind"] != "ConfigMap":
            yield document


def by_name(documents: list[Object]) -> dict[Name, Json]:
    return {
        (text(each, "kind"), text(each, "metadata", "namespace"), text(each, "metadata", "name")): bare(each)
        for each in flat(documents)
    }


def release(values: Object) -> dict[Name, Json]:
    """What the chart makes in place of `kubectl apply -k`."""
    return {name: made for name, made in by_name(rendered(values)).items() if name[2] not in ONCE_PER_CLUSTER}


def kustomized(documents: list[Object]) -> dict[Name, Json]:
    """Without the namespace, which Helm makes by `--create-namespace`."""
    return {name: made for name, made in by_name(documents).items() if name[0] != "Namespace"}


@pytest.mark.parametrize(("way", "values"), WAYS)
def test_the_chart_makes_the_same_objects(way: str, values: Object) -> None:
    chart, kustomization = release(values), kustomized(built(way))

    assert sorted(chart) == sorted(kustomization)
    for name in chart:
        assert chart[name] == kustomization[name]


@pytest.mark.parametrize(("way", "values"), WAYS)
def test_the_chart_makes_the_same_objects_of_the_components(way: str, values: Object, tmp_path: Path) -> None:
    overlay = f"resources: [../deploy/{way}]\ncomponents: [../deploy/pod-monitor, ../deploy/rollout-restart]\n"

    chart = release({**values, "metrics": {"podMonitor": {"enabled": True}}, "rbac": {"rolloutRestart": True}})

    assert chart == kustomized(documents_beside(overlay, tmp_path))


def test_the_crd_of_the_chart_is_the_programs_own() -> None:
    assert (DEPLOY / "chart" / "files" / "crd.yaml").read_text() == (DEPLOY / "crd.yaml").read_text()

    (made,) = (each for each in rendered() if each["kind"] == "CustomResourceDefinition")
    applied: Object = yaml.safe_load((DEPLOY / "crd.yaml").read_text())
    assert without(made, "metadata") == without(applied, "metadata")
    assert at(made, "metadata", "name") == at(applied, "metadata", "name")


def test_the_aggregated_roles_are_the_same() -> None:
    applied = list(yaml.safe_load_all((DEPLOY / "aggregated-roles.yaml").read_text()))

    assert [bare(each) for each in rendered() if "aggregate" in str(each)] == applied
