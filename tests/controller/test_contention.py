"""The table of contention.py, line by line, and what follows from it for any sequence of comparisons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.controller.contention import (
    MAX_REVERTS,
    REVERT_WINDOW,
    REWRITE_INTERVAL,
    Contended,
    Fields,
    Revert,
    Stable,
    State,
    Step,
    Suspect,
    Trigger,
    step,
)

NOW = 1000.0
NONE: Fields = frozenset()
DATA: Fields = frozenset({("data",)})
LABEL: Fields = frozenset({("metadata", "labels", "team")})
TWICE = (Revert(NOW - 50, DATA), Revert(NOW - 20, DATA | LABEL))
RECENT = Contended(NOW - 20)
SOON = Contended(NOW - REWRITE_INTERVAL + 0.5)
DUE = Contended(NOW - REWRITE_INTERVAL)


@pytest.mark.parametrize(
    ("state", "trigger", "fields", "expected"),
    [
        pytest.param(Stable(), Trigger.RESYNCED, NONE, Step(Stable(), None), id="at rest"),
        pytest.param(Stable(TWICE), Trigger.WRITTEN, NONE, Step(Stable(TWICE), None), id="written"),
        pytest.param(Suspect(TWICE), Trigger.WRITTEN, NONE, Step(Stable(TWICE), None), id="written the second time"),
        pytest.param(
            Stable(TWICE), Trigger.DESIRED_CHANGED, DATA, Step(Stable(TWICE), 0), id="a change of what is wanted"
        ),
        pytest.param(
            Stable(), Trigger.RESYNCED, DATA, Step(Stable((Revert(NOW, DATA),)), 0), id="the first foreign change"
        ),
        pytest.param(
            Stable(TWICE[:1]),
            Trigger.RESYNCED,
            DATA,
            Step(Stable((TWICE[0], Revert(NOW, DATA))), 0),
            id="the second one",
        ),
        pytest.param(Stable(TWICE), Trigger.RESYNCED, DATA, Step(RECENT, REWRITE_INTERVAL - 20), id="the third one"),
        pytest.param(
            Stable(TWICE), Trigger.RESYNCED, LABEL, Step(Stable((*TWICE, Revert(NOW, LABEL))), 0), id="of another field"
        ),
        pytest.param(
            Stable((Revert(NOW - REVERT_WINDOW, DATA), TWICE[1])),
            Trigger.RESYNCED,
            DATA,
            Step(Stable((TWICE[1], Revert(NOW, DATA))), 0),
            id="the third one after a long while",
        ),
        pytest.param(
            Stable((Revert(NOW - 200, DATA), Revert(NOW - 100, DATA))),
            Trigger.RESYNCED,
            DATA,
            Step(Contended(NOW - 100), 0),
            id="the third one, when a minute has passed",
        ),
        pytest.param(Stable(TWICE), Trigger.WRITTEN, DATA, Step(Suspect(TWICE), 0), id="the reply differs"),
        pytest.param(
            Suspect(TWICE), Trigger.WRITTEN, DATA, Step(Contended(NOW), REWRITE_INTERVAL), id="the reply differs again"
        ),
        pytest.param(
            RECENT, Trigger.DESIRED_CHANGED, DATA, Step(RECENT, 0), id="contended: a change of what is wanted"
        ),
        pytest.param(
            RECENT, Trigger.RESYNCED, DATA, Step(RECENT, REWRITE_INTERVAL - 20), id="contended: a foreign change"
        ),
        pytest.param(
            RECENT, Trigger.RESYNCED, NONE, Step(RECENT, REWRITE_INTERVAL - 20), id="contended: as written so far"
        ),
        pytest.param(
            RECENT,
            Trigger.DESIRED_CHANGED,
            NONE,
            Step(RECENT, REWRITE_INTERVAL - 20),
            id="contended: nothing new is lacking",
        ),
        pytest.param(
            SOON, Trigger.RESYNCED, DATA, Step(SOON, 0.5), id="contended: a foreign change just before its time"
        ),
        pytest.param(
            SOON, Trigger.RESYNCED, NONE, Step(SOON, 0.5), id="contended: as written until just before its time"
        ),
        pytest.param(DUE, Trigger.RESYNCED, DATA, Step(DUE, 0), id="contended: its time"),
        pytest.param(
            DUE, Trigger.WRITTEN, DATA, Step(Contended(NOW), REWRITE_INTERVAL), id="contended: the reply differs"
        ),
        pytest.param(DUE, Trigger.WRITTEN, NONE, Step(Contended(NOW), REWRITE_INTERVAL), id="contended: written"),
        pytest.param(DUE, Trigger.RESYNCED, NONE, Step(Stable(), None), id="contended: as written for a minute"),
    ],
)
def test_each_line_of_the_table(state: State, trigger: Trigger, fields: Fields, expected: Step) -> None:
    assert step(state, trigger, fields, NOW) == expected


class Course:
    """A Secret that others change, and that is written where the machine says so."""

    def __init__(self) -> None:
        self.state: State = Stable()
        self.writes: list[float] = []

    def observe(self, trigger: Trigger, fields: Fields, now: float, *, admission: bool) -> float | None:
        self.state, wait = step(self.state, trigger, fields, now)
        while wait == 0:
            self.writes.append(now)
            assert len(self.writes) < 10_000
            self.state, wait = step(self.state, Trigger.WRITTEN, fields if admission else NONE, now)
        return wait


fields_of_some = st.sampled_from([DATA, LABEL, DATA | LABEL])
pauses = st.sampled_from([0.0, 0.125, 1.0, 10.0, 59.0, 61.0, 200.0])  # sums of these are exact


@given(changes=st.lists(st.tuples(pauses, fields_of_some, st.booleans()), max_size=40))
def test_foreign_changes_alone_cost_a_few_writes_in_a_while(changes: list[tuple[float, Fields, bool]]) -> None:
    course, now = Course(), 0.0
    for pause, fields, admission in changes:
        now += pause
        course.observe(Trigger.RESYNCED, fields, now, admission=admission)
    for began in course.writes:
        burst = [each for each in course.writes if began <= each < began + REWRITE_INTERVAL]
        assert len(burst) <= 2 * (MAX_REVERTS + 1)


@given(pause=pauses, fields=fields_of_some, admission=st.booleans(), number=st.integers(1, 40))
def test_what_is_wanted_newly_is_written_at_once(pause: float, fields: Fields, admission: bool, number: int) -> None:  # noqa: FBT001 - drawn
    course = Course()
    for count in range(number):
        before = len(course.writes)
        course.observe(Trigger.DESIRED_CHANGED, fields, count * pause, admission=admission)
        assert before < len(course.writes) <= before + 2


@given(changes=st.lists(st.tuples(pauses, fields_of_some, st.booleans()), max_size=40))
def test_once_it_is_not_changed_any_more_it_is_stable_within_two_turns(
    changes: list[tuple[float, Fields, bool]],
) -> None:
    course, now, lacking = Course(), 0.0, NONE
    for pause, fields, admission in changes:
        now += pause
        lacking = fields if course.observe(Trigger.RESYNCED, fields, now, admission=admission) else NONE
    for _ in range(3):
        wait = course.observe(Trigger.RESYNCED, lacking, now, admission=False)
        if wait is None:
            break
        lacking = lacking if course.writes[-1:] != [now] else NONE
        now += wait
    assert isinstance(course.state, Stable)
