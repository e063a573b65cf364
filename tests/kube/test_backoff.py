from random import Random

import pytest

from secrets_manager.backoff import Backoff, BackoffManager

DOUBLING = Backoff(initial=1.0, maximum=30.0, jitter=0.0)


def test_the_delay_doubles_up_to_the_maximum() -> None:
    assert [DOUBLING.delay(failures, Random(0)) for failures in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_a_factor_of_one_keeps_the_delay() -> None:
    steady = Backoff(initial=2.0, maximum=30.0, factor=1.0, jitter=0.0)

    assert {steady.delay(failures, Random(0)) for failures in range(1, 50)} == {2.0}


@pytest.mark.parametrize("failures", [10_000, 10**9])
def test_no_number_of_failures_overflows(failures: int) -> None:
    assert DOUBLING.delay(failures, Random(0)) == 30.0


def test_jitter_shortens_the_delay_by_its_share_at_most() -> None:
    backoff, random = Backoff(initial=8.0, maximum=8.0, jitter=0.25), Random(1)

    delays = [backoff.delay(1, random) for _ in range(1_000)]

    assert 6.0 <= min(delays) < 6.1
    assert 7.9 < max(delays) <= 8.0


def streak() -> BackoffManager:
    return BackoffManager(DOUBLING, reset_after=120.0, random=Random(0))


def test_failures_in_a_row_wait_longer_and_longer() -> None:
    failing = streak()

    assert [failing.after_failure(now) for now in (0.0, 1.0, 3.0)] == [1.0, 2.0, 4.0]


def test_one_hiccup_alone_waits_for_nothing_but_hiccups_in_a_row_do() -> None:
    hiccuping = streak()

    assert [hiccuping.after_restart(now) for now in (0.0, 0.0, 1.0, 3.0)] == [0.0, 1.0, 2.0, 4.0]


def test_two_minutes_of_health_after_the_wait_end_the_streak() -> None:
    failing = streak()
    failing.after_failure(0.0)
    failing.after_failure(1.0)  # waits until 3.0

    assert failing.after_failure(122.9) == 4.0
    assert failing.after_failure(126.9 + 120.0) == 1.0


def test_the_backoff_is_no_shorter_than_the_server_asks_for() -> None:
    failing = streak()

    assert [failing.after_failure(0.0, retry_after=after) for after in (7.0, 0.5, 0.0)] == [7.0, 2.0, 4.0]
