"""A scripted secret store, which records its requests."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import NamedTuple, TypeAlias

import trio

from secrets_manager.backends.base import (
    Document,
    Folder,
    Place,
    Source,
    Unavailable,
)
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.sources import Sources
from secrets_manager.kube.objects import ObjectKey
from tests.gen import NAMESPACE, document

PERIOD = 60.0
POLLERS = 4

DB = Source("secret/data/db")
TLS = Source("secret/data/tls")
ANY = document({"password": "hunter2"})


class Read(NamedTuple):
    source: Source
    at: float


class Listing(NamedTuple):
    folder: str
    at: float


class RecordedMetrics:
    """What the metrics were given last."""

    def __init__(self) -> None:
        self.up = True
        self.concurrency = 0
        self.cache_hits = 0
        self.unexpected_errors: list[str] = []

    def cache_hit(self) -> None:
        self.cache_hits += 1

    def unexpected_error(self, task: str) -> None:
        self.unexpected_errors.append(task)

    def state(self, *, up: bool, concurrency: int) -> None:
        self.up, self.concurrency = up, concurrency


Content: TypeAlias = Document | Exception
"""What a read brings; an exception that is no BackendError is one that no backend promises."""


class ScriptedBackend:
    """Serves the scripted content of each path after `takes` seconds, and records the reads."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.metrics = RecordedMetrics()
        self.reads: list[Read] = []
        self.under_way = 0
        self.most_under_way = 0
        self.down: Unavailable | None = None
        self.hanging: set[Source] = set()
        """Sources whose reads take ten seconds."""
        self.listings: list[Listing] = []
        self.listing_takes = 0.0
        self.listings_under_way = 0
        self.most_listings_under_way = 0
        self.listed: dict[str, Mapping[str, str] | Exception] = {}
        self.forgotten: list[str] = []
        self._contents: dict[Source, Content] = {}
        self._folders: defaultdict[str, dict[str, Content]] = defaultdict(dict)

    def content(self, source: Source) -> Content:
        """What a read would bring now."""
        return self.down or self._contents.get(source, ANY)

    def shown(self, folder: str) -> Mapping[str, str]:
        """What a listing would show now, if the test has not put one of its own."""
        return {
            name: content.listed or content.marker
            for name, content in self._folders[folder].items()
            if isinstance(content, Document)
        }

    def put(self, source: Source, content: Content) -> None:
        self._contents[source] = content
        place = self.place(source)
        if place is not None:
            self._folders[place.folder.path][place.name] = content

    def times(self, source: Source) -> list[float]:
        return [read.at for read in self.reads if read.source == source]

    async def read(self, source: Source) -> Document:
        self.reads.append(Read(source, trio.current_time()))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        content = self.content(source)
        try:
            await trio.sleep(10.0 if source in self.hanging else self.takes)
        finally:
            self.under_way -= 1
        if isinstance(content, Exception):
            raise content.with_traceback(None)  # it is raised again and again
        return content

    def place(self, source: Source) -> Place | None:
        folder, _, name = source.path.rpartition("/")
        return Place(Folder(folder), name) if source.version is None else None

    def segments(self, path: str) -> tuple[str, ...]:
        return tuple(path.split("/"))

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """Return the contents of a folder, or the listing that the test has scripted."""
        self.listings.append(Listing(folder.path, trio.current_time()))
        shown = self.listed.get(folder.path) or self.shown(folder.path)
        self.listings_under_way += 1
        self.most_listings_under_way = max(self.listings_under_way, self.most_listings_under_way)
        try:
            await trio.sleep(self.listing_takes)
        finally:
            self.listings_under_way -= 1
        if isinstance(shown, Exception):
            raise shown.with_traceback(None)
        return shown

    @property
    def login(self) -> None:
        return

    def forget(self, path: str) -> None:
        self.forgotten.append(path)

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()


class Alarm:
    """Collects who is woken."""

    def __init__(self) -> None:
        self.calls: list[set[ObjectKey]] = []

    def __call__(self, keys: Iterable[ObjectKey]) -> None:
        self.calls.append(set(keys))

    def take(self) -> list[set[ObjectKey]]:
        calls, self.calls = self.calls, []
        return calls


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


def idle(
    backend: ScriptedBackend,
    *,
    wake: Callable[[Iterable[ObjectKey]], None] | None = None,
    period: float = PERIOD,
    list_period: float = 0.0,
    concurrency: int = 16,
) -> Sources:
    """Sources that are polled only once they are run."""
    return Sources(
        backend,
        ReadPolicy(period=period, list_period=list_period, concurrency=concurrency),
        random=Random(0),
        metrics=backend.metrics,
        wake=wake or Alarm(),
    )


@asynccontextmanager
async def running(sources: Sources) -> AsyncGenerator[None]:
    async def work() -> None:
        await sources.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        yield
        nursery.cancel_scope.cancel()
