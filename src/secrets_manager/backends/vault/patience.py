"""Waits between attempts that fail, for all who would make one."""

from random import Random

import trio

from secrets_manager.backends.base import BackendError, Unavailable
from secrets_manager.backoff import Backoff

BACKOFF = Backoff(initial=1.0, maximum=15.0)


class Patience:
    """Remembers the last failure until it is time to try again. Times in seconds on Trio's clock."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self._failure = Unavailable("")
        self.retry_at = 0.0

    def __repr__(self) -> str:
        return f"Patience({self._failures} failures)"

    def check(self) -> None:
        """Raises: Unavailable, the last failure again, while it is too early."""
        if self._failures and trio.current_time() < self.retry_at:
            raise self._failure.again()

    def failed(self, error: BackendError) -> Unavailable:
        """Note a failure of what all have in common, and return it. Vault may ask for more time than we would take."""
        self._failures += 1
        failure = error if isinstance(error, Unavailable) else Unavailable.of_store(str(error))
        self._failure = failure.again()
        asked = failure.retry_after or 0.0
        delay = max(BACKOFF.delay(self._failures, self._random), min(asked, BACKOFF.maximum))
        self.retry_at = trio.current_time() + delay
        return failure

    def succeeded(self) -> None:
        self._failures, self.retry_at = 0, 0.0
