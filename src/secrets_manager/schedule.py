"""Keys with a time each: the pure part of the timer.

A heap finds the next key, and a map holds the current time of each. An entry that an earlier time replaces stays in the
heap until it is popped, or until stale entries outnumber the others, so memory does not grow with repeated sets.
"""

import heapq
from collections.abc import Hashable
from math import inf
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """A priority queue by time, in seconds of a monotonic clock. Each key has at most one time."""

    def __init__(self) -> None:
        self._entries: dict[K, _Entry[K]] = {}
        self._heap: list[_Entry[K]] = []
        self._sequence = 0

    def set(self, key: K, time: float) -> None:
        """Schedule the key for this time; an earlier time that is set already stays."""
        present = self._entries.get(key)
        if present is not None and present.time <= time:
            return
        self._sequence += 1
        self._entries[key] = entry = _Entry(time, self._sequence, key)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries):
            self._compact()

    def pop_due(self, now: float) -> list[K]:
        """Remove and return the keys that are due, in the order of their times."""
        due: list[K] = []
        while self._heap and self._heap[0].time <= now:
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                del self._entries[entry.key]
                due.append(entry.key)
        return due

    @property
    def next_time(self) -> float:
        """When `pop_due` may return keys again; infinity if there are none."""
        return self._heap[0].time if self._heap else inf

    def __len__(self) -> int:
        return len(self._entries)

    def _is_current(self, entry: "_Entry[K]") -> bool:
        return self._entries.get(entry.key) is entry

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._is_current(entry)]
        heapq.heapify(self._heap)


class _Entry(NamedTuple, Generic[K]):
    time: float
    sequence: int
    """Breaks ties, so that keys need no order."""
    key: K
