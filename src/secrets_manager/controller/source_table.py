"""The sources in use, with their users, states and due times.

Events of reading.py are applied here. The effects are timers, and definitions to reconcile.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from math import inf

import msgspec
import trio

from secrets_manager.backends import Place, Source, Unavailable
from secrets_manager.controller import reading
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Effect, Event, ReadResult, SourceState
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.timer import Timer


class Read:
    """A read in progress, for tasks that wait for it."""

    def __init__(self) -> None:
        self.began_at = trio.current_time()
        self.ended = trio.Event()
        self.result: ReadResult | None = None
        """None until it ends, and if it was cancelled."""


class Listings:
    """The listings of a folder, as the sources in it see them."""

    __slots__ = ("began_at",)

    def __init__(self) -> None:
        self.began_at = -inf
        """When the last one began that was applied to all sources."""


class Entry:
    """A source in use."""

    __slots__ = ("cached", "failure", "listings", "place", "read", "state", "users")  # there may be ten thousand

    def __init__(self, state: SourceState, place: Place | None) -> None:
        self.state = state
        self.place = place
        """Its place in listings; None if it is in none."""
        self.listings: Listings | None = None
        """Those of its folder; None if it is in none."""
        self.users: dict[ObjectKey, float] = {}
        """The definitions, with their periods. Empty once the source is not in use."""
        self.cached: ReadResult | None = None
        """The result of the last read, until it expires."""
        self.failure: Unavailable | None = None
        """Why the last read got no answer; None if it got one, or there was none."""
        self.read: Read | None = None
        """The read in progress, if any."""

    @property
    def verified_at(self) -> float:
        """When the store was last known to have the content that was read: by a read, or by a listing."""
        state = self.state
        if state.confirmed and self.listings is not None:
            return max(state.verified_at, self.listings.began_at)
        return state.verified_at


class SourceTable:
    """The table. `timer` has the due time of each source, or an earlier time.

    Args:
        policy: The parameters of reading.
        place: Returns the place of a source in listings.
        wake: Called with the definitions that use a source whose content has changed.
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
        """The number of sources in use at each path."""
        self._by_namespace = defaultdict[str, Counter[Source]](Counter)
        """The sources that each namespace uses, with the number of its definitions."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> Mapping[Source, Entry]:
        return self._entries

    def get(self, source: Source) -> Entry | None:
        return self._entries.get(source)

    def has_path(self, path: str) -> bool:
        """Whether a source in use is at this path, in any version."""
        return path in self._paths

    def namespaces(self, source: Source) -> frozenset[str]:
        """Return the namespaces that use a source."""
        entry = self._entries.get(source)
        return frozenset() if entry is None else frozenset(key.namespace for key in entry.users)

    def outside(self, namespaces: AbstractSet[str]) -> Iterator[Source]:
        """Yield the sources in use that none of these namespaces uses; those of several others several times."""
        inside = [self._by_namespace[namespace] for namespace in namespaces if namespace in self._by_namespace]
        for namespace, sources in self._by_namespace.items():
            if namespace not in namespaces:
                yield from (source for source in sources if not any(source in each for each in inside))

    def add_user(self, source: Source, key: ObjectKey, period: float) -> Entry:
        """Add a definition to the users of a source."""
        now = trio.current_time()
        entry = self._entries.get(source) or self._new_entry(source, period, now)
        if key not in entry.users:
            self._by_namespace[key.namespace][source] += 1
        entry.users[key] = period
        if period < entry.state.period:
            self._set_state(source, entry, reading.with_period(entry.state, period, now=now))
        return entry

    def remove_user(self, source: Source, key: ObjectKey) -> Entry:
        """Remove a definition from the users of a source. Without users, the source is removed."""
        entry = self._entries[source]
        del entry.users[key]
        theirs = self._by_namespace[key.namespace]
        theirs[source] -= 1
        if not theirs[source]:
            del theirs[source]
        if not theirs:
            del self._by_namespace[key.namespace]
        if not entry.users:
            del self._entries[source]
            self._paths[source.path] -= 1
            if not self._paths[source.path]:
                del self._paths[source.path]
        return entry

    def apply(self, source: Source, entry: Entry, event: Event) -> None:
        """Apply an event to a source, which may be removed already."""
        now = trio.current_time()
        period = min(entry.users.values(), default=entry.state.period)
        state, effects = reading.step(
            reading.with_period(entry.state, period, now=now), event, now=now, policy=self._policy
        )
        if Effect.WAKE in effects:  # before the state changes: if it fails, the next read finds the same change
            self._wake(tuple(entry.users))
        verified_at = max(state.verified_at, entry.verified_at)  # by listings that may tell nothing from now on
        self._set_state(source, entry, msgspec.structs.replace(state, verified_at=verified_at))

    def set_due_now(self, source: Source, entry: Entry) -> None:
        """Make the source due now."""
        self._set_state(source, entry, reading.reschedule(entry.state, trio.current_time()))

    def _new_entry(self, source: Source, period: float, now: float) -> Entry:
        state = reading.new_state(source, period=period, now=now, policy=self._policy)
        entry = self._entries[source] = Entry(state, self._place(source))
        self._paths[source.path] = self._paths.get(source.path, 0) + 1
        self.timer.set(source, state.due)
        return entry

    def _set_state(self, source: Source, entry: Entry, state: SourceState) -> None:
        if state.due not in (entry.state.due, inf):
            self.timer.set(source, state.due)
        entry.state = state
