"""The rules: their unit tests by promtool, their runbooks, and what they say of the program."""

import re

import pytest
import yaml

from fake_kubernetes.documents import Object, at, items, mapping, text
from secrets_manager.controller.definition import Reason
from secrets_manager.metrics import buckets
from tests.documents import ROOT, document
from tests.monitoring.rules import RULES, alert_names, alerts, prometheus_rule, rules
from tests.real.prometheus import promtool
from tests.reference import all_metrics

UNIT_TESTS = ROOT / "tests" / "monitoring" / "rules_test.yaml"
OURS = r"\b(?:secrets_manager_|workqueue_|leader_election_)\w+"


def expressions() -> list[str]:
    return [text(rule, "expr") for group in items(rules(), "groups") for rule in items(group, "rules")]


@pytest.mark.real
def test_rules_do_what_their_unit_tests_say() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(UNIT_TESTS))


@pytest.mark.parametrize("name", alert_names())
def test_each_alert_is_seen_to_fire_and_to_be_silent_by_a_unit_test(name: str) -> None:
    unit_tests: Object = yaml.safe_load(UNIT_TESTS.read_text())
    cases = [case for each in items(unit_tests, "tests") for case in items(each, "alert_rule_test")]
    asked = [bool(items(case, "exp_alerts")) for case in cases if text(case, "alertname") == name]
    asked_otherwise = f'alertname="{name}"' in UNIT_TESTS.read_text()

    assert True in asked or asked_otherwise
    assert False in asked


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: text(alert, "alert"))
def test_each_alert_has_a_severity_and_a_runbook(alert: Object) -> None:
    assert text(alert, "labels", "severity") in {"critical", "warning"}
    annotations = mapping(alert, "annotations")
    assert annotations.keys() == {"summary", "description"}
    assert text(alert, "alert").lower() in document("docs/runbooks.md").sections


def test_rules_name_only_metrics_that_the_program_serves() -> None:
    families = {family.name: family.type for family in all_metrics().collect()}
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gaugehistogram": ("_bucket",)}
    served = {f"{name}{ending}" for name, type_ in families.items() for ending in endings.get(type_, ("",))}

    assert {name for each in expressions() for name in re.findall(OURS, each)} - served == set()


def test_reasons_in_rules_are_those_of_the_condition() -> None:
    values = [value for each in expressions() for value in re.findall(r'reason[!=~]+"([^"]*)"', each)]

    assert {reason for value in values for reason in value.split("|")} <= {*Reason}


def test_bucket_of_the_objective_is_one_of_the_histogram() -> None:
    (bound,) = {value for each in expressions() for value in re.findall(r'le="([^+"]+)"', each)}

    assert float(bound) in buckets.AGES
    assert bound == str(float(bound))


def test_prometheus_rule_has_the_same_rules() -> None:
    made: Object = yaml.safe_load(prometheus_rule())

    assert at(made, "spec") == rules()
    assert yaml.safe_load((ROOT / "deploy" / "monitoring" / "prometheus-rule.yaml").read_text()) == made
    assert "&" not in prometheus_rule()
