"""The backend's side of the watch: reads every source in use once a period, and wakes those who use one that changed.

What a reflector is to the Kubernetes API, this is to the secret store. Nobody asks per definition: a source that a
hundred definitions name is read once, and all their keys come from the same version. The polls are spread over the
period by the source's name, so a restart makes no herd. Where the store can list a folder, the listing says which of
its sources are worth a read (folders.py), and those that have not changed are left in peace.

Values are held for a moment only, so that all who are woken by one read share it; what stays is a marker.
"""

import random
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Protocol

import trio

from secrets_manager.backends.base import Backend, BackendError, Document, Source, SourceNotFound, Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.controller.folders import Folder, Folders
from secrets_manager.controller.outage import Outage
from secrets_manager.controller.throttle import Throttle
from secrets_manager.kube.objects import ObjectKey

MAX_HOLD = 10.0
"""Seconds for which the values of one read may serve others, where the period is longer."""

GROUPS = 50
"""Moments of a period at which polls are made: several at once cost far less than as many single ones."""
_ROUNDING = 1e-6
"""Part of a period: what is this close to a source's turn is that turn, and the next one is a period away."""

Result = Document | BackendError
Turn = Source | Folder
"""Whose turn it is to be looked at."""


class _Entry:
    """What is known of one source."""

    def __init__(self) -> None:
        self.users: dict[ObjectKey, float] = {}
        """Each with its period."""
        self.period = float("inf")
        """The shortest of theirs."""
        self.state: str | None = None
        """The marker of the last content, or the text of the last error: changes when it changes."""
        self.listed: str | None = None
        """What a listing shows as long as nothing changes: a marker, or None for a source that is not there."""
        self.failed = False
        """Whether the last read failed in a way that no listing tells of."""
        self.result: Result | None = None
        self.read_at = float("-inf")
        self.fresh_from = float("-inf")
        """It has changed at this time or before: only a read from then on tells how."""
        self.reading: trio.Event | None = None


class BackendMetrics(Protocol):
    """What is told of the secret store, whichever it is."""

    def cache_hit(self) -> None:
        """A definition got what another one had read a moment before."""

    def state(self, *, up: bool, concurrency: int) -> None:
        """Whether the store answers, and how many requests to it may be under way."""


