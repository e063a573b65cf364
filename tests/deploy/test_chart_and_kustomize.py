"""The chart and the kustomizations make the same of a cluster: where nothing is set, and with each component."""

import copy
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest
import yaml

from fake_kubernetes.documents import Json, Object, at, items, mapping, text, without
from tests.deploy.chart import rendered
from tests.deploy.helm import merged
from tests.deploy.installation import DEPLOY, SHOP
from tests.deploy.test_manifests import built, documents_beside

WAYS: list[tuple[str, Object]] = [("cluster-wide", {}), ("namespaced", {"watchNamespaces": [SHOP]})]
"""Each kustomization, and the values that make the same."""

COMPONENTS: dict[str, Object] = {
    "azure-kv": {"backend": "azure-kv"},
    "pod-monitor": {"metrics": {"podMonitor": {"enabled": True}}},
    "secured-metrics": {"metrics": {"tls": {"enabled": True}, "auth": {"enabled": True}}},
    "monitoring": {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}},
    "rollout-restart": {"rbac": {"rolloutRestart": True}},
}
"""Each component, and the values that make the same. Where several are named they stand in this order."""

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
    """Without the labels of a release, and without its namespace in a query, wherever they stand."""
    if isinstance(value, str):
        return value.replace(', namespace="secrets-manager"', "")
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items() if name not in OF_THE_CHART}
    return [bare(each) for each in value] if isinstance(value, list) else value


def flat(documents: list[Object]) -> Iterator[Object]:
    """The objects, with the variables of ConfigMaps in the place where they are used."""
    maps = {text(each, "metadata", "name"): mapping(each, "data") for each in documents if each["kind"] == "ConfigMap"}
    used: set[str] = set()
    for document in sorted(copy.deepcopy(documents), key=lambda each: each["kind"] == "ConfigMap"):
        if document["kind"] == "Deployment":
            pod = mapping(document, "spec", "template", "spec")
            (container,) = map(mapping, items(pod, "containers"))
            variables = {text(each, "name"): at(each, "value") for each in items(container, "env")}
            for source in items(container, "envFrom"):
                name = text(source, "configMapRef", "name")
                variables |= maps[name]
                used.add(name)
            container.pop("envFrom", None)
            container["env"] = variables
            container.setdefault("imagePullPolicy", "IfNotPresent")  # Kubernetes' own default
            pod["volumes"] = by_their_names(pod, "volumes")
            container |= {group: by_their_names(container, group) for group in ("ports", "volumeMounts")}
        if text(document, "metadata", "name") not in used:
            yield document


def by_their_names(holder: Object, group: str) -> Object:
    """A list whose order means nothing; Kubernetes takes an empty one for none."""
    return {text(each, "name"): each for each in items(holder, group)}


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


def assert_same(chart: dict[Name, Json], kustomization: dict[Name, Json]) -> None:
    """One object after the other, so that a failure shows the one that differs."""
    assert sorted(chart) == sorted(kustomization)
    for name, made in chart.items():
        assert made == kustomization[name]


@pytest.mark.parametrize(("way", "values"), WAYS)
def test_the_chart_makes_the_same_objects(way: str, values: Object) -> None:
    assert_same(release(values), kustomized(built(way)))


@pytest.mark.parametrize("components", [*([each] for each in COMPONENTS), [*COMPONENTS]], ids="+".join)
@pytest.mark.parametrize(("way", "values"), WAYS)
def test_the_chart_makes_the_same_objects_of_components(
    way: str, values: Object, components: list[str], tmp_path: Path
) -> None:
    named = ", ".join(f"../deploy/{each}" for each in components)
    overlay = f"resources: [../deploy/{way}]\ncomponents: [{named}]\n"

    chart = release(reduce(merged, (COMPONENTS[each] for each in components), values))

    assert_same(chart, kustomized(documents_beside(overlay, tmp_path)))


def test_every_component_is_compared() -> None:
    found = {file.parent.name for file in DEPLOY.glob("*/kustomization.yaml") if "kind: Component" in file.read_text()}

    assert found == set(COMPONENTS)


def test_the_crd_of_the_chart_is_the_programs_own() -> None:
    assert (DEPLOY / "chart" / "files" / "crd.yaml").read_text() == (DEPLOY / "crd.yaml").read_text()

    (made,) = (each for each in rendered() if each["kind"] == "CustomResourceDefinition")
    applied: Object = yaml.safe_load((DEPLOY / "crd.yaml").read_text())
    assert without(made, "metadata") == without(applied, "metadata")
    assert at(made, "metadata", "name") == at(applied, "metadata", "name")


def test_the_aggregated_roles_are_the_same() -> None:
    applied = list(yaml.safe_load_all((DEPLOY / "aggregated-roles.yaml").read_text()))

    assert [bare(each) for each in rendered() if "aggregate" in str(each)] == applied
