"""The dashboard, against Grafana's own schema."""

import json

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from fake_kubernetes.documents import Json, Object, at, items, parse, text
from tests.documents import ROOT

DASHBOARD = ROOT / "deploy" / "monitoring" / "dashboard.json"


def dashboard() -> Object:
    return parse(DASHBOARD.read_bytes())


def panels() -> list[Json]:
    return [panel for panel in items(dashboard(), "panels") if text(panel, "type") != "row"]


def queries() -> list[tuple[str, str]]:
    """The panel and the expression of each query."""
    return [(text(panel, "title"), text(target, "expr")) for panel in panels() for target in items(panel, "targets")]


def read_by_grafanas_types(document: Object) -> Json:
    """What is left of a dashboard when it was read into Grafana's own types: what these do not know is dropped."""
    register_default_plugins()
    read = Dashboard.from_json(document)
    return parse(json.dumps(read, cls=JSONEncoder).encode())


def test_grafana_knows_each_field() -> None:
    assert read_by_grafanas_types(dashboard()) == dashboard()


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    wrong = dashboard()
    (first, *_) = [panel for panel in items(wrong, "panels") if text(panel, "type") == "stat"]
    assert isinstance(first, dict)
    options = first["options"]
    assert isinstance(options, dict)
    options["grafMode"] = "none"

    assert read_by_grafanas_types(wrong) != wrong


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: text(panel, "title"))
def test_each_panel_has_a_title_a_source_that_users_choose_and_a_query(panel: Json) -> None:
    assert text(panel, "title")
    assert items(panel, "targets")
    for each in (panel, *items(panel, "targets")):
        assert at(each, "datasource") == {"type": "prometheus", "uid": "$datasource"}


def test_each_query_is_of_the_job_that_users_choose() -> None:
    assert [expression for _, expression in queries() if 'job=~"$job"' not in expression] == []
