"""What holds back requests until a Retry-After has passed."""

import pytest

from secrets_manager.backends.azure.throttle import Throttle
from secrets_manager.backends.base import RateLimited, SourceNotFound, Unavailable


def held_back(throttle: Throttle) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        throttle.check()
    return caught.value


def test_failure_with_retry_after_is_repeated_without_the_details_of_its_request() -> None:
    throttle = Throttle()
    throttle.record(RateLimited("throttled: path 'db'", store="throttled", retry_after=100))

    repeated = held_back(throttle)

    assert (type(repeated), str(repeated)) == (RateLimited, "throttled")
    assert repeated.retry_after is not None
    assert 0 < repeated.retry_after <= 100


def test_longest_retry_after_of_several_responses_holds() -> None:
    throttle = Throttle()
    throttle.record(RateLimited.of_store("long", retry_after=100))
    throttle.record(RateLimited.of_store("short", retry_after=0))

    assert str(held_back(throttle)) == "long"


@pytest.mark.parametrize("error", [Unavailable("down"), SourceNotFound("no such path")])
def test_failure_without_retry_after_holds_back_nothing(error: Unavailable | SourceNotFound) -> None:
    throttle = Throttle()
    throttle.record(error)

    throttle.check()
