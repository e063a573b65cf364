"""How often the API server reviews, and for how long its answers are cached."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.access.cache import ReviewCache
from secrets_manager.access.reviews import ReviewFailed

ACCEPTED_TTL = 60.0
MAX_ENTRIES = 1_000
REFUSED_TTL = 10.0

Review = Callable[[], Awaitable[bool]]


class Oracle:
    """Counts the reviews, each of which takes a second."""

    def __init__(self, answer: bool | ReviewFailed) -> None:  # noqa: FBT001 - it is the answer
        self.answer = answer
        self.calls = 0

    async def __call__(self) -> bool:
        self.calls += 1
        await trio.sleep(1)
        if isinstance(self.answer, ReviewFailed):
            raise self.answer
        return self.answer


async def test_an_answer_is_kept_for_a_short_time_and_a_refusal_for_a_shorter_one(autojump_clock: MockClock) -> None:
    for answer, ttl in ((True, ACCEPTED_TTL), (False, REFUSED_TTL)):
        cache, oracle = ReviewCache[str, bool](), Oracle(answer)
        assert await cache.get("a", oracle) is answer
        await trio.sleep(ttl - 0.1)
        assert await cache.get("a", oracle) is answer
        assert oracle.calls == 1
        await trio.sleep(0.2)
        assert await cache.get("a", oracle) is answer
        assert oracle.calls == 2


async def test_concurrent_requests_share_one_review(autojump_clock: MockClock) -> None:
    cache, oracle, answers = ReviewCache[str, bool](), Oracle(answer=True), list[bool]()

    async def ask() -> None:
        answers.append(await cache.get("a", oracle))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)

    assert answers == [True] * 50
    assert oracle.calls == 1


async def test_they_share_its_failure_which_is_not_kept(autojump_clock: MockClock) -> None:
    cache, oracle, failures = ReviewCache[str, bool](), Oracle(ReviewFailed("down", retry_after=7)), list[str]()

    async def ask() -> None:
        with pytest.raises(ReviewFailed, match="down") as raised:
            await cache.get("a", oracle)
        failures.append(f"{raised.value} {raised.value.retry_after}")

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert failures == ["down 7"] * 5
    assert oracle.calls == 1

    oracle.answer = True
    assert await cache.get("a", oracle) is True


async def test_a_request_that_goes_away_leaves_its_review_to_the_next(autojump_clock: MockClock) -> None:
    cache, oracle, answers = ReviewCache[str, bool](), Oracle(answer=True), list[bool]()

    async def ask(seconds: float) -> None:
        with trio.move_on_after(seconds):
            answers.append(await cache.get("a", oracle))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 0.5)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, 60)
        nursery.start_soon(ask, 60)

    assert answers == [True, True]
    assert oracle.calls == 2


async def test_an_answer_that_changes_replaces_the_other(autojump_clock: MockClock) -> None:
    cache, oracle = ReviewCache[str, bool](), Oracle(answer=True)
    await cache.get("a", oracle)
    assert cache.is_known("a")

    await trio.sleep(ACCEPTED_TTL)
    assert cache.is_known("a"), "beyond its time"
    oracle.answer = False
    await cache.get("a", oracle)

    assert not cache.is_known("a")
    assert len(cache) == 1


async def test_a_flood_of_refusals_displaces_no_accepted_key_and_is_bounded(autojump_clock: MockClock) -> None:
    cache, good, bad = ReviewCache[str, bool](), Oracle(answer=True), Oracle(answer=False)
    await cache.get("good", good)

    async with trio.open_nursery() as nursery:
        for number in range(3 * MAX_ENTRIES):
            nursery.start_soon(cache.get, f"bad {number}", bad)

    assert len(cache) == MAX_ENTRIES + 1
    assert await cache.get("good", good) is True
    assert good.calls == 1
