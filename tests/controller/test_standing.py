import msgspec
import pytest

from secrets_manager.controller.definition import READY, Condition, Reason, SecretDefinition, Status, decode
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.standing import Standing, State, standing
from secrets_manager.controller.status import InSync, Outcome, SyncState

DEFINITION = decode(b'{"metadata": {"namespace": "shop", "name": "db", "uid": "1", "generation": 2}}')
IN_SYNC, PENDING = Standing(State.IN_SYNC), Standing(State.PENDING)
FAILING = Standing(State.FAILING, "SourceNotFound", "no such path")


def after(outcome: Outcome, *, generation: int = 2) -> SyncState:
    return SyncState(uid="1", generation=generation, outcome=outcome, at="")


def with_status(ready: str, *, generation: int = 2) -> SecretDefinition:
    condition = Condition(type=READY, status=ready, reason="SourceNotFound", message="no such path")
    return msgspec.structs.replace(DEFINITION, status=Status(conditions=(condition,), observed_generation=generation))


def test_the_last_outcome_counts_whatever_the_status_says() -> None:
    problem = Problem(Reason.SOURCE_NOT_FOUND, "no such path")

    assert standing(with_status("True"), after(problem)) == FAILING
    assert standing(with_status("False"), after(InSync("db", {}, wrote=False))) == IN_SYNC


def test_a_warning_is_part_of_it() -> None:
    assert standing(DEFINITION, after(InSync("db", {}, wrote=True, warning="w"))) == Standing(
        State.IN_SYNC, message="w"
    )


@pytest.mark.parametrize(("ready", "expected"), [("True", IN_SYNC), ("False", FAILING), ("Unknown", FAILING)])
def test_without_an_outcome_the_status_counts(ready: str, expected: Standing) -> None:
    assert standing(with_status(ready), None) == expected


def test_what_speaks_of_an_earlier_generation_says_nothing() -> None:
    assert standing(with_status("True", generation=1), None) == PENDING
    assert standing(with_status("True", generation=1), after(InSync("db", {}, wrote=False), generation=1)) == PENDING
    assert standing(with_status("True"), after(InSync("db", {}, wrote=False), generation=1)) == IN_SYNC
    assert standing(DEFINITION, None) == PENDING
