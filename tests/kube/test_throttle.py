import pytest

from secrets_manager.kube.throttle import Throttle

PACE_DURATION = 1.0
PACE_INTERVAL = 0.02


def test_requests_go_as_they_come_while_the_throttle_is_open() -> None:
    throttle = Throttle()

    assert [throttle.reserve(5.0) for _ in range(3)] == [5.0] * 3


def test_requests_go_one_by_one_after_the_block_those_that_come_then_too() -> None:
    throttle = Throttle()
    throttle.back_off(10.0, retry_after=7.0)

    blocked = [throttle.reserve(11.0), throttle.reserve(12.0)]
    later = [throttle.reserve(17.0), throttle.reserve(17.5)]

    assert blocked == pytest.approx([17.0, 17.0 + PACE_INTERVAL])
    assert later == pytest.approx([17.0 + 2 * PACE_INTERVAL, 17.5])


def test_the_pace_ends_however_many_requests_wait() -> None:
    throttle = Throttle()
    throttle.back_off(10.0, retry_after=7.0)
    for _ in range(1000):
        throttle.reserve(11.0)

    assert throttle.reserve(17.0 + PACE_DURATION) == 17.0 + PACE_DURATION


@pytest.mark.parametrize(("retry_after", "until"), [(None, 1.0), (0.0, 1.0), (32.0, 32.0)])
def test_the_server_says_for_how_long_to_back_off(retry_after: float | None, until: float) -> None:
    throttle = Throttle()

    throttle.back_off(0.0, retry_after=retry_after)

    assert throttle.reserve(0.0) == until


def test_a_block_is_extended_but_not_shortened_and_makes_slots_stale() -> None:
    throttle = Throttle()
    throttle.back_off(0.0, retry_after=7.0)
    slot = throttle.reserve(0.0)
    throttle.back_off(0.0, retry_after=1.0)
    assert not throttle.is_stale(slot)
    assert throttle.reserve(0.0) == 7.0 + PACE_INTERVAL

    throttle.back_off(7.0, retry_after=7.0)

    assert throttle.is_stale(slot)
    assert throttle.reserve(7.0) == 14.0
