"""A secret store that anything may befall, those who use its sources, and what must hold of them at every moment.

The users do what the controller does: a definition that is woken asks for its values once more.
"""

from collections.abc import AsyncGenerator, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from random import Random
from typing import NamedTuple, TypeVar

import trio
from prometheus_client import CollectorRegistry
from trio.testing import wait_all_tasks_blocked

from secrets_manager.backends import (
    Document,
    Folder,
    NotListable,
    Source,
    SourceForbidden,
    SourceNotFound,
    Unavailable,
)
from secrets_manager.backoff import Backoff
from secrets_manager.controller.health import Down, Probing
from secrets_manager.controller.lister import _ListedFolder
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Phase, SourceState
from secrets_manager.controller.source_table import Entry
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.store_reader import StoreReader
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.workqueue import WorkQueue
from secrets_manager.metrics import QueueMetrics
from secrets_manager.timer import Timer
from tests.controller.scripted import Content, ScriptedBackend, key
from tests.gen import document

K = TypeVar("K", bound=Hashable)

PERIOD = 10.0
POLICY = ReadPolicy(
    period=PERIOD,
    max_failing_period=15.0,
    cache_ttl=3.0,
    slots=10,
    concurrency=3,
    list_period=1.0,
    list_batch=1,
    list_burst=2.0,
    list_retry=Backoff(initial=5.0, maximum=20.0),
    failure_threshold=2,
    probe=Backoff(initial=0.5, maximum=4.0),
)
FOLDERS = ("secret/data/a", "secret/data/b")
SOURCES = [
    *(Source(f"{FOLDERS[0]}/{name}") for name in "123"),
    *(Source(f"{FOLDERS[1]}/{name}") for name in "12"),
    Source(f"{FOLDERS[0]}/1", "1"),
]
KEYS = [key(name) for name in "xyz"]
TICK = 1.0

CONTENTS: Mapping[str, Content] = {
    "deleted": SourceNotFound("nothing is there"),
    "forbidden": SourceForbidden("not allowed"),
    "failing": Unavailable("no answer for this path"),
    "odd": ValueError("what no backend promises"),
}
LISTINGS: Mapping[str, Mapping[str, str] | Exception] = {
    "refused": NotListable("403"),
    "failing": Unavailable("503"),
    "odd": ValueError("what no backend promises"),
    "contradicting": {"1": "rubbish"},
}


