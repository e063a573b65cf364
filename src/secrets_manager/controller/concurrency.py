"""How many requests to the secret store may be under way: additive increase, multiplicative decrease, as in TCP. Pure.

    Event                                         Bound
    --------------------------------------------  -------------------------------------
    a read or a listing is answered               one more, up to the configured number
    a read fails: 429, 5xx, no answer in time     half as many, but one at least
    either, within a pause after the last change  unchanged

So the load settles just below what the store takes.
"""

import math

import msgspec

from secrets_manager.controller.read_policy import ReadPolicy


class Concurrency(msgspec.Struct, frozen=True):
    """The bound, and when it was changed last."""

    bound: int
    changed_at: float = -math.inf


def adapted(concurrency: Concurrency, *, answered: bool, now: float, policy: ReadPolicy) -> Concurrency:
    """The bound after one more request has ended."""
    bound = concurrency.bound
    wanted = min(policy.concurrency, bound + 1) if answered else max(1, bound // 2)
    if wanted == bound or now - concurrency.changed_at < policy.concurrency_pause:
        return concurrency
    return Concurrency(wanted, now)