class Sources:
    """All sources that any definition uses.

    `schedule` is asked to have a source or a folder looked at in so many seconds: `look`. `wake` is told the
    definitions that use a source whose content changed.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        period: float,
        list_period: float,
        concurrency: int,
        random: random.Random,
        metrics: BackendMetrics,
        schedule: Callable[[Turn, float], None],
        wake: Callable[[Iterable[ObjectKey]], None],
    ) -> None:
        self._backend = backend
        self._period = period
        self._hold = min(period, MAX_HOLD)
        self._metrics = metrics
        self._schedule = schedule
        self._wake = wake
        self._entries: dict[Source, _Entry] = {}
        self._uses: dict[ObjectKey, frozenset[Source]] = {}
        self._since: dict[ObjectKey, float] = {}
        self._outage = Outage(Backoff(initial=0.5, maximum=15.0), random)
        self._throttle = Throttle(concurrency)
        self._folders = Folders(
            backend,
            period=period,
            list_period=list_period,
            random=random,
            schedule=schedule,
            uncovered=self._poll_again,
        )

    def use(self, key: ObjectKey, sources: frozenset[Source], *, period: float | None = None) -> None:
        """This definition, new or changed, is made of these sources; nothing that was read before now serves it.

        `period` is its own, in seconds, in place of everybody's.
        """
        before = self._uses.get(key, frozenset())
        self._uses[key] = sources
        self._since[key] = trio.current_time()
        self._leave(key, before - sources)
        for source in sources:
            if source not in self._entries:
                self._entries[source] = _Entry()
                self._folders.join(source)
            entry = self._entries[source]
            entry.users[key] = period or self._period
            if entry.users[key] < entry.period:
                self._schedule_next(source)

    def release(self, key: ObjectKey) -> None:
        """This definition is gone."""
        self._leave(key, self._uses.pop(key, frozenset()))
        self._since.pop(key, None)

    async def documents(self, key: ObjectKey, sources: frozenset[Source]) -> dict[Source, Result]:
        """What stands at each of these sources: read at most a moment ago, and after the definition last changed."""
        fresh_from = max(self._since.get(key, float("-inf")), trio.current_time() - self._hold)
        results: dict[Source, Result] = {}

        async def fill(source: Source) -> None:
            results[source] = await self._read(source, fresh_from)

        if len(sources) == 1:
            await fill(*sources)
        else:
            async with trio.open_nursery() as nursery:
                for source in sources:
                    nursery.start_soon(fill, source)
        return results

    async def look(self, turn: Turn) -> None:
        """Find out whether something has changed there."""
        if isinstance(turn, Source):
            await self._poll(turn)
            return
        folder: Folder | None = turn
        while folder is not None:
            await self._list(folder)
            folder = self._folders.next_waiting()

    async def _poll(self, source: Source) -> None:
        """One that some definition has just read for itself is not read twice."""
        entry = self._entries.get(source)
        if entry is None:
            return
        changed = entry.read_at < entry.fresh_from
        if self._folders.covers(source):
            if not changed and not entry.failed:
                return
        else:
            self._schedule_next(source)
        before = entry.state
        await self._read(source, entry.fresh_from if changed else trio.current_time() - entry.period / 2)
        if entry.state == before and isinstance(entry.result, Document):
            entry.result = None  # nobody needs values that have not changed

    async def _list(self, folder: Folder) -> None:
        """Have those members read that are not as they were when they were last read."""
        if self._outage.down:
            self._schedule(folder, self._period)
            return
        began = trio.current_time()
        async with self._throttle.turn():
            markers = await self._folders.look(folder)
        for source, marker in markers.items():
            entry = self._entries.get(source)
            if entry is None or entry.state is None:  # whoever uses it is about to read it
                continue
            if entry.failed:
                self._schedule_next(source)
            elif entry.listed != marker:
                entry.fresh_from = began
                self._schedule(source, 0.0)

    async def drop_values(self) -> None:
        """Forget what was read a while ago, until cancelled."""
        while True:
            await trio.sleep(self._hold)
            oldest = trio.current_time() - self._hold
            for entry in self._entries.values():
                if entry.read_at < oldest:
                    entry.result = None

    def _poll_again(self, sources: Iterable[Source]) -> None:
        for source in sources:
            self._schedule_next(source)

    def _schedule_next(self, source: Source) -> None:
        entry = self._entries[source]
        entry.period = min(entry.users.values())
        self._schedule(source, _until_next(source, entry.period, trio.current_time()))

    async def _read(self, source: Source, fresh_from: float) -> Result:
        """The result of a read that began at `fresh_from` or later: one that is known, or under way, or a new one."""
        entry = self._entries.get(source)
        if entry is None:  # released while its last reconcile was under way
            return await self._ask(source)
        while entry.reading is not None:
            await entry.reading.wait()
        if entry.result is not None and entry.read_at >= fresh_from:
            self._metrics.cache_hit()
            return entry.result
        entry.reading, entry.read_at, entry.result = trio.Event(), trio.current_time(), None
        try:
            result = await self._ask(source)
        finally:
            entry.reading.set()
            entry.reading = None
        if entry.state is None:
            self._folders.was_read(source)
        self._note(entry, result)
        return result

    async def _ask(self, source: Source) -> Result:
        async with self._throttle.turn():
            known = self._outage.refusal(source)
            if known is not None:
                return known
            try:
                result: Result = await self._backend.read(source)
            except BackendError as error:
                result = error
        if isinstance(result, Unavailable):
            self._outage.failed(source, result)
            self._throttle.failed()
        else:
            self._outage.answered()
            self._throttle.answered()
        self._metrics.state(up=not self._outage.down, concurrency=self._throttle.bound)
        return result

    def _note(self, entry: _Entry, result: Result) -> None:
        entry.result = result
        entry.listed = result.listed or result.marker if isinstance(result, Document) else None
        entry.failed = not isinstance(result, Document | SourceNotFound)
        state = _state(result)
        changed = entry.state is not None and entry.state != state
        entry.state = state
        if changed:
            self._wake(entry.users)

    def _leave(self, key: ObjectKey, sources: Iterable[Source]) -> None:
        for source in sources:
            entry = self._entries[source]
            entry.users.pop(key, None)
            if not entry.users:
                del self._entries[source]
                self._folders.leave(source)


def _state(result: Result) -> str:
    """What stays of a result. That a store can't be used is one state, whatever the words for it are."""
    match result:
        case Document(marker=marker):
            return marker
        case Unavailable():
            return Unavailable.__name__
        case _:
            return f"{type(result).__name__}: {result}"


def _until_next(source: Source, period: float, now: float) -> float:
    """Seconds to this source's next turn: its place in every period follows from its name alone."""
    group = int.from_bytes(blake2b(str(source).encode(), digest_size=8).digest()) % GROUPS
    place = (group + 0.5) / GROUPS
    wait = period - (now - place * period) % period
    return wait if wait > _ROUNDING * period else wait + period
