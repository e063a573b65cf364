import math

import pytest

from secrets_manager.kube.throttle import Throttle

MAX_RETRY_AFTER = 32.0
PACE_DURATION = 1.0
PACE_INTERVAL = 0.02


def test_calls_go_as_they_come_where_nothing_is_shed() -> None:
    hold = Throttle()

    assert [hold.reserve(5.0) for _ in range(3)] == [5.0] * 3


def test_calls_go_one_by_one_after_the_hold_those_that_come_then_too() -> None:
    hold = Throttle()
    hold.back_off(10.0, retry_after=7.0)

    held = [hold.reserve(11.0), hold.reserve(12.0)]
    later = [hold.reserve(17.0), hold.reserve(17.5)]

    assert held == pytest.approx([17.0, 17.0 + PACE_INTERVAL])
    assert later == pytest.approx([17.0 + 2 * PACE_INTERVAL, 17.5])


def test_the_pace_ends_however_many_wait() -> None:
    hold = Throttle()
    hold.back_off(10.0, retry_after=7.0)
    for _ in range(1000):
        hold.reserve(11.0)

    assert hold.reserve(17.0 + PACE_DURATION) == 17.0 + PACE_DURATION


@pytest.mark.parametrize(("retry_after", "until"), [(None, 1.0), (0.0, 1.0), (32.0, 32.0), (math.inf, MAX_RETRY_AFTER)])
def test_the_server_says_for_how_long(retry_after: float | None, until: float) -> None:
    hold = Throttle()

    hold.back_off(0.0, retry_after=retry_after)

    assert hold.reserve(0.0) == until


def test_a_hold_is_prolonged_but_not_shortened_and_overtakes_turns() -> None:
    hold = Throttle()
    hold.back_off(0.0, retry_after=7.0)
    slot = hold.reserve(0.0)
    hold.back_off(0.0, retry_after=1.0)
    assert not hold.is_stale(slot)

    hold.back_off(7.0, retry_after=7.0)

    assert hold.is_stale(slot)
    assert hold.reserve(7.0) == 14.0
