"""Backoff that is shared by all tasks that would send the same request."""

from random import Random

import trio

from secrets_manager.backends.base import BackendError, Unavailable
from secrets_manager.backoff import Backoff

BACKOFF = Backoff(initial=1.0, maximum=15.0)


class RetryGate:
    """Repeats the last failure until it is time to retry. Times are in seconds on Trio's clock."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self._failure = Unavailable("")
        self.retry_at = 0.0

    def __repr__(self) -> str:
        return f"RetryGate({self._failures} failures)"

    def check(self) -> None:
        """Raise a copy of the last failure if it is too early to retry.

        Raises:
            Unavailable: the last failure.
        """
        if self._failures and trio.current_time() < self.retry_at:
            raise self._failure.copy()

    def failed(self, error: BackendError) -> Unavailable:
        """Record a failure and return it as Unavailable. Vault's Retry-After lengthens the delay, up to the maximum."""
        self._failures += 1
        failure = error if isinstance(error, Unavailable) else Unavailable.of_store(str(error))
        self._failure = failure.copy()
        retry_after = failure.retry_after or 0.0
        delay = max(BACKOFF.delay(self._failures, self._random), min(retry_after, BACKOFF.maximum))
        self.retry_at = trio.current_time() + delay
        return failure

    def succeeded(self) -> None:
        """Open the gate."""
        self._failures, self.retry_at = 0, 0.0
