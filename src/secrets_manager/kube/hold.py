"""When calls may go, after a server that sheds load has asked the whole client to wait.

    free ── shed ──> held until a moment ──> paced for a second ──> free
                          ^                        │
                          └───────── shed ─────────┘

All that wait for that moment must not go in it: a server that is still short would turn nearly all of them away again.
So they go one by one, with those that come meanwhile, and the first of them finds out how the server is. The pace ends
after a second, however many wait: work that is under way must not be slowed down for good.

Times are seconds of any clock that never goes back.
"""

import math

USUAL_HOLD, LONGEST_HOLD = 1.0, 32.0
"""Seconds: where the server names none, and at most. Priority and Fairness asks for up to 32."""
BETWEEN = 0.02
"""Seconds between two calls while they are paced."""
PACED_FOR = 1.0
"""Seconds after a hold in which calls are paced."""


class Hold:
    """For one client. It begins free."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._next = -math.inf

    def shed(self, now: float, *, retry_after: float | None) -> None:
        """Hold all calls that have not gone yet. It may prolong a hold, but does not shorten one."""
        until = now + min(retry_after or USUAL_HOLD, LONGEST_HOLD)
        if until > self._until:
            self._until = self._next = until

    def turn(self, now: float) -> float:
        """When a call may go that would go now. It holds unless `overtaken`."""
        if now >= self._until + PACED_FOR:
            return now
        turn = max(now, self._next)
        self._next = turn + BETWEEN
        return turn

    def overtaken(self, turn: float) -> bool:
        """Whether the server has asked for more time since this turn was given: ask for another one."""
        return turn < self._until
