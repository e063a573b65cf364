import math

import pytest

from secrets_manager.kube.hold import BETWEEN, LONGEST_HOLD, PACED_FOR, Hold


def test_calls_go_as_they_come_where_nothing_is_shed() -> None:
    hold = Hold()

    assert [hold.turn(5.0) for _ in range(3)] == [5.0] * 3


def test_calls_go_one_by_one_after_the_hold_those_that_come_then_too() -> None:
    hold = Hold()
    hold.shed(10.0, retry_after=7.0)

    held = [hold.turn(11.0), hold.turn(12.0)]
    later = [hold.turn(17.0), hold.turn(17.5)]

    assert held == pytest.approx([17.0, 17.0 + BETWEEN])
    assert later == pytest.approx([17.0 + 2 * BETWEEN, 17.5])


def test_the_pace_ends_however_many_wait() -> None:
    hold = Hold()
    hold.shed(10.0, retry_after=7.0)
    for _ in range(1000):
        hold.turn(11.0)

    assert hold.turn(17.0 + PACED_FOR) == 17.0 + PACED_FOR


@pytest.mark.parametrize(("retry_after", "until"), [(None, 1.0), (0.0, 1.0), (32.0, 32.0), (math.inf, LONGEST_HOLD)])
def test_the_server_says_for_how_long(retry_after: float | None, until: float) -> None:
    hold = Hold()

    hold.shed(0.0, retry_after=retry_after)

    assert hold.turn(0.0) == until


def test_a_hold_is_prolonged_but_not_shortened_and_overtakes_turns() -> None:
    hold = Hold()
    hold.shed(0.0, retry_after=7.0)
    turn = hold.turn(0.0)
    hold.shed(0.0, retry_after=1.0)
    assert not hold.overtaken(turn)

    hold.shed(7.0, retry_after=7.0)

    assert hold.overtaken(turn)
    assert hold.turn(7.0) == 14.0
