"""The rights that are checked are those that deploy/ gives."""

from pathlib import Path

import pytest
import yaml

from fake_kubernetes.documents import Object, items
from secrets_manager.doctor.rights import LEASES, REVIEWS, WATCHED
from secrets_manager.kube.authorization import Right
from tests.documents import ROOT

DEPLOY = ROOT / "deploy"


def given(file: Path) -> set[Right]:
    documents: list[Object] = list(yaml.safe_load_all(file.read_text()))
    return {
        Right(str(group), str(resource), str(verb))
        for document in documents
        for rule in items(document, "rules")
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
    assert set(checked) == given(DEPLOY / file)
