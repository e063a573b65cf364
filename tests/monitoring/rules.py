"""deploy/monitoring/rules.yaml, and the PrometheusRule that is made from it."""

from pathlib import Path

import yaml

from fake_kubernetes.documents import Object, items, text
from tests.documents import ROOT

RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"
RUNBOOKS = "https://github.com/tuenti/secrets-manager/blob/main/"
"""Before the paths of documents in annotations."""


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
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "secrets-manager",
            "namespace": "secrets-manager",
            "labels": {"app.kubernetes.io/name": "secrets-manager"},
        },
        "spec": rules(),
    }
    made = "# Made by `just reference` from rules.yaml; changes here are lost.\n"
    return made + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=float("inf"))


class _Dumper(yaml.SafeDumper):
    """Writes no aliases: the rules have some, which not every reader of manifests expects."""

    def ignore_aliases(self, data: object) -> bool:
        return True
