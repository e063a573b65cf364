"""Makes a plan that fails smaller: events are left out, many at once and then one by one, as long as it still fails.

This is delta debugging (ddmin). A plan fails in the same way as before if it breaks the same promise.
"""

from collections.abc import Callable, Collection

Fails = Callable[[Collection[int]], bool]
"""Whether the plan fails in the same way with these events alone."""


def shrunk(events: int, fails: Fails, *, tries: int = 200) -> list[int]:
    """The numbers of events without any of which it would not fail, as far as so many tries show."""
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
