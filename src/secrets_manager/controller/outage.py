"""Whether the secret store as a whole is down, told from the run of failures of distinct sources.

One path that always fails says nothing of the store; several different ones in a row do. Then one read at a time asks
whether the store is back, with a backoff, and all others fail at once with the reason that is known: a store in trouble
gets fewer requests, not more.
"""

import logging
import random

import trio

from secrets_manager.backends.base import Source, Unavailable
from secrets_manager.backoff import Backoff

log = logging.getLogger(__name__)

SUSPECTS = 3


class Outage:
    """Told of every answer and of every failure; asked before each read."""

    def __init__(self, backoff: Backoff, random: random.Random) -> None:
        self._backoff = backoff
        self._random = random
        self._failed: set[Source] = set()
        self._probes = 0
        self._probed: Source | None = None
        self._error: Unavailable | None = None
        self._next_probe = float("-inf")

    @property
    def down(self) -> bool:
        return len(self._failed) >= SUSPECTS

    def refusal(self, source: Source) -> Unavailable | None:
        """The error that a read would end with, or None where it should be tried."""
        if not self.down:
            return None
        if trio.current_time() < self._next_probe:
            return self._error
        self._probed = source
        self._probes += 1
        self._next_probe = trio.current_time() + self._backoff.maximum  # a cancelled probe never tells that it ended
        return None

    def answered(self) -> None:
        """The store gave an answer, be it a refusal: it is up."""
        if self.down:
            log.info("the backend answers again")
        self._failed.clear()
        self._probes = 0
        self._probed = None
        self._error = None

    def failed(self, source: Source, error: Unavailable) -> None:
        """The store gave no answer for this source."""
        was_down = self.down
        self._failed.add(source)
        self._error = error
        if not self.down:
            return
        if not was_down:
            log.warning("the backend is unavailable", extra={"fields": {"error": str(error)}})
        if self._probed in (None, source):  # what was under way before the outage says nothing new of it
            self._probed = None
            self._wait()

    def _wait(self) -> None:
        pause = self._backoff.delay(self._probes + 1, self._random)
        if self._error is not None and self._error.retry_after is not None:
            pause = max(pause, self._error.retry_after)
        self._next_probe = trio.current_time() + pause
