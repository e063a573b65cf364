"""Hold back all requests until the Retry-After of a response has passed."""

import time
from typing import NamedTuple

from secrets_manager.backends.base import BackendError, Unavailable


class _Refusal(NamedTuple):
    failure: Unavailable
    until: float


class Throttle:
    """Repeats the failure that had a Retry-After. Threads share it."""

    def __init__(self) -> None:
        self._last = _Refusal(Unavailable(""), until=float("-inf"))

    def check(self) -> None:
        """Fail if it is too early for a request.

        Raises:
            Unavailable: the failure that had the Retry-After, without the details of its request.
        """
        failure, until = self._last
        left = until - time.monotonic()
        if left > 0:
            raise type(failure).of_store(failure.store, retry_after=left)

    def record(self, error: BackendError) -> None:
        """Hold back requests, if the failure has a Retry-After."""
        if isinstance(error, Unavailable) and error.retry_after is not None:
            until = time.monotonic() + error.retry_after
            self._last = max(self._last, _Refusal(error.for_others(), until), key=lambda refusal: refusal.until)
