"""Reviews, each kept for a short time. Requests with the same key share one review.

Accepted and refused keys are kept apart, each up to a maximum, so that a flood of bad tokens displaces no good one. An
accepted key is known beyond its time: it is reviewed again then, but not counted among the unknown.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

import trio

from secrets_manager.access.reviews import ReviewFailed

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_ENTRIES = 1_000
"""Accepted keys, and as many refused ones."""
ACCEPTED_TTL = 60.0
"""Seconds for which an accepted token or right is cached: one that is revoked counts so long at most."""
REFUSED_TTL = 10.0


class _Answer(NamedTuple, Generic[V]):
    value: V
    expires_at: float


class _Flight(Generic[V]):
    """A review in progress, for the requests that wait for it."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.result: _Answer[V] | ReviewFailed | None = None
        """None if it was cancelled."""


class ReviewCache(Generic[K, V]):
    """Values by key. A falsy value is a refusal."""

    def __init__(self) -> None:
        self._accepted: dict[K, _Answer[V]] = {}
        self._refused: dict[K, _Answer[V]] = {}
        self._flights: dict[K, _Flight[V]] = {}

    def __repr__(self) -> str:
        return f"<ReviewCache {len(self._accepted)} accepted, {len(self._refused)} refused>"

    def __len__(self) -> int:
        return len(self._accepted) + len(self._refused)

    def is_known(self, key: K) -> bool:
        """Whether the key was accepted the last time."""
        return key in self._accepted

    async def get(self, key: K, review: Callable[[], Awaitable[V]]) -> V:
        """Return the value of a key, after a review if there is none.

        Raises:
            ReviewFailed: it failed. That is not kept.
        """
        while (answer := self._fresh(key)) is None:
            flight = self._flights.get(key)
            if flight is None:
                return await self._review(key, review)
            await flight.ended.wait()
            if isinstance(flight.result, ReviewFailed):
                raise flight.result.copy()
        return answer.value

    def _fresh(self, key: K) -> _Answer[V] | None:
        answer = self._accepted.get(key) or self._refused.get(key)
        return answer if answer is not None and trio.current_time() < answer.expires_at else None

    async def _review(self, key: K, review: Callable[[], Awaitable[V]]) -> V:
        flight = self._flights[key] = _Flight[V]()
        try:
            value = await review()
            flight.result = self._keep(key, value)
        except ReviewFailed as error:
            flight.result = error
            raise
        finally:
            del self._flights[key]
            flight.ended.set()
        return value

    def _keep(self, key: K, value: V) -> _Answer[V]:
        """Keep a value. The one that was reviewed longest ago makes room."""
        kept, ttl = (self._accepted, ACCEPTED_TTL) if value else (self._refused, REFUSED_TTL)
        self._accepted.pop(key, None)
        self._refused.pop(key, None)
        answer = kept[key] = _Answer(value, trio.current_time() + ttl)
        if len(kept) > MAX_ENTRIES:
            del kept[next(iter(kept))]
        return answer
