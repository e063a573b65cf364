"""Exponential backoff with jitter, so that clients that failed at the same time don't retry at the same time."""

from random import Random

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in seconds. `jitter` is the largest random part that is subtracted, from 0 to 1."""

    initial: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.5

    def delay(self, failures: int, random: Random) -> float:
        """Return the seconds to wait after this many consecutive failures; 0 after none."""
        if failures <= 0:
            return 0.0
        return self._full_delay(failures) * (1.0 - self.jitter * random.random())

    def _full_delay(self, failures: int) -> float:
        try:
            return min(self.maximum, self.initial * self.factor ** (failures - 1))
        except OverflowError:  # after thousands of failures
            return self.maximum


class BackoffManager:
    """Backoff that starts over after a time without failures, like client-go's of the same name.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, backoff: Backoff, *, reset_after: float, random: Random) -> None:
        self._backoff = backoff
        self._reset_after = reset_after
        self._random = random
        self._failures = 0
        self._last_attempt = 0.0

    def after_failure(self, now: float, *, retry_after: float = 0.0) -> float:
        """Return the seconds to wait after a failure: the backoff, and no less than a `retry_after` from the server."""
        self._count(now)
        return self._wait(now, max(self._backoff.delay(self._failures, self._random), retry_after))

    def after_restart(self, now: float) -> float:
        """Return the seconds to wait after a normal end: 0 for the first, the backoff for repeated ones."""
        self._count(now)
        return self._wait(now, self._backoff.delay(self._failures - 1, self._random))

    def _count(self, now: float) -> None:
        healthy = now - self._last_attempt >= self._reset_after
        self._failures = 1 if healthy else self._failures + 1

    def _wait(self, now: float, delay: float) -> float:
        self._last_attempt = now + delay
        return delay
