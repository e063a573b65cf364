"""Keys that wait for their time: the pure part of the work queue's timer.

A heap finds the next one, a map holds for each key the time that counts. Where a key gets an earlier time, its old
place in the heap stays behind until its turn comes or until such leftovers outnumber the rest; so neither memory nor
the search grows with how often a key is set.
"""

import heapq
from collections.abc import Hashable
from math import inf
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """Each key has at most one time, in seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._entries: dict[K, _Entry[K]] = {}
        self._heap: list[_Entry[K]] = []
        self._turn = 0

    def set(self, key: K, time: float) -> None:
        """Let the key come at this time, or earlier if an earlier time is set already."""
        present = self._entries.get(key)
        if present is not None and present.time <= time:
            return
        self._turn += 1
        self._entries[key] = entry = _Entry(time, self._turn, key)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries):
            self._sweep()

    def pop_due(self, now: float) -> list[K]:
        """Take out all keys whose time has come, in the order of their times."""
        due: list[K] = []
        while self._heap and self._heap[0].time <= now:
            entry = heapq.heappop(self._heap)
            if self._counts(entry):
                del self._entries[entry.key]
                due.append(entry.key)
        return due

    @property
    def next_time(self) -> float:
        """When it is worth to call `pop_due` again; infinity if nothing waits."""
        return self._heap[0].time if self._heap else inf

    def __len__(self) -> int:
        return len(self._entries)

    def _counts(self, entry: "_Entry[K]") -> bool:
        return self._entries.get(entry.key) is entry

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if self._counts(entry)]
        heapq.heapify(self._heap)


class _Entry(NamedTuple, Generic[K]):
    time: float
    turn: int
    """Breaks ties, so that keys need no order of their own."""
    key: K
