"""What deploy/chart makes of values. Helm renders it, in this process and without a cluster."""

import json
from collections.abc import Iterator
from functools import cache

import yaml
from helm_python import Chart

from fake_kubernetes.documents import Object, at, mapping, text
from tests.deploy.installation import DEPLOY, HOME

CHART = DEPLOY / "chart"


def rendered(values: Object | None = None, *, release: str = "secrets-manager", namespace: str = HOME) -> list[Object]:
    """All objects of a release. Raises: helm_python.HelmValuesError where the schema refuses the values."""
    files = _files(release, namespace, json.dumps(values or {}))
    return [document for name, written in files.items() if name.endswith(".yaml") for document in _documents(written)]


def notes(values: Object) -> str:
    """What Helm tells after an installation."""
    return _files("secrets-manager", HOME, json.dumps(values))["secrets-manager/templates/NOTES.txt"]


def of_kind(kind: str, documents: list[Object]) -> Object:
    (only,) = (document for document in documents if document["kind"] == kind)
    return only


def kinds(documents: list[Object]) -> set[str]:
    return {text(document, "kind") for document in documents}


def pod_of(documents: list[Object]) -> Object:
    return mapping(of_kind("Deployment", documents), "spec", "template", "spec")


def container_of(documents: list[Object]) -> Object:
    containers = at(pod_of(documents), "containers")
    assert isinstance(containers, list)
    (only,) = containers
    return mapping(only)


@cache
def _documents(written: str) -> list[Object]:
    assert [name for node in yaml.compose_all(written, yaml.SafeLoader) for name in _repeated(node)] == []
    return [document for document in yaml.safe_load_all(written) if document]


def _repeated(node: yaml.Node | None) -> Iterator[str]:
    """Names that a map has twice, which the API server refuses and PyYAML does not."""
    if isinstance(node, yaml.SequenceNode):
        for inner in node.value:
            yield from _repeated(inner)
    if isinstance(node, yaml.MappingNode):
        names = [name.value for name, _ in node.value]
        yield from {name for name in names if names.count(name) > 1}
        for _, inner in node.value:
            yield from _repeated(inner)


@cache
def _files(release: str, namespace: str, values: str) -> dict[str, str]:
    with Chart.load(CHART) as chart:
        return chart.render(json.loads(values), name=release, namespace=namespace)
