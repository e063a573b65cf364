"""The chart as a whole: its schema, its selectors, its pods and its notes."""

import json
from collections.abc import Iterator

import helm_python
import pytest

from fake_kubernetes.documents import Json, Object, at, items, mapping, text, without
from secrets_manager.doctor.rights import LEASES, REVIEWS, WATCHED
from secrets_manager.kube.authorization import Right
from tests.chart_values import values as values_of_the_chart
from tests.deploy.chart import CHART, container_of, notes, of_kind, pod_of, rendered
from tests.deploy.pod_security import violations
from tests.doctor.test_rights import RESTARTING, given

SECURED: Object = {"tls": {"enabled": True}, "auth": {"enabled": True}}


def names_in(schema: Json, groups: set[str], path: str = "") -> Iterator[str]:
    """The values in a schema, with dots."""
    for name, inner in mapping(schema, "properties").items():
        if f"{path}{name}" in groups:
            yield from names_in(inner, groups, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def groups_of(schema: Json) -> Iterator[bool]:
    """Of each object in a schema that names its fields, whether it refuses others."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            yield schema.get("additionalProperties") is False
        for inner in schema.values():
            yield from groups_of(inner)


def test_the_linter_finds_only_that_there_is_no_icon() -> None:
    found = helm_python.lint(CHART, strict=True)

    assert found["errors"] == []
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


def test_values_that_a_parent_chart_hands_down_are_accepted() -> None:
    assert rendered({"enabled": True, "global": {"a": "b"}}) == rendered()


def test_the_schema_names_every_value_and_no_other() -> None:
    schema: Object = json.loads((CHART / "values.schema.json").read_text())
    documented = [value.name for value in values_of_the_chart()]
    groups = {name.rsplit(".", depth)[0] for name in documented for depth in range(1, name.count(".") + 1)}

    assert sorted(names_in(schema, groups)) == sorted([*documented, "global", "enabled"])


def test_the_schema_refuses_what_it_does_not_name() -> None:
    schema: Object = json.loads((CHART / "values.schema.json").read_text())
    whole_objects = {"named"}  # volumes and mounts, of which Kubernetes has many kinds

    assert all(groups_of({**schema, "definitions": without(mapping(schema, "definitions"), *whole_objects)}))


def test_two_releases_in_a_namespace_select_their_own_pods() -> None:
    one, other = rendered(release="one-secrets-manager"), rendered(release="other")

    selectors = [at(of_kind("Deployment", made), "spec", "selector", "matchLabels") for made in (one, other)]
    assert selectors[0] != selectors[1]
    assert [text(of_kind("Deployment", made), "metadata", "name") for made in (one, other)] == [
        "one-secrets-manager",
        "other-secrets-manager",
    ]


def test_every_selector_of_a_release_finds_its_pods() -> None:
    made = rendered({"metrics": {"podMonitor": {"enabled": True}}}, release="other")
    pods = at(of_kind("Deployment", made), "spec", "template", "metadata", "labels")

    assert [
        at(of_kind("Deployment", made), "spec", "selector", "matchLabels"),
        at(of_kind("Service", made), "spec", "selector"),
        at(of_kind("NetworkPolicy", made), "spec", "podSelector", "matchLabels"),
        at(of_kind("PodDisruptionBudget", made), "spec", "selector", "matchLabels"),
        at(of_kind("PodMonitor", made), "spec", "selector", "matchLabels"),
        at(items(pod_of(made), "topologySpreadConstraints")[0], "labelSelector", "matchLabels"),
    ] == [pods] * 6


@pytest.mark.parametrize(
    ("values", "name", "checked"),
    [
        ({}, "secrets-manager-controller", WATCHED),
        ({"rbac": {"rolloutRestart": True}}, "secrets-manager-controller", (*WATCHED, *RESTARTING)),
        ({"watchNamespaces": ["shop"]}, "secrets-manager-controller", WATCHED),
        ({}, "secrets-manager-leader-election", LEASES),
        ({"metrics": SECURED}, "secrets-manager-reviewer", REVIEWS),
    ],
)
def test_doctor_checks_every_right_that_is_given(values: Object, name: str, checked: tuple[Right, ...]) -> None:
    (rules,) = (
        items(each, "rules") for each in rendered(values) if "rules" in each and at(each, "metadata", "name") == name
    )

    assert set(checked) == given(rules)


def test_pods_keep_to_the_standard_restricted_and_leave_the_user_to_openshift() -> None:
    made = rendered({"vault": {"ca": {"existingSecret": "own"}}})

    assert violations(pod_of(made)) == []
    contexts = mapping(pod_of(made), "securityContext") | mapping(container_of(made), "securityContext")
    assert not contexts.keys() & {"runAsUser", "runAsGroup", "fsGroup"}


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ({}, "watches all namespaces."),
        ({}, "set image.repository to where you keep it"),
        ({}, 'create secret generic secrets-manager-approle \\\n    --from-literal=role_id="$VAULT_ROLE_ID"'),
        ({}, "leaves the CRD, all SecretDefinitions and all Secrets."),
        ({"watchNamespaces": ["shop", "mail"]}, "watches the namespaces shop, mail."),
        ({"metrics": {"tls": {"enabled": True}}}, "for the name\nsecrets-manager-metrics.secrets-manager.svc."),
        ({"metrics": SECURED}, "Bind the ClusterRole secrets-manager-metrics-reader to the user of Prometheus, and\n"),
        ({"metrics": SECURED, "statusPage": {"enabled": False}}, "reader to the user of Prometheus.\n"),
        ({"crds": {"keep": False}}, "deletes the CRD, and with it ALL SecretDefinitions"),
    ],
)
def test_notes_give_the_next_steps(values: Object, step: str) -> None:
    assert step in notes(values)


def test_notes_leave_out_what_is_not_to_be_done() -> None:
    printed = notes({"image": {"repository": "r/sm"}, "vault": {"authMethod": "kubernetes", "kubernetesRole": "r"}})

    assert "image.repository" not in printed
    assert "create secret" not in printed
    assert "metrics" not in printed
