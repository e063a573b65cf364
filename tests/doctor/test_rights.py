"""The rights that are checked are those that deploy/ gives; tests/deploy compares those of the chart."""

import pytest
import yaml

from fake_kubernetes.documents import Json, items
from secrets_manager.doctor.rights import LEASES, RESTARTS, REVIEWS, WATCHED
from secrets_manager.kube.authorization import Right
from tests.documents import ROOT

DEPLOY = ROOT / "deploy"
RESTARTING = tuple(right for rights in RESTARTS.values() for right in rights)


def given(rules: list[Json]) -> set[Right]:
    """What rules of RBAC give, but for URLs that are no resources."""
    return {
        Right(str(group), str(resource), str(verb))
        for rule in rules
        for group in items(rule, "apiGroups")
        for resource in items(rule, "resources")
        for verb in items(rule, "verbs")
    }


@pytest.mark.parametrize(
    ("file", "checked"),
    [
        ("cluster-wide/clusterrole.yaml", WATCHED),
        ("namespaced/namespace-shop.yaml", WATCHED),
        ("base/leader-election.yaml", LEASES),
        ("secured-metrics/rights.yaml", REVIEWS),
    ],
)
def test_every_right_that_is_given_is_checked(file: str, checked: tuple[Right, ...]) -> None:
    rules = [rule for document in yaml.safe_load_all((DEPLOY / file).read_text()) for rule in items(document, "rules")]

    assert set(checked) == given(rules)


def test_every_right_to_restart_workloads_is_checked() -> None:
    patch = yaml.safe_load((DEPLOY / "rollout-restart" / "rule.yaml").read_text())

    assert set(RESTARTING) == given([operation["value"] for operation in patch])
