"""The backend's side of the watch: reads every source in use once a period, and wakes those who use one that changed.

What a reflector is to the Kubernetes API, this is to the secret store. Nobody asks per definition: a source that a
hundred definitions name is read once, and all their keys come from the same version. The polls are spread over the
period by the source's name, so a restart makes no herd.

Values are held for a moment only, so that all who are woken by one read share it; what stays is a marker.
"""

import random
from collections.abc import Callable, Iterable
from hashlib import blake2b

import trio

from secrets_manager.backends.base import Backend, BackendError, Document, Source, Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.controller.outage import Outage
from secrets_manager.kube.objects import ObjectKey

MAX_HOLD = 10.0
"""Seconds for which the values of one read may serve others, where the period is longer."""

_ROUNDING = 1e-6
"""Part of a period: what is this close to a source's turn is that turn, and the next one is a period away."""

Result = Document | BackendError


class _Entry:
    """What is known of one source."""

    def __init__(self) -> None:
        self.users: set[ObjectKey] = set()
        self.state: str | None = None
        """The marker of the last content, or the text of the last error: changes when it changes."""
        self.result: Result | None = None
        self.read_at = float("-inf")
        self.reading: trio.Event | None = None


class Sources:
    """All sources that any definition uses.

    `period` is in seconds. `schedule` is asked to have a source polled in so many seconds. `wake` is told the
    definitions that use a source whose content changed.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        period: float,
        random: random.Random,
        schedule: Callable[[Source, float], None],
        wake: Callable[[Iterable[ObjectKey]], None],
    ) -> None:
        self._backend = backend
        self._period = period
        self._hold = min(period, MAX_HOLD)
        self._schedule = schedule
        self._wake = wake
        self._entries: dict[Source, _Entry] = {}
        self._uses: dict[ObjectKey, frozenset[Source]] = {}
        self._since: dict[ObjectKey, float] = {}
        self._outage = Outage(Backoff(initial=0.5, maximum=15.0), random)

    def use(self, key: ObjectKey, sources: frozenset[Source]) -> None:
        """This definition, new or changed, is made of these sources; nothing that was read before now serves it."""
        before = self._uses.get(key, frozenset())
        self._uses[key] = sources
        self._since[key] = trio.current_time()
        self._leave(key, before - sources)
        for source in sources - before:
            if source not in self._entries:
                self._entries[source] = _Entry()
                self._schedule_next(source)
            self._entries[source].users.add(key)

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

    async def poll(self, source: Source) -> None:
        """Look whether a source has changed. One that some definition has just read for itself is not read twice."""
        entry = self._entries.get(source)
        if entry is None:
            return
        self._schedule_next(source)
        before = entry.state
        await self._read(source, trio.current_time() - self._period / 2)
        if entry.state == before and isinstance(entry.result, Document):
            entry.result = None  # nobody needs values that have not changed

    async def drop_values(self) -> None:
        """Forget what was read a while ago, until cancelled."""
        while True:
            await trio.sleep(self._hold)
            oldest = trio.current_time() - self._hold
            for entry in self._entries.values():
                if entry.read_at < oldest:
                    entry.result = None

    def _schedule_next(self, source: Source) -> None:
        self._schedule(source, _until_next(source, self._period, trio.current_time()))

    async def _read(self, source: Source, fresh_from: float) -> Result:
        """The result of a read that began at `fresh_from` or later: one that is known, or under way, or a new one."""
        entry = self._entries.get(source)
        if entry is None:  # released while its last reconcile was under way
            return await self._ask(source)
        while entry.reading is not None:
            await entry.reading.wait()
        if entry.result is not None and entry.read_at >= fresh_from:
            return entry.result
        entry.reading, entry.read_at, entry.result = trio.Event(), trio.current_time(), None
        try:
            result = await self._ask(source)
        finally:
            entry.reading.set()
            entry.reading = None
        self._note(entry, result)
        return result

    async def _ask(self, source: Source) -> Result:
        known = self._outage.refusal(source)
        if known is not None:
            return known
        try:
            document = await self._backend.read(source)
        except Unavailable as error:
            self._outage.failed(source, error)
            return error
        except BackendError as error:
            self._outage.answered()
            return error
        self._outage.answered()
        return document

    def _note(self, entry: _Entry, result: Result) -> None:
        entry.result = result
        state = _state(result)
        changed = entry.state is not None and entry.state != state
        entry.state = state
        if changed:
            self._wake(entry.users)

    def _leave(self, key: ObjectKey, sources: Iterable[Source]) -> None:
        for source in sources:
            entry = self._entries[source]
            entry.users.discard(key)
            if not entry.users:
                del self._entries[source]


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
    place = int.from_bytes(blake2b(str(source).encode(), digest_size=8).digest()) / 2**64
    wait = period - (now - place * period) % period
    return wait if wait > _ROUNDING * period else wait + period
