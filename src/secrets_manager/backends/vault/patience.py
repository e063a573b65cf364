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
        """Raises: Unavailable, of the class and with the text of the last failure, while it is too early."""
        if self._failures and trio.current_time() < self.retry_at:
            raise type(self._failure)(str(self._failure))

    def failed(self, error: BackendError) -> Unavailable:
        """Notes a failure, and returns it for all who wait. Vault may wish for more time than we would take."""
        self._failures += 1
        told = error if isinstance(error, Unavailable) else Unavailable(str(error))
        self._failure = type(told)(str(told))
        wished = told.retry_after or 0.0
        delay = max(BACKOFF.delay(self._failures, self._random), min(wished, BACKOFF.maximum))
        self.retry_at = trio.current_time() + delay
        return told

    def succeeded(self) -> None:
        self._failures, self.retry_at = 0, 0.0
