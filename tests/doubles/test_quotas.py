"""What the double of Kubernetes can't enforce of a quota it refuses."""

import pytest

from fake_kubernetes.quotas import causes


@pytest.mark.parametrize("hard", [{"secrets": "3"}, {"count/secrets": "0"}, {"count/deployments.apps": "12"}])
def test_a_number_of_objects_is_enforced(hard: dict[str, str]) -> None:
    assert [*causes({"spec": {"hard": {**hard}}})] == []


@pytest.mark.parametrize(("name", "limit"), [("pods", "1"), ("requests.cpu", "1"), ("secrets", "1k"), ("secrets", "")])
def test_what_is_not_enforced_is_refused(name: str, limit: str) -> None:
    (cause,) = causes({"spec": {"hard": {name: limit}}})

    assert cause.field == f"spec.hard[{name}]"
    assert "the double" in cause.message
