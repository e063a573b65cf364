"""How many requests to the secret store may be under way: fewer for a store in trouble, by TCP's old rule.

Each sign of trouble halves the number, and each quiet second adds one. So the load settles just below what the store
takes, whatever that is.
"""

from contextlib import AbstractAsyncContextManager

import trio

PAUSE = 1.0
"""Seconds between two changes of the number: what fails within them is one trouble, told by many."""


class Throttle:
    """A bound that adapts itself. `most` is where it begins, and its upper end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limiter = trio.CapacityLimiter(most)
        self._changed_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Throttle {self._limiter.borrowed_tokens} of {self.bound}, at most {self._most}>"

    @property
    def bound(self) -> int:
        """How many may be under way now."""
        return int(self._limiter.total_tokens)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until one more request may be sent, and hold its place for the length of the block."""
        return self._limiter

    def answered(self) -> None:
        """A request went well."""
        self._change(min(self._most, self.bound + 1))

    def failed(self) -> None:
        """A request told of trouble: 429, 5xx, or no answer in time."""
        self._change(max(1, self.bound // 2))

    def _change(self, bound: int) -> None:
        if bound != self.bound and trio.current_time() - self._changed_at >= PAUSE:
            self._limiter.total_tokens = bound
            self._changed_at = trio.current_time()
