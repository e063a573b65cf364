"""The limit of concurrent requests to the secret store: additive increase, multiplicative decrease, as in TCP. Pure.

Event                                  Limit
-------------------------------------  -------------------------------------
a read or a listing succeeds           one more, up to the configured number
a read fails: 429, 5xx, timeout        half as many, at least one
either, soon after the last change     unchanged
"""

import math

import msgspec

from secrets_manager.controller.read_policy import ReadPolicy


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """The limit, and when it last changed."""

    limit: int
    changed_at: float = -math.inf


def next_limit(concurrency: ConcurrencyLimit, *, answered: bool, now: float, policy: ReadPolicy) -> ConcurrencyLimit:
    """Return the limit after a request has ended."""
    limit = concurrency.limit
    wanted = min(policy.concurrency, limit + 1) if answered else max(1, limit // 2)
    if wanted == limit or now - concurrency.changed_at < policy.concurrency_interval:
        return concurrency
    return ConcurrencyLimit(wanted, now)
