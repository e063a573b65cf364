"""Shrink a failing plan: leave out events, many at once and then one by one, as long as it still fails.

This is delta debugging (ddmin). A smaller plan counts if it violates the same property.
"""

from collections.abc import Callable, Collection

Fails = Callable[[Collection[int]], bool]
"""Whether the plan violates the same property with these events alone."""


def shrunk(events: int, fails: Fails, *, tries: int = 200) -> list[int]:
    """Return the numbers of the events that the failure needs, within a number of tries."""
    kept = list(range(events))
    size = max(1, events // 2)
    while True:
        at = 0
        left_out = False
        while at < len(kept):
            if tries == 0:
                return kept
            tries -= 1
            fewer = kept[:at] + kept[at + size :]
            if fails(fewer):
                kept, left_out = fewer, True
            else:
                at += size
        if size == 1 and not left_out:
            return kept
        size = max(1, size // 2)
