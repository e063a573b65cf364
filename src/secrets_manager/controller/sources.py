"""Reads the sources that definitions use: for a definition that needs their values, and by polls that find changes.

When a source is read is decided by reading.py, when a folder is listed by listing.py, and whether the store may be
asked at all by health.py. This is the I/O around them.

    definition needs values ──────┐
    due ──> pollers ──────────────┼──> read ──> answered ──> WAKE the definitions that use it, if it has changed
    store is down ──> prober ─────┘
    folder is due ──> listers ──> list ──> sources that show a change are due at once

A source that a hundred definitions name is read once, and all their keys come from one version. Values are held for a
moment, so that all who are woken by one read share it; what stays is a marker.
"""

from collections.abc import Callable, Iterable
from math import inf
from random import Random

import trio

from secrets_manager.backends.base import Backend, Place, Source
from secrets_manager.controller.lister import Lister
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Answered, Covered, Due, Interrupted, Phase, Result, Started, Wanted
from secrets_manager.controller.source_table import Entry, Read, SourceTable
from secrets_manager.controller.store_reader import StoreMetrics, StoreReader
from secrets_manager.kube.objects import ObjectKey


class Sources:
    """All sources in use. `wake` is called with the definitions that use a source whose content has changed."""

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
        self._hold = min(policy.period, policy.hold)
        self._sources_of: dict[ObjectKey, frozenset[Source]] = {}
        self._changed_at: dict[ObjectKey, float] = {}
        self._table = SourceTable(policy, place=self._place, wake=wake)
        self._reader = StoreReader(backend, policy, in_use=self._table.__len__, random=random, metrics=metrics)
        self._lister = Lister(self._table, self._reader, policy, random=random)
        self._waiting: set[Source] = set()
        self._due, self._to_poll = trio.open_memory_channel[Source](inf)  # as many as there are sources, at most

    def __repr__(self) -> str:
        return f"<Sources {len(self._table)} in {len(self._lister)} folders, {self._reader}>"

    def use(self, key: ObjectKey, sources: frozenset[Source], *, period: float | None = None) -> None:
        """This definition, new or changed, is made of these sources; nothing that was read before now serves it.

        `period` is its own, in seconds.
        """
        self._leave(key, self._sources_of.get(key, frozenset()) - sources)
        self._sources_of[key] = sources
        self._changed_at[key] = trio.current_time()
        for source in sources:
            entry = self._table.join(source, key, period or self._policy.period)
            if entry.place is not None:
                self._lister.join(source, entry, entry.place)

    def release(self, key: ObjectKey) -> None:
        """This definition is gone."""
        self._leave(key, self._sources_of.pop(key, frozenset()))
        self._changed_at.pop(key, None)

    async def documents(self, key: ObjectKey, sources: frozenset[Source]) -> dict[Source, Result]:
        """What is at each of these sources: read at most a moment ago, and after the definition last changed."""
        fresh_from = max(self._changed_at.get(key, -inf), trio.current_time() - self._hold)
        results: dict[Source, Result] = {}

        async def fill(source: Source) -> None:
            results[source] = await self._document(source, fresh_from)

        if len(sources) == 1:
            await fill(*sources)
        else:
            async with trio.open_nursery() as nursery:
                for source in sources:
                    nursery.start_soon(fill, source)
        return results

    async def run(self) -> None:
        """Poll and list what is due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._find_due)
            nursery.start_soon(self._probe)
            nursery.start_soon(self._lister.run)
            nursery.start_soon(self._drop_values)
            for number in range(max(1, self._policy.concurrency // 2)):  # the others are for what definitions need
                nursery.start_soon(self._poll, name=f"poller {number}")

    async def _find_due(self) -> None:
        """Let the pollers have what is due. At rest most sources are covered, and need no poller."""
        while True:
            for source in await self._table.timer.due():
                entry = self._table.get(source)
                if entry is None or entry.state.phase is Phase.READING:
                    continue
                if trio.current_time() < entry.state.due:
                    self._table.timer.set(source, entry.state.due)
                elif self._is_covered(entry):
                    self._table.apply(source, entry, Covered())
                else:
                    self._enqueue(source)

    async def _probe(self) -> None:
        """Ask a store that is down whether it is back.

        By any source, and another one each time: one that always fails must not stand for the store.
        """
        while True:
            await self._reader.wait_for_probe()
            idle = [
                (source, entry)
                for source, entry in self._table.entries.items()
                if entry.state.phase is not Phase.READING
            ]
            if idle:
                source, entry = self._random.choice(idle)
                self._table.hasten(source, entry)
                self._enqueue(source)
            if not self._table:
                self._reader.reset()
            await trio.sleep(self._policy.probe.initial)

    def _enqueue(self, source: Source) -> None:
        if source not in self._waiting:
            self._waiting.add(source)
            self._due.send_nowait(source)

    async def _poll(self) -> None:
        async for source in self._to_poll:
            self._waiting.discard(source)
            entry = self._table.get(source)
            if entry is None or trio.current_time() < entry.state.due:
                continue
            if self._is_covered(entry):  # by a listing that came while it waited for a poller
                self._table.apply(source, entry, Covered())
                continue
            before = entry.state.content
            try:
                await self._read(source, entry, Due())
            except Exception as error:  # noqa: BLE001 - it costs this poll and no other
                self._reader.unexpected_error("poll", source.path, error)
            if entry.state.content == before:
                entry.result = None  # no definition needs values that have not changed

    async def _document(self, source: Source, fresh_from: float) -> Result:
        """The result of a read that began at `fresh_from` or later: one that is known, or under way, or a new one."""
        while (entry := self._table.get(source)) is not None:
            if (read := entry.read) is not None:
                await read.ended.wait()
                if read.result is not None and read.began_at >= fresh_from:
                    self._metrics.cache_hit()
                    return read.result
            elif entry.result is not None and entry.state.read_at >= fresh_from:
                self._metrics.cache_hit()
                return entry.result
            else:
                return await self._read(source, entry, Wanted())
        try:
            return await self._reader.read(source)  # released while its last reconcile was under way
        finally:
            self._forget_if_unused(source)

    async def _read(self, source: Source, entry: Entry, why: Due | Wanted) -> Result:
        self._table.apply(source, entry, why)
        entry.read = read = Read()
        entry.result = None

        def started() -> None:
            read.began_at = trio.current_time()
            self._table.apply(source, entry, Started())

        try:
            result = await self._reader.read(source, on_start=started)
            entry.result = read.result = result
            self._table.apply(source, entry, Answered(result))
        except BaseException:
            self._table.apply(source, entry, Interrupted())
            raise
        finally:
            entry.read = None
            read.ended.set()
            self._forget_if_unused(source)
        return result

    async def _drop_values(self) -> None:
        """Forget what was read a while ago."""
        while True:
            await trio.sleep(self._hold)
            oldest = trio.current_time() - self._hold
            for entry in self._table.entries.values():
                if entry.state.read_at < oldest:
                    entry.result = None

    def _is_covered(self, entry: Entry) -> bool:
        if entry.place is None or not entry.state.confirmed or self._reader.error is not None:
            return False
        return self._lister.covers(entry.place)

    def _place(self, source: Source) -> Place | None:
        return self._backend.place(source) if self._policy.list_period > 0 else None

    def _leave(self, key: ObjectKey, sources: Iterable[Source]) -> None:
        for source in sources:
            entry = self._table.leave(source, key)
            if entry.users:
                continue
            if entry.place is not None:
                self._lister.leave(source, entry.place)
            self._forget_if_unused(source)

    def _forget_if_unused(self, source: Source) -> None:
        if not self._table.has_path(source.path):
            self._backend.forget(source.path)
