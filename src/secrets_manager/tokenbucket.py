"""A rate limiter that allows bursts."""


class TokenBucket:
    """Holds up to `burst` tokens and gains `rate` tokens a second. It starts full.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._last = 0.0

    def reserve(self, now: float, tokens: float = 1.0) -> float:
        """Take tokens, on credit if there are too few. Returns the seconds to wait before acting."""
        self._refill(now)
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    def try_take(self, now: float) -> bool:
        """Take a token if there is one. Returns whether there was."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
