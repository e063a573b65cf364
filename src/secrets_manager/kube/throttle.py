"""Client-side throttling after a 429 that concerns the whole client. Pure.

    open ── back_off ──> blocked ── retry_after ──> paced for a second ──> open
                            ^                              │
                            └────────── back_off ──────────┘

Requests that waited must not go all at once: a server that still sheds load would reject nearly all of them. So they go
one by one for a second, and the first one finds out how the server is. Pacing ends after that second even if requests
still wait, so that ongoing work is not slowed down for good.

Times are seconds of a monotonic clock.
"""

import math

DEFAULT_RETRY_AFTER = 1.0
"""Seconds."""
PACE_INTERVAL = 0.02
"""Seconds between two requests while they are paced."""
PACE_DURATION = 1.0
"""Seconds of pacing after a block."""


class Throttle:
    """The throttle of one client. It starts open."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._next = -math.inf

    def back_off(self, now: float, *, retry_after: float | None) -> None:
        """Block requests that have not been sent. Extends an earlier block, but never shortens it."""
        until = now + (retry_after or DEFAULT_RETRY_AFTER)
        if until > self._until:
            self._until = self._next = until

    def reserve(self, now: float) -> float:
        """Return when a request may be sent that is ready now. Check `is_stale` at that time."""
        if now >= self._until + PACE_DURATION:
            return now
        slot = max(now, self._next)
        self._next = slot + PACE_INTERVAL
        return slot

    def is_stale(self, slot: float) -> bool:
        """Whether the server has asked for more time since the slot was reserved: reserve another one."""
        return slot < self._until
