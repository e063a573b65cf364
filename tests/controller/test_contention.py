"""The table of contention.py, line by line, and what follows from it for any course of looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.controller.contention import (
    REVERTS,
    SLOW,
    WHILE,
    Calm,
    Contended,
    Doubtful,
    Fields,
    Look,
    Revert,
    State,
    Step,
    step,
)

NOW = 1000.0
NONE: Fields = frozenset()
DATA: Fields = frozenset({("data",)})
LABEL: Fields = frozenset({("metadata", "labels", "team")})
TWICE = (Revert(NOW - 50, DATA), Revert(NOW - 20, DATA | LABEL))
RECENT = Contended(NOW - 20)
SOON = Contended(NOW - SLOW + 0.5)
DUE = Contended(NOW - SLOW)


@pytest.mark.parametrize(
    ("state", "look", "fields", "expected"),
    [
        pytest.param(Calm(), Look.FOUND, NONE, Step(Calm(), None), id="at rest"),
        pytest.param(Calm(TWICE), Look.ANSWERED, NONE, Step(Calm(TWICE), None), id="written"),
        pytest.param(Doubtful(TWICE), Look.ANSWERED, NONE, Step(Calm(TWICE), None), id="written the second time"),
        pytest.param(Calm(TWICE), Look.WANTED, DATA, Step(Calm(TWICE), 0), id="a change of what is wanted"),
        pytest.param(Calm(), Look.FOUND, DATA, Step(Calm((Revert(NOW, DATA),)), 0), id="the first foreign change"),
        pytest.param(
            Calm(TWICE[:1]), Look.FOUND, DATA, Step(Calm((TWICE[0], Revert(NOW, DATA))), 0), id="the second one"
        ),
        pytest.param(Calm(TWICE), Look.FOUND, DATA, Step(RECENT, SLOW - 20), id="the third one"),
        pytest.param(
            Calm(TWICE), Look.FOUND, LABEL, Step(Calm((*TWICE, Revert(NOW, LABEL))), 0), id="of another field"
        ),
        pytest.param(
            Calm((Revert(NOW - WHILE, DATA), TWICE[1])),
            Look.FOUND,
            DATA,
            Step(Calm((TWICE[1], Revert(NOW, DATA))), 0),
            id="the third one after a long while",
        ),
        pytest.param(
            Calm((Revert(NOW - 200, DATA), Revert(NOW - 100, DATA))),
            Look.FOUND,
            DATA,
            Step(Contended(NOW - 100), 0),
            id="the third one, when a minute has passed",
        ),
        pytest.param(Calm(TWICE), Look.ANSWERED, DATA, Step(Doubtful(TWICE), 0), id="the reply differs"),
        pytest.param(Doubtful(TWICE), Look.ANSWERED, DATA, Step(Contended(NOW), SLOW), id="the reply differs again"),
        pytest.param(RECENT, Look.WANTED, DATA, Step(RECENT, 0), id="contended: a change of what is wanted"),
        pytest.param(RECENT, Look.FOUND, DATA, Step(RECENT, SLOW - 20), id="contended: a foreign change"),
        pytest.param(RECENT, Look.FOUND, NONE, Step(RECENT, SLOW - 20), id="contended: as written so far"),
        pytest.param(RECENT, Look.WANTED, NONE, Step(RECENT, SLOW - 20), id="contended: nothing new is lacking"),
        pytest.param(SOON, Look.FOUND, DATA, Step(SOON, 0.5), id="contended: a foreign change just before its turn"),
        pytest.param(SOON, Look.FOUND, NONE, Step(SOON, 0.5), id="contended: as written until just before its turn"),
        pytest.param(DUE, Look.FOUND, DATA, Step(DUE, 0), id="contended: its turn"),
        pytest.param(DUE, Look.ANSWERED, DATA, Step(Contended(NOW), SLOW), id="contended: the reply differs"),
        pytest.param(DUE, Look.ANSWERED, NONE, Step(Contended(NOW), SLOW), id="contended: written"),
        pytest.param(DUE, Look.FOUND, NONE, Step(Calm(), None), id="contended: as written for a minute"),
    ],
)
def test_each_line_of_the_table(state: State, look: Look, fields: Fields, expected: Step) -> None:
    assert step(state, look, fields, NOW) == expected


class Course:
    """A Secret that others change, and that is written where the machine says so."""

    def __init__(self) -> None:
        self.state: State = Calm()
        self.writes: list[float] = []

    def look(self, look: Look, fields: Fields, now: float, *, admission: bool) -> float | None:
        self.state, wait = step(self.state, look, fields, now)
        while wait == 0:
            self.writes.append(now)
            assert len(self.writes) < 10_000
            self.state, wait = step(self.state, Look.ANSWERED, fields if admission else NONE, now)
        return wait


fields_of_some = st.sampled_from([DATA, LABEL, DATA | LABEL])
pauses = st.sampled_from([0.0, 0.1, 1.0, 10.0, 59.0, 61.0, 200.0])


@given(changes=st.lists(st.tuples(pauses, fields_of_some, st.booleans()), max_size=40))
def test_foreign_changes_alone_cost_a_few_writes_in_a_while(changes: list[tuple[float, Fields, bool]]) -> None:
    course, now = Course(), 0.0
    for pause, fields, admission in changes:
        now += pause
        course.look(Look.FOUND, fields, now, admission=admission)
    for began in course.writes:
        burst = [each for each in course.writes if began <= each < began + SLOW]
        assert len(burst) <= 2 * (REVERTS + 1)


@given(pause=pauses, fields=fields_of_some, admission=st.booleans(), number=st.integers(1, 40))
def test_what_is_wanted_newly_is_written_at_once(pause: float, fields: Fields, admission: bool, number: int) -> None:  # noqa: FBT001 - drawn
    course = Course()
    for turn in range(number):
        before = len(course.writes)
        course.look(Look.WANTED, fields, turn * pause, admission=admission)
        assert before < len(course.writes) <= before + 2


@given(changes=st.lists(st.tuples(pauses, fields_of_some, st.booleans()), max_size=40))
def test_once_nobody_changes_it_any_more_it_is_calm_within_two_turns(
    changes: list[tuple[float, Fields, bool]],
) -> None:
    course, now, lacking = Course(), 0.0, NONE
    for pause, fields, admission in changes:
        now += pause
        lacking = fields if course.look(Look.FOUND, fields, now, admission=admission) else NONE
    for _ in range(3):
        wait = course.look(Look.FOUND, lacking, now, admission=False)
        if wait is None:
            break
        lacking = lacking if course.writes[-1:] != [now] else NONE
        now += wait
    assert isinstance(course.state, Calm)
