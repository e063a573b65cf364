"""Finds changes by listing folders, wherever that asks the store for less than reading each source in turn.

A listing tells the markers of all that a folder holds for the price of a few reads, so it may come far more often than
the reads that it saves: a change arrives within about a second, however long the period is. A folder is *covered*
while its listings tell; else its sources are polled one by one, and listing it is tried again later.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec
import trio

from secrets_manager.backends.base import Backend, BackendError, Place, Source, Unavailable
from secrets_manager.backoff import Backoff

log = logging.getLogger(__name__)

PART = 1 / 20
"""Of the time, at most, is spent on the listings of one folder; more only where they would be rarer than the reads."""
SPARE = 5.0
"""Seconds of rest that a folder may have in hand, so that one slow listing among quick ones puts off no other."""
AT_A_TIME = 2
"""So many listings are under way at most: each may cost the store as much as many reads, and how long one takes tells
nothing of it where others were in its way."""
MOSTLY_OTHERS = 20
"""So many times as many secrets as are used here make a listing that is slow a waste."""
RETRY = Backoff(initial=60.0, maximum=3600.0)
"""For folders that can't be listed: policies change, and stores are upgraded, though not often."""


class Folder(msgspec.Struct, frozen=True):
    """What stands in the queue when a folder's turn has come."""

    path: str


class _State:
    """What is known of one folder. Its members are the sources in use, by their names in listings."""

    def __init__(self) -> None:
        self.members: dict[Source, str] = {}
        self.unread: set[Source] = set()
        """Those of which nothing is known yet."""
        self.covered = False
        self.refusals = 0
        self.owed = -SPARE
        """Seconds of rest that the listings so far have cost, less those that it had."""
        self.listed_at = trio.current_time()
        """Or when the folder came into use."""


class Folders:
    """All folders that hold a source in use.

    `period` is that of the reads, `list_period` the shortest one of listings, both in seconds; 0 lists nothing.
    `schedule` is asked to have a folder looked at in so many seconds. `uncovered` is told the sources that must be
    polled from now on.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        period: float,
        list_period: float,
        random: random.Random,
        schedule: Callable[[Folder, float], None],
        uncovered: Callable[[Iterable[Source]], None],
    ) -> None:
        self._backend = backend
        self._period = period
        self._list_period = list_period
        self._random = random
        self._schedule = schedule
        self._uncovered = uncovered
        self._states: dict[Folder, _State] = {}
        self._under_way = 0
        self._waiting: deque[Folder] = deque()

    def join(self, source: Source) -> None:
        """This source is in use from now on."""
        place = self._place(source)
        if place is None:
            return
        folder = Folder(place.folder)
        state = self._states.setdefault(folder, _State())
        state.members[source] = place.name
        state.unread.add(source)
        if len(state.members) == 2:  # noqa: PLR2004 - for a single one, a listing is no cheaper than a read
            self._schedule(folder, self._list_period * self._random.uniform(1.0, 2.0))

    def was_read(self, source: Source) -> None:
        """For the first time, well or not; it may have been left meanwhile."""
        place = self._place(source)
        state = self._states.get(Folder(place.folder)) if place else None
        if state is not None:
            state.unread.discard(source)

    def leave(self, source: Source) -> None:
        """This source is used no more."""
        place = self._place(source)
        if place is None:
            return
        state = self._states[Folder(place.folder)]
        del state.members[source]
        state.unread.discard(source)
        if not state.members:
            del self._states[Folder(place.folder)]

    def covers(self, source: Source) -> bool:
        """Whether listings tell of this source's changes just now."""
        place = self._place(source)
        return place is not None and self._states[Folder(place.folder)].covered

    async def look(self, folder: Folder) -> Mapping[Source, str | None]:
        """One turn: the marker of each member, None for what can't be read; or nothing if no listing can be had.

        A turn that comes while many listings are under way has to wait: see `next_waiting`. While sources still have to
        be read, as after a start, the store has enough to do, and there is one listing a period.
        """
        state = self._states.get(folder)
        if state is None or len(state.members) <= 1:
            self._give_up(state)
            return {}
        if state.unread and trio.current_time() - state.listed_at < self._period:
            self._schedule(folder, self._list_period)
            return {}
        if self._under_way == AT_A_TIME:
            self._waiting.append(folder)
            return {}
        self._under_way += 1
        try:
            return await self._list(folder, state)
        finally:
            self._under_way -= 1

    def next_waiting(self) -> Folder | None:
        """The folder whose turn has waited for longest, when it can have it now."""
        return self._waiting.popleft() if self._waiting and self._under_way < AT_A_TIME else None

    async def _list(self, folder: Folder, state: _State) -> Mapping[Source, str | None]:
        began = trio.current_time()
        try:
            markers = await self._backend.markers(folder.path)
        except Unavailable:  # the reads find out whether the whole store is down, and tell it
            self._give_up(state)
            self._schedule(folder, self._period)
            return {}
        except BackendError as error:
            self._refused(folder, state, str(error))
            return {}
        took = trio.current_time() - began
        if took / PART > self._period and len(markers) > MOSTLY_OTHERS * len(state.members):
            self._refused(folder, state, f"{len(markers)} secrets are there, and {len(state.members)} are used")
            return {}
        state.covered, state.refusals = True, 0
        self._schedule(folder, self._in_step(self._pause(state, took)))
        return {source: markers.get(name) for source, name in state.members.items()}

    def _place(self, source: Source) -> Place | None:
        return self._backend.place(source) if self._list_period > 0 else None

    def _pause(self, state: _State, took: float) -> float:
        """Seconds to the next listing: it asks for no more than the reads that it saves, and comes no later."""
        now = trio.current_time()
        rested = now - took - state.listed_at
        state.owed = min(max(state.owed - rested, -SPARE) + took / PART, self._period)
        state.listed_at = now
        return max(self._list_period, self._period / len(state.members), state.owed)

    def _in_step(self, pause: float) -> float:
        """Have folders that are listed as often as can be listed together: many at once cost less than one by one."""
        return pause if pause > self._list_period else pause - trio.current_time() % pause

    def _refused(self, folder: Folder, state: _State, why: str) -> None:
        if state.refusals == 0:
            log.info("sources are read one by one", extra={"fields": {"folder": folder.path, "reason": why}})
        state.refusals += 1
        self._give_up(state)
        self._schedule(folder, RETRY.delay(state.refusals, self._random))

    def _give_up(self, state: _State | None) -> None:
        if state is not None and state.covered:
            state.covered = False
            self._uncovered(state.members)