class WatchedBackend(ScriptedBackend):
    """Notes each request that should not have been made."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.reader: StoreReader | None = None
        self._probes: set[object] = set()

    @property
    def requests(self) -> int:
        return len(self.reads) + len(self.listings)

    async def read(self, source: Source) -> Document:
        this = object()
        if self._is_down("read"):
            assert self.reader is not None
            if not isinstance(self.reader._health, Probing) or self._probes:
                self.wrong.append(f"{source} is read while the store is down, and it is not the one probe")
            self._probes.add(this)
        try:
            return await super().read(source)
        finally:
            self._probes.discard(this)

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        if self._is_down("listing"):
            self.wrong.append(f"{folder.path} is listed while the store is down")
        return await super().markers(folder)

    def _is_down(self, what: str) -> bool:
        assert self.reader is not None
        limiter = self.reader._limiter
        bound = limiter.total_tokens
        granted = max(bound, limiter.borrowed_tokens)  # a slot that was granted stays, though the bound sinks meanwhile
        if self.under_way + self.listings_under_way + 1 > granted or not 1 <= bound <= POLICY.concurrency:
            self.wrong.append(f"a {what} is one too many: {self.under_way} and {self.listings_under_way} of {bound}")
        if self.reader.error is None:
            self._probes.clear()  # those of an outage that is over
        return self.reader.error is not None


class Seen(NamedTuple):
    """What was seen of one source in use; `attended` is when it was last read, refused, or confirmed by a listing."""

    entry: Entry
    period: float
    attended: float


class World:
    """All that befalls the store and the users comes in here."""

    def __init__(self, nursery: trio.Nursery, policy: ReadPolicy) -> None:
        self.policy = policy
        self.backend = WatchedBackend()
        self.uses: dict[ObjectKey, frozenset[Source]] = {}
        self.received: dict[ObjectKey, dict[Source, str]] = {}
        self.longest_period = PERIOD
        self._nursery = nursery
        self._queue = WorkQueue[ObjectKey](metrics=QueueMetrics(CollectorRegistry(), "test"), random=Random(0))
        self._sources = Sources(self.backend, policy, random=Random(0), metrics=self.backend.metrics, wake=self._wake)
        self.backend.reader = self._sources._reader
        self._slowness = 0.0
        self._versions = 1
        self._unlisted: set[Source] = set()
        """Those whose last change no listing shows, such as that of a policy for a secret that is not there."""
        self._seen: dict[Source, Seen] = {}
        self._listing_since: dict[Folder, float] = {}
        self._probing_since = inf
        for source in SOURCES:
            self.backend.put(source, document(version=1))

    def start(self) -> None:
        self._nursery.start_soon(self._sources.run)
        for _ in range(2):
            self._nursery.start_soon(self._work)

    async def befall(self, what: tuple[object, ...], *, wait: float) -> None:
        """Let one thing happen, and then some time pass."""
        match what:
            case ("use", int(user), frozenset() as numbers, period):
                assert period is None or isinstance(period, float)
                self.use(user, frozenset(SOURCES[number] for number in numbers), period)
            case ("release", int(user)):
                self.uses.pop(KEYS[user], None)
                self._sources.unsubscribe(KEYS[user])
            case ("put", int(number), str(kind)):
                self.put(SOURCES[number], kind)
            case ("read slowly", float(seconds)):
                self.backend.takes = seconds
                self._slowness = max(self._slowness, seconds)
            case ("list", int(number), str(kind)):
                self.list(FOLDERS[number], kind)
            case ("list slowly", float(seconds)):
                self.backend.listing_takes = seconds
                self._slowness = max(self._slowness, seconds)
            case ("down", retry_after):
                assert retry_after is None or isinstance(retry_after, float)
                self.backend.down = Unavailable("sealed", retry_after=retry_after)
            case ("up",):
                self.backend.down = None
            case ("give up", int(user)):
                self._nursery.start_soon(self._ask_and_give_up, user)
            case _:
                raise AssertionError(what)
        await self.check()
        await self.pass_time(wait)

    def use(self, user: int, sources: frozenset[Source], period: float | None) -> None:
        self.longest_period = max(self.longest_period, period or 0.0)
        self.uses[KEYS[user]] = sources
        self._sources.subscribe(KEYS[user], sources, period=period)
        self._queue.add(KEYS[user])

    def put(self, source: Source, kind: str) -> None:
        self._versions += 1
        before = self._shown(source)
        self.backend.put(source, CONTENTS.get(kind) or document(version=self._versions))
        self._unlisted.discard(source)
        if source.version is None and self._shown(source) == before:
            self._unlisted.add(source)

    def list(self, folder: str, kind: str) -> None:
        """Let its listings be of this kind from now on."""
        if kind == "allowed":
            self.backend.listed.pop(folder, None)
        else:
            self.backend.listed[folder] = LISTINGS.get(kind) or self.backend.shown(folder) or LISTINGS["contradicting"]

    def heal(self) -> None:
        """All faults end."""
        self.backend.down = None
        self.backend.listed.clear()
        self.backend.takes = self.backend.listing_takes = 0.0
        for source in SOURCES:
            if isinstance(self.backend.content(source), Unavailable | ValueError):
                self.put(source, "written")

    async def pass_time(self, seconds: float) -> None:
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            await trio.sleep(min(TICK, left))
            await self.check()

    def _shown(self, source: Source) -> str | None:
        """What a listing shows of it."""
        folder, _, name = source.path.rpartition("/")
        return (self.backend.shown(folder) or {}).get(name)

    async def _work(self) -> None:
        while True:
            async with self._queue.get() as (one, _):
                sources = self.uses.get(one)
                if sources is not None:
                    results = await self._sources.read(one, sources)
                    self.received[one] = {source: describe(result) for source, result in results.items()}

    async def _ask_and_give_up(self, user: int) -> None:
        with trio.move_on_after(0.2):
            await self._sources.read(KEYS[user], self.uses.get(KEYS[user], frozenset()))

    def _wake(self, keys: Iterable[ObjectKey]) -> None:
        for one in keys:
            self._queue.add(one)

    # What must hold

    async def check(self) -> None:
        await wait_all_tasks_blocked()
        now = trio.current_time()
        longest_wait = 0.1 + 12 * self._slowness
        """Long enough for six reads one after the other, and listings between them."""
        assert self.backend.wrong == []
        self._check_store(now, longest_wait)
        for source, entry in self._sources._table.entries.items():
            self._check_source(source, entry, now, longest_wait)
        for place, folder in self._sources._lister._folders.items():
            self._check_folder(place, folder, now, longest_wait)

    def check_received(self) -> None:
        """All users have what is there, but for what no listing shows: that is read when it changes next."""
        for one, sources in self.uses.items():
            expected = {source: describe(self.backend.content(source)) for source in sources - self._unlisted}
            received = self.received.get(one, {})
            assert {source: received.get(source) for source in expected} == expected

    def _check_store(self, now: float, longest_wait: float) -> None:
        """While it is down a probe is pending or under way."""
        health = self._sources._reader._health
        if isinstance(health, Down) and self._sources._table:
            assert now <= health.probe_at + longest_wait
        self._probing_since = min(self._probing_since, now) if isinstance(health, Probing) else inf
        assert now <= self._probing_since + longest_wait, "the probe has ended"

    def _check_source(self, source: Source, entry: Entry, now: float, longest_wait: float) -> None:
        """It has one wake-up or one read under way, and it is read in time."""
        state, period = entry.state, min(entry.users.values())
        if state.phase is Phase.READING:
            assert state.due == inf
            assert now <= state.read_at + longest_wait, "the read has ended"
        elif state.due <= now:
            assert self._is_queued(source)
            assert now <= state.due + longest_wait
        else:
            assert now < time_of(self._sources._table.timer, source) <= state.due < inf
        seen = self._seen.get(source)
        attended = now if seen is None or seen.entry is not entry or seen.period != period else seen.attended
        attended = max(attended, state.read_at, self._confirmed_at(source, entry, state))
        self._seen[source] = Seen(entry, period, attended)
        often = min(period, self.policy.max_failing_period) if state.phase is Phase.FAILING else period
        rest = self.longest_period if state.confirmed else 0.0
        assert now <= attended + 2 * often + rest + longest_wait

    def _is_queued(self, source: Source) -> bool:
        """Whether it waits for a poller or a retrier."""
        queues = (self._sources._polls, self._sources._retries)
        return any(source == use.source for queue in queues for uses in queue._waiting.values() for use in uses)

    def _confirmed_at(self, source: Source, entry: Entry, state: SourceState) -> float:
        if not state.confirmed or state.phase is Phase.READING:
            return -inf
        folder = next(each for each in self._sources._lister._folders.values() if source in each.members).state
        return folder.listed_at if folder.covered_until > -inf else -inf

    def _check_folder(self, place: Folder, folder: _ListedFolder, now: float, longest_wait: float) -> None:
        """With two sources or more it has one wake-up or one listing under way."""
        state = folder.state
        if state.listing:
            assert state.due == inf
            assert now <= self._listing_since.setdefault(place, now) + longest_wait, "the listing has ended"
            return
        self._listing_since.pop(place, None)
        if len(folder.members) > 1:
            timer = time_of(self._sources._lister._timer, place)
            assert now < timer <= state.due < inf or state.due <= now <= state.due + longest_wait


def describe(result: Content) -> str:
    return result.marker if isinstance(result, Document) else f"{type(result).__name__}: {result}"


def time_of(timer: Timer[K], key: K) -> float:
    entry = timer._schedule._entries.get(key)
    return inf if entry is None else entry.time


@asynccontextmanager
async def living(policy: ReadPolicy = POLICY) -> AsyncGenerator[World]:
    """A world in which nothing has happened yet."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, policy)
        world.start()
        yield world
        nursery.cancel_scope.cancel()
