"""How long to wait before the next attempt.

The delay doubles with each failure in a row, up to a maximum, and a random part of it is left out, so that many who
failed at one moment (a restart, an outage) don't come back at one moment.
"""

from random import Random

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for delays in seconds. `jitter` is the largest part of a delay that chance may take away, from 0 to 1."""

    initial: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.5

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after so many failures in a row: nothing after none, never more than the maximum."""
        if failures <= 0:
            return 0.0
        return self._full_delay(failures) * (1.0 - self.jitter * random.random())

    def _full_delay(self, failures: int) -> float:
        try:
            return min(self.maximum, self.initial * self.factor ** (failures - 1))
        except OverflowError:  # some thousand failures on: far beyond any maximum
            return self.maximum


class Streak:
    """Trouble in a row, as a task that tries for ever meets it; a while without any ends the streak.

    Times are seconds of any clock that never goes back.
    """

    def __init__(self, backoff: Backoff, *, healthy_after: float, random: Random) -> None:
        self._backoff = backoff
        self._healthy_after = healthy_after
        self._random = random
        self._length = 0
        self._last = 0.0

    def after_failure(self, now: float, *, retry_after: float | None = None) -> float:
        """Seconds to wait after a failure. What the other side asks for wins over the backoff."""
        self._grow(now)
        return self._wait(now, retry_after or self._backoff.delay(self._length, self._random))

    def after_hiccup(self, now: float) -> float:
        """Seconds to wait after what is no failure unless it comes in a row: none for the first."""
        self._grow(now)
        return self._wait(now, self._backoff.delay(self._length - 1, self._random))

    def _grow(self, now: float) -> None:
        healthy = now - self._last >= self._healthy_after
        self._length = 1 if healthy else self._length + 1

    def _wait(self, now: float, delay: float) -> float:
        self._last = now + delay
        return delay
