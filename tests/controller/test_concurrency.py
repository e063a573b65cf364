from secrets_manager.controller.concurrency import ConcurrencyLimit, next_limit
from secrets_manager.controller.read_policy import ReadPolicy

POLICY = ReadPolicy(concurrency=16, concurrency_interval=1.0)


def course(concurrency: ConcurrencyLimit, *, answered: bool, times: list[float]) -> list[int]:
    """The bound after a read has ended at each of these times."""
    bounds = []
    for now in times:
        concurrency = next_limit(concurrency, answered=answered, now=now, policy=POLICY)
        bounds.append(concurrency.limit)
    return bounds


def test_failures_halve_the_bound_down_to_one() -> None:
    assert course(ConcurrencyLimit(16), answered=False, times=[0, 1, 2, 3, 4, 5]) == [8, 4, 2, 1, 1, 1]


def test_odd_bound_is_halved_downwards() -> None:
    assert course(ConcurrencyLimit(15), answered=False, times=[0, 1, 2]) == [7, 3, 1]


def test_failures_at_one_moment_have_one_cause_and_halve_it_once() -> None:
    assert course(ConcurrencyLimit(16), answered=False, times=[0, 0.1, 0.5, 0.9, 1.0, 1.1]) == [8, 8, 8, 8, 4, 4]


def test_answers_raise_it_by_one_up_to_the_configured_number() -> None:
    assert course(ConcurrencyLimit(13), answered=True, times=[0, 1, 2, 3, 4, 5]) == [14, 15, 16, 16, 16, 16]


def test_answers_raise_it_once_in_a_pause() -> None:
    assert course(ConcurrencyLimit(8), answered=True, times=[0, 0.1, 0.5, 0.9, 1.0, 1.1]) == [9, 9, 9, 9, 10, 10]


def test_failure_within_the_pause_after_a_rise_changes_nothing() -> None:
    assert course(ConcurrencyLimit(8, changed_at=10.0), answered=False, times=[10.5, 11.0]) == [8, 4]


def test_answers_while_the_bound_is_at_its_most_do_not_put_off_the_first_halving() -> None:
    full = next_limit(ConcurrencyLimit(16), answered=True, now=60.0, policy=POLICY)

    assert next_limit(full, answered=False, now=60.0, policy=POLICY) == ConcurrencyLimit(8, 60.0)
