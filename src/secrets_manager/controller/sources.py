"""Read the sources of definitions: on request, and by polls that detect changes.

reading.py decides when a source is read, listing.py when a folder is listed, and health.py whether requests may be
sent. This is the I/O around them.

    definition requests values ───┐
    due ──> pollers ──────────────┼──> read ──> completed ──> WAKE the definitions that use it, if it has changed
    due, and failing ──> retriers ┤
    store is down ──> prober ─────┘
    folder is due ──> listers ──> list ──> changed sources are due at once

A source that failed is read again by the retriers alone: few, so that sources that hang leave the rest of the requests
to others. A definition that requests it gets the failure at once, and no worker waits.

Pollers and retriers serve the namespaces in turns, and a definition has three quarters of the requests at most: so the
sources of one, however many, hold up no other.

A source that a hundred definitions use is read once, and all their keys come from one version. Results are cached for
some seconds, so that the definitions that a read wakes share it; then only the marker stays.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import inf
from random import Random
from typing import NamedTuple

import trio

from secrets_manager.backends import Backend, Place, Source, Unavailable
from secrets_manager.controller.lister import FolderLister
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import (
    Completed,
    Covered,
    Due,
    Interrupted,
    Phase,
    ReadResult,
    Requested,
    Started,
)
from secrets_manager.controller.source_table import Entry, Read, SourceTable
from secrets_manager.controller.store_reader import StoreMetrics, StoreReader
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.workqueue import NoMetrics, WorkQueue


class _Use(NamedTuple):
    """A source to be read, for a namespace that uses it."""

    namespace: str
    source: Source


class Sources:
    """The sources in use. `wake` is called with the definitions that use a source whose content has changed."""

    def __init__(
        self,
        backend: Backend,
        policy: ReadPolicy,
        *,
        random: Random,
        metrics: StoreMetrics,
        wake: Callable[[Iterable[ObjectKey]], None],
    ) -> None:
        self._backend = backend
        self._policy = policy
        self._random = random
        self._metrics = metrics
        self._cache_ttl = min(policy.period, policy.cache_ttl)
        self._sources_of: dict[ObjectKey, frozenset[Source]] = {}
        self._changed_at: dict[ObjectKey, float] = {}
        self._table = SourceTable(policy, place=self._place, wake=wake)
        self._reader = StoreReader(backend, policy, in_use=self._table, random=random, metrics=metrics)
        self._lister = FolderLister(self._table, self._reader, policy, random=random)
        self._polls, self._retries = _queue(random), _queue(random)
        self._share = max(2, policy.concurrency - policy.concurrency // 4)
        """Reads of one definition that are under way, or wait for a slot: with fewer it would share them with polls."""

    def __repr__(self) -> str:
        return f"<Sources {len(self._table)} in {len(self._lister)} folders, {self._reader}>"

    def subscribe(self, key: ObjectKey, sources: frozenset[Source], *, period: float | None = None) -> None:
        """Set the sources of a new or changed definition. No earlier read serves it.

        `period` is its own poll interval, in seconds.
        """
        self._remove_user(key, self._sources_of.get(key, frozenset()) - sources)
        self._sources_of[key] = sources
        self._changed_at[key] = trio.current_time()
        for source in sources:
            entry = self._table.add_user(source, key, period or self._policy.period)
            if entry.place is not None:
                self._lister.add(source, entry, entry.place)

    def unsubscribe(self, key: ObjectKey) -> None:
        """Remove a deleted definition."""
        self._remove_user(key, self._sources_of.pop(key, frozenset()))
        self._changed_at.pop(key, None)

    @property
    def store_error(self) -> Unavailable | None:
        """Why the store is down; None while it is up."""
        return self._reader.error

    @property
    def store_since(self) -> float:
        """When the store was last found up or down, different from before."""
        return self._reader.since

    async def read(self, key: ObjectKey, sources: frozenset[Source]) -> dict[Source, ReadResult]:
        """Return the result of each source: read within the cache TTL, and after the definition last changed."""
        fresh_from = max(self._changed_at.get(key, -inf), trio.current_time() - self._cache_ttl)
        results: dict[Source, ReadResult] = {}
        rest = iter(sources)

        async def fill() -> None:
            for source in rest:
                results[source] = await self._read_one(source, fresh_from)

        if len(sources) == 1:
            await fill()
        else:
            async with trio.open_nursery() as nursery:
                for _ in range(min(self._share, len(sources))):
                    nursery.start_soon(fill)
        return results

    def of(self, key: ObjectKey) -> tuple[Entry, ...]:
        """Return the sources of a definition."""
        return tuple(self._table.entries[source] for source in self._sources_of[key])

    async def run(self) -> None:
        """Poll sources and list folders when they are due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dispatch_due)
            nursery.start_soon(self._probe)
            nursery.start_soon(self._reader.resolve_doubts)
            nursery.start_soon(self._lister.run)
            nursery.start_soon(self._expire_results)
            for _ in range(max(1, self._policy.concurrency // 2)):
                nursery.start_soon(self._read_queued, self._polls)
            for _ in range(max(1, self._policy.concurrency // 4)):  # the rest is for requests of definitions
                nursery.start_soon(self._read_queued, self._retries)

    async def _dispatch_due(self) -> None:
        """Queue due sources for the pollers, or the retriers. At rest most sources are covered, and need none."""
        while True:
            for source in await self._table.timer.due():
                entry = self._entry_to_poll(source)
                if entry is None:
                    continue
                queue = self._retries if self._reader.is_failing(source) else self._polls
                queue.add(_Use(next((key.namespace for key in entry.users), ""), source))

    async def _probe(self) -> None:
        """Probe a store that is down, with a random source each time: one source may always fail."""
        while True:
            await self._reader.wait_for_probe()
            candidates = self._probe_candidates()
            if candidates:
                self._table.set_due_now(*self._random.choice(candidates))
            if not self._table:
                self._reader.reset()
            await trio.sleep(self._policy.probe.initial)

    def _probe_candidates(self) -> list[tuple[Source, Entry]]:
        """Return the sources of a random namespace; half of the time, on average, without those that failed before.

        All sources of one tenant may fail, and so may most sources, while the store is up.
        """
        users = defaultdict[str, list[tuple[Source, Entry]]](list)
        for source, entry in self._table.entries.items():
            if entry.state.phase is not Phase.READING:
                for namespace in {key.namespace: None for key in entry.users}:
                    users[namespace].append((source, entry))
        if not users:
            return []
        idle = self._random.choice([*users.values()])
        sound = [(source, entry) for source, entry in idle if not self._reader.failed_before(source)]
        return self._random.choice((idle, sound or idle))

    async def _read_queued(self, queue: WorkQueue[_Use]) -> None:
        while True:
            async with queue.get() as (use, _):
                await self._read_due(use.source)

    async def _read_due(self, source: Source) -> None:
        entry = self._entry_to_poll(source)
        if entry is not None:  # else it was left, read or listed since it was queued
            await self._poll(source, entry)

    async def _poll(self, source: Source, entry: Entry) -> None:
        before = entry.state.content
        try:
            await self._read_entry(source, entry, Due())
        except Exception as error:  # noqa: BLE001 - it fails this poll only
            self._reader.unexpected_error("poll", source.path, error)
        if entry.state.content == before:
            entry.cached = None  # unchanged values are not needed

    def _entry_to_poll(self, source: Source) -> Entry | None:
        """Return the entry of a source that is due, and else see to it that the source is due again."""
        entry = self._table.get(source)
        if entry is None or entry.state.phase is Phase.READING:
            return None
        if trio.current_time() < entry.state.due:
            self._table.timer.set(source, entry.state.due)
            return None
        if self._is_covered(entry):
            self._table.apply(source, entry, Covered())
            return None
        return entry

    async def _read_one(self, source: Source, fresh_from: float) -> ReadResult:
        """Return the result of a read that began at `fresh_from` or later: cached, in progress, or a new one.

        A failing source is due now, and wakes the definition when that read is answered.
        """
        while (entry := self._table.get(source)) is not None:
            failure = entry.failure if self._reader.is_failing(source) and self._reader.error is None else None
            if failure is not None:
                if entry.state.read_at < fresh_from:
                    self._table.set_due_now(source, entry)
                self._metrics.cache_hit()
                await trio.lowlevel.checkpoint()
                return failure
            if (read := entry.read) is not None:
                await read.ended.wait()
                if read.result is not None and read.began_at >= fresh_from:
                    self._metrics.cache_hit()
                    return read.result
            elif entry.cached is not None and entry.state.read_at >= fresh_from:
                self._metrics.cache_hit()
                return entry.cached
            else:
                return await self._read_entry(source, entry, Requested())
        try:
            return await self._reader.read(source)  # unsubscribed during its last reconcile
        finally:
            self._forget_if_unused(source)

    async def _read_entry(self, source: Source, entry: Entry, why: Due | Requested) -> ReadResult:
        self._table.apply(source, entry, why)
        entry.read = read = Read()
        entry.cached = None

        def started() -> None:
            read.began_at = trio.current_time()
            self._table.apply(source, entry, Started())

        try:
            result = await self._reader.read(source, on_start=started)
            entry.cached = read.result = result
            entry.failure = result if isinstance(result, Unavailable) else None
            if self._table.get(source) is not entry:
                self._reader.forget(source)  # it came back meanwhile: this result is not its own
            self._table.apply(source, entry, Completed(result))
        except BaseException:
            self._table.apply(source, entry, Interrupted())
            raise
        finally:
            entry.read = None
            read.ended.set()
            self._forget_if_unused(source)
        return result

    async def _expire_results(self) -> None:
        """Drop results that have expired."""
        while True:
            await trio.sleep(self._cache_ttl)
            oldest = trio.current_time() - self._cache_ttl
            for entry in self._table.entries.values():
                if entry.state.read_at < oldest:
                    entry.cached = None

    def _is_covered(self, entry: Entry) -> bool:
        if entry.place is None or not entry.state.confirmed or self._reader.error is not None:
            return False
        return self._lister.covers(entry.place)

    def _place(self, source: Source) -> Place | None:
        return self._backend.place(source) if self._policy.list_period > 0 else None

    def _remove_user(self, key: ObjectKey, sources: Iterable[Source]) -> None:
        for source in sources:
            entry = self._table.remove_user(source, key)
            if entry.users:
                continue
            if entry.place is not None:
                self._lister.remove(source, entry.place)
            self._forget_if_unused(source)

    def _forget_if_unused(self, source: Source) -> None:
        if self._table.get(source) is None:
            self._reader.forget(source)
        if not self._table.has_path(source.path):
            self._backend.forget(source.path)


def _queue(random: Random) -> WorkQueue[_Use]:
    """Create a queue that serves the namespaces in turns."""
    return WorkQueue(metrics=NoMetrics(), random=random, flow=lambda use: use.namespace)
