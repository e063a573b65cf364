"""deploy/monitoring/rules.yaml, and what is made from it: the PrometheusRule, and the rules in the chart."""

from pathlib import Path

import yaml

from fake_kubernetes.documents import Json, Object, items, text
from tests.documents import ROOT

RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"


def rules(file: Path = RULES) -> Object:
    """The rules file."""
    document: Object = yaml.safe_load(file.read_text())
    return document


def alerts() -> list[Object]:
    """All alerting rules."""
    found = [rule for group in items(rules(), "groups") for rule in items(group, "rules")]
    return [rule for rule in found if isinstance(rule, dict) and "alert" in rule]


def alert_names() -> list[str]:
    """The name of each alert, once."""
    return list(dict.fromkeys(text(alert, "alert") for alert in alerts()))


def prometheus_rule() -> str:
    """deploy/monitoring/prometheus-rule.yaml."""
    document: Object = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "secrets-manager",
            "namespace": "secrets-manager",
            "labels": {"app.kubernetes.io/name": "secrets-manager"},
        },
        "spec": rules(),
    }
    return _dumped(document, source="rules.yaml")


def rules_of_the_chart() -> str:
    """deploy/chart/files/rules.yaml."""
    return _dumped(rules(), source="deploy/monitoring/rules.yaml")


def _dumped(document: Json, *, source: str) -> str:
    made = f"# Made by `just reference` from {source}; changes here are lost.\n"
    return made + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=float("inf"))


class _Dumper(yaml.SafeDumper):
    """Writes no aliases: the rules have some, which not every reader of manifests expects."""

    def ignore_aliases(self, data: object) -> bool:
        return True
