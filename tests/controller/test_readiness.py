from typing import NamedTuple

import pytest

from secrets_manager.controller.readiness import Reflectors, unsynced, unwatched


class FakeReflector(NamedTuple):
    """A reflector of one kind, in the state that the test wants."""

    namespace: str
    has_synced: bool = False
    problem: str = ""


def synced(namespace: str) -> Reflectors:
    return FakeReflector(namespace, has_synced=True), FakeReflector(namespace, has_synced=True)


def pending(namespace: str) -> Reflectors:
    return FakeReflector(namespace, has_synced=True), FakeReflector(namespace)


def refused(namespace: str) -> Reflectors:
    """The second kind waits for the first one's list."""
    return FakeReflector(namespace, problem=f"can't watch secrets in {namespace}"), FakeReflector(namespace)


def lost(namespace: str) -> Reflectors:
    return FakeReflector(namespace, has_synced=True, problem="can't watch secrets"), FakeReflector(
        namespace, has_synced=True, problem="no CRD"
    )


@pytest.mark.parametrize(
    ("namespaces", "lines"),
    [
        ([synced("a"), synced("b")], []),
        ([synced("a"), pending("b")], ["the first list of b is in progress"]),
        ([pending("")], ["the first list of all namespaces is in progress"]),
        ([synced("a"), refused("b")], []),
        ([pending("a"), refused("b")], ["the first list of a is in progress"]),
        ([refused("a"), refused("b")], ["no namespace can be watched"]),
        ([refused("")], ["no namespace can be watched"]),
        ([lost("a"), lost("b")], []),
    ],
    ids=["all", "one pending", "all at once", "one refused", "pending and refused", "none", "no ClusterRole", "outage"],
)
def test_it_is_ready_once_all_are_listed_that_can_be_and_one_can(
    namespaces: list[Reflectors], lines: list[str]
) -> None:
    assert unsynced(namespaces) == lines


def test_what_can_not_be_watched_is_reported_before_and_after_the_first_list() -> None:
    assert unwatched([synced("a"), pending("b"), refused("c"), lost("d")]) == [
        "can't watch secrets in c",
        "can't watch secrets",
        "no CRD",
    ]
