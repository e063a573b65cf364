"""The rate limiter that allows bursts."""

from secrets_manager.tokenbucket import TokenBucket


def test_a_token_bucket_lets_a_burst_pass_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3)

    assert [bucket.reserve(0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert [bucket.reserve(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert [bucket.reserve(200.0, 2.0) for _ in range(2)] == [0.0, 0.5]


def test_a_token_is_taken_only_where_there_is_one() -> None:
    bucket = TokenBucket(rate=2.0, burst=3)

    assert [bucket.try_take(10.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.try_take(now) for now in (10.4, 10.5, 10.9, 11.0, 11.1)] == [False, True, False, True, False]
    assert [bucket.try_take(100.0) for _ in range(4)] == [True, True, True, False]
