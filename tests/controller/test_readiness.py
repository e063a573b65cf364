from typing import NamedTuple

import pytest

from secrets_manager.controller.readiness import Followers, unsynced, unwatched


class Watch(NamedTuple):
    """One kind's, in the state that the test wants."""

    namespace: str
    listed: bool = False
    problem: str = ""


def listed(namespace: str) -> Followers:
    return Watch(namespace, listed=True), Watch(namespace, listed=True)


def pending(namespace: str) -> Followers:
    return Watch(namespace, listed=True), Watch(namespace)


def refused(namespace: str) -> Followers:
    """The second kind waits for the first one's list."""
    return Watch(namespace, problem=f"can't watch secrets in {namespace}"), Watch(namespace)


def lost(namespace: str) -> Followers:
    return Watch(namespace, listed=True, problem="can't watch secrets"), Watch(namespace, listed=True, problem="no CRD")


@pytest.mark.parametrize(
    ("namespaces", "lines"),
    [
        ([listed("a"), listed("b")], []),
        ([listed("a"), pending("b")], ["the first list of b is under way"]),
        ([pending("")], ["the first list of all namespaces is under way"]),
        ([listed("a"), refused("b")], []),
        ([pending("a"), refused("b")], ["the first list of a is under way"]),
        ([refused("a"), refused("b")], ["no namespace can be watched"]),
        ([refused("")], ["no namespace can be watched"]),
        ([lost("a"), lost("b")], []),
    ],
    ids=["all", "one pending", "all at once", "one refused", "pending and refused", "none", "no ClusterRole", "outage"],
)
def test_it_is_ready_once_all_are_listed_that_can_be_and_one_can(namespaces: list[Followers], lines: list[str]) -> None:
    assert unsynced(namespaces) == lines


def test_what_can_not_be_watched_is_told_before_and_after_the_first_list() -> None:
    assert unwatched([listed("a"), pending("b"), refused("c"), lost("d")]) == [
        "can't watch secrets in c",
        "can't watch secrets",
        "no CRD",
    ]
