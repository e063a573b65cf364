"""The sources in use: who uses each, what is known of it, and when it is due. What a store is to a reflector.

All that happens to a source comes in here as an event of reading.py, and all that follows from it starts here: the time
of its next wake-up, and the definitions that must be reconciled.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf

import trio

from secrets_manager.backends.base import Place, Source
from secrets_manager.controller import reading
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Effect, Event, Reading, Result
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.timer import Timer


class Read:
    """A read under way, for those who wait for it."""

    def __init__(self) -> None:
        self.began_at = trio.current_time()
        self.ended = trio.Event()
        self.result: Result | None = None
        """None also where it ended without one."""


class Entry:
    """One source in use."""

    __slots__ = ("place", "read", "result", "state", "users")  # there may be ten thousand

    def __init__(self, state: Reading, place: Place | None) -> None:
        self.state = state
        self.place = place
        """Where a listing shows it; None where no listing does."""
        self.users: dict[ObjectKey, float] = {}
        """Each with the period that it wants. Empty once the source is out of use."""
        self.result: Result | None = None
        """What the last read has brought, for as long as it may serve."""
        self.read: Read | None = None
        """The one that is under way."""


class SourceTable:
    """`wake` is called with the definitions that use a source whose content has changed.

    `place` tells where a listing shows a source. `timer` has the next wake-up of each source, or an earlier one.
    """

    def __init__(
        self,
        policy: ReadPolicy,
        *,
        place: Callable[[Source], Place | None],
        wake: Callable[[Iterable[ObjectKey]], None],
    ) -> None:
        self.timer = Timer[Source]()
        self._policy = policy
        self._place = place
        self._wake = wake
        self._entries: dict[Source, Entry] = {}
        self._paths: dict[str, int] = {}
        """Of the sources in use, with the number of sources that have each."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> Mapping[Source, Entry]:
        return self._entries

    def get(self, source: Source) -> Entry | None:
        return self._entries.get(source)

    def has_path(self, path: str) -> bool:
        """Whether any source in use is at this path, in whatever version."""
        return path in self._paths

    def join(self, source: Source, key: ObjectKey, period: float) -> Entry:
        """Let a definition use the source."""
        now = trio.current_time()
        entry = self._entries.get(source) or self._new_entry(source, period, now)
        entry.users[key] = period
        if period < entry.state.period:
            self._change(source, entry, reading.with_period(entry.state, period, now=now))
        return entry

    def leave(self, source: Source, key: ObjectKey) -> Entry:
        """Let a definition use the source no more. Without users, it is out of use."""
        entry = self._entries[source]
        entry.users.pop(key, None)
        if not entry.users:
            del self._entries[source]
            self._paths[source.path] -= 1
            if not self._paths[source.path]:
                del self._paths[source.path]
        return entry

    def apply(self, source: Source, entry: Entry, event: Event) -> None:
        """Let something happen to a source, which may be out of use by now."""
        now = trio.current_time()
        period = min(entry.users.values(), default=entry.state.period)
        state, effects = reading.step(
            reading.with_period(entry.state, period, now=now), event, now=now, policy=self._policy
        )
        if Effect.WAKE in effects:  # before the state says so: should it fail, the next read finds the same change
            self._wake(tuple(entry.users))
        self._change(source, entry, state)

    def hasten(self, source: Source, entry: Entry) -> None:
        """Let the source be due now."""
        self._change(source, entry, reading.due_at(entry.state, trio.current_time()))

    def _new_entry(self, source: Source, period: float, now: float) -> Entry:
        state = reading.unread(source, period=period, now=now, policy=self._policy)
        entry = self._entries[source] = Entry(state, self._place(source))
        self._paths[source.path] = self._paths.get(source.path, 0) + 1
        self.timer.set(source, state.due)
        return entry

    def _change(self, source: Source, entry: Entry, state: Reading) -> None:
        if state.due not in (entry.state.due, inf) and self._entries.get(source) is entry:
            self.timer.set(source, state.due)
        entry.state = state
