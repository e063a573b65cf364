"""What deploy/chart makes of values. Helm renders it, in this process and without a cluster."""

import json
from functools import cache

import yaml
from helm_python import Chart

from fake_kubernetes.documents import Object, at, mapping, text
from tests.deploy.installation import DEPLOY, HOME

CHART = DEPLOY / "chart"


def rendered(values: Object | None = None, *, release: str = "secrets-manager") -> list[Object]:
    """All objects of a release. Raises: helm_python.HelmValuesError where the schema refuses the values."""
    files = _files(release, json.dumps(values or {}))
    return [document for name, written in files.items() if name.endswith(".yaml") for document in _documents(written)]


def notes(values: Object) -> str:
    """What Helm tells after an installation."""
    return _files("secrets-manager", json.dumps(values))["secrets-manager/templates/NOTES.txt"]


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
    return [document for document in yaml.safe_load_all(written) if document]


@cache
def _files(release: str, values: str) -> dict[str, str]:
    with Chart.load(CHART) as chart:
        return chart.render(json.loads(values), name=release, namespace=HOME)
