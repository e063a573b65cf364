"""Follows the objects of one kind in one namespace: a full list, then a watch from the list's version on.

    list ──> watch ──┬─ the stream ends: watch on from the last version
      ^              ├─ silence: the same, over a new connection
      |              ├─ an error: wait, then watch on from the last version
      └── expired ───┘

A long list comes in pages. What is on a page is reported at once, so that work begins while the server is busy with
the next one; what is gone, only a full list can tell. A list that can't be had (no right, no such kind) is tried again
and again; until then what was reported stays true as far as anybody knows.

A page whose reply is too large is asked for again with half as many objects, down to one; with each page that fits, the
next may have one more. A streaming list (`sendInitialEvents`) has no pages, but costs the server twice the CPU that
they cost it (measured on Kubernetes 1.37, where pages come from its cache), and the first object comes no sooner.

The end of a stream, a silent one or an expired version is everyday life and costs no delay. Whatever comes in a row is
slowed down by the backoff, which forgets after two minutes without trouble. A `Retry-After` of the server wins.
"""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Generic, NoReturn, Protocol, TypeVar

import msgspec
import trio

from secrets_manager.backoff import Backoff, Streak
from secrets_manager.kube.errors import ApiError, Expired, KubeError, MalformedReply, Silent, TooLarge
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.page import Page
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.watchstream import (
    UNREADABLE,
    Added,
    Bookmark,
    Deleted,
    Failed,
    LineBuffer,
    Modified,
    decode_event,
    decode_metadata,
    failure_of,
)

T = TypeVar("T", bound=KubeObject)
T_contra = TypeVar("T_contra", bound=KubeObject, contravariant=True)

PAGE_SIZE = 250
"""Objects on a page, at most. Half of client-go's: the sooner comes the first page."""
SHORTEST_WATCH, LONGEST_WATCH = 290, 350
"""Seconds after which the server ends a watch: by chance, so that not all come back at once."""
GRACE = 10.0
"""Seconds beyond that after which we end a watch that the server does not."""
AT_ONCE = 1.0
"""Seconds: a stream that ends sooner has ended at once."""
BACKOFF = Backoff(initial=0.8, maximum=30.0)
HEALTHY_AFTER = 120.0
"""Seconds without trouble after which trouble counts from one again."""

log = logging.getLogger(__name__)


class ListWatch(Protocol):
    """What the watcher needs of KubeClient. Both raise KubeError and nothing else, `watch` also while it streams."""

    async def list_page(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        limit: int = PAGE_SIZE,
        continue_token: str = "",
    ) -> Page[T]: ...

    def watch(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        resource_version: str,
        seconds: float,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Sink(Protocol[T_contra]):
    """To whom the watcher reports. Nothing here waits, so the order of the reports is that of the events."""

    def relisted(self, objects: Sequence[T_contra], *, refused: Collection[ObjectKey], resource_version: str) -> None:
        """Take a full list as of this version; the refused objects are there too, but can't be decoded."""

    def applied(self, obj: T_contra) -> None:
        """Learn that an object is there, in this form."""

    def deleted(self, key: ObjectKey, *, resource_version: str) -> None:
        """Learn that since this version an object is gone, or is no longer selected."""


class Watcher(Generic[T]):
    """Lists and watches one kind in one namespace, or in all where the namespace is empty."""

    def __init__(
        self,
        client: ListWatch,
        resource: Resource[T],
        *,
        random: Random,
        namespace: str = "",
        label_selector: str = "",
    ) -> None:
        self.namespace = namespace
        self.problem = ""
        """Why the cluster's present state isn't known just now; empty while all is well."""
        self._client = client
        self._resource = resource
        self._random = random
        self._label_selector = label_selector
        self._version = ""
        self._page_size = PAGE_SIZE
        self._refused: set[ObjectKey] = set()
        self._trouble = Streak(BACKOFF, healthy_after=HEALTHY_AFTER, random=random)
        self._reason = ""
        self._is_silent = False

    async def run(self, sink: Sink[T]) -> NoReturn:
        """Report to the sink until cancelled. No failure of the server ends it."""
        while True:
            try:
                if not self._version:
                    await self._list(sink)
                began = trio.current_time()
                await self._watch(sink)
                ended_at_once = trio.current_time() - began < AT_ONCE
                delay = self._trouble.after_hiccup(trio.current_time()) if ended_at_once else 0.0
            except Expired:
                self._version = ""
                delay = self._trouble.after_hiccup(trio.current_time())
            except Silent:
                self._falls_silent()
                delay = 0.0  # the silence was pause enough
            except KubeError as error:
                self._fails(error)
                delay = self._trouble.after_failure(trio.current_time(), retry_after=_retry_after(error))
            await trio.sleep(delay)

    async def _list(self, sink: Sink[T]) -> None:
        page = await self._page()
        objects, refused = [*page.items], [*page.refused]
        while page.continue_token:
            for obj in page.items:
                sink.applied(obj)
            page = await self._page(page.continue_token)
            objects += page.items
            refused += page.refused
        self._refused.intersection_update(refused)
        for key in refused:
            self._refuse(key)
        sink.relisted(objects, refused=refused, resource_version=page.resource_version)
        self._version = page.resource_version

    async def _page(self, continue_token: str = "") -> Page[T]:
        """Additive increase, multiplicative decrease. Raises: TooLarge for one object that is."""
        while True:
            try:
                page = await self._client.list_page(
                    self._resource,
                    namespace=self.namespace,
                    label_selector=self._label_selector,
                    limit=self._page_size,
                    continue_token=continue_token,
                )
            except TooLarge:
                if self._page_size == 1:
                    raise
                self._page_size //= 2
            else:
                self._page_size = min(PAGE_SIZE, self._page_size + 1)
                return page

    async def _watch(self, sink: Sink[T]) -> None:
        seconds = self._random.randint(SHORTEST_WATCH, LONGEST_WATCH)
        stream = self._client.watch(
            self._resource,
            namespace=self.namespace,
            label_selector=self._label_selector,
            resource_version=self._version,
            seconds=seconds,
        )
        with trio.move_on_after(seconds + GRACE):
            async with stream as chunks:
                self._succeeds()
                lines = LineBuffer()
                async for chunk in chunks:
                    self._is_silent = False
                    for line in lines.feed(chunk):
                        self._version = self._report(line, sink)
                        await trio.lowlevel.checkpoint()  # thousands of lines may lie ready: let others have a turn

    def _report(self, line: bytes, sink: Sink[T]) -> str:
        """Pass on one event; return the version up to which all is known now."""
        match decode_event(line):
            case Added(raw) | Modified(raw):
                return self._report_applied(raw, sink)
            case Deleted(obj):
                self._refused.discard(obj.metadata.key)
                sink.deleted(obj.metadata.key, resource_version=obj.metadata.resource_version)
                return obj.metadata.resource_version
            case Bookmark(obj):
                return obj.metadata.resource_version
            case Failed(status):
                raise failure_of(status)

    def _report_applied(self, raw: msgspec.Raw, sink: Sink[T]) -> str:
        try:
            obj = self._resource.decode(raw)
        except UNREADABLE:
            metadata = decode_metadata(raw)
            self._refuse(metadata.key)
            return metadata.resource_version
        self._refused.discard(obj.metadata.key)
        sink.applied(obj)
        return obj.metadata.resource_version

    def _refuse(self, key: ObjectKey) -> None:
        """Warn once of an object that can't be read, until it can. The reason could hold a value of it."""
        if key not in self._refused:
            self._refused.add(key)
            fields = {**self._fields, "namespace": key.namespace, "name": key.name}
            log.warning("object can't be decoded and is left out", extra={"fields": fields})

    def _fails(self, error: KubeError) -> None:
        """Say so, but not again as long as it fails for the same reason."""
        if isinstance(error, MalformedReply):
            self._version = ""  # watching on from there would bring the same line again
        reason = f"{type(error).__name__} {error.reason if isinstance(error, ApiError) else ''}"
        if reason != self._reason:
            log.warning("watch fails", extra={"fields": {**self._fields, "error": str(error)}})
        self._reason = reason
        self.problem = f"can't watch {self._resource.plural} in {self.namespace or 'all namespaces'}: {error}"

    def _falls_silent(self) -> None:
        """Say so, but not of watch after watch: some servers send no bookmarks."""
        if not self._is_silent:
            log.info("watch is silent, watching anew", extra={"fields": self._fields})
        self._is_silent = True

    def _succeeds(self) -> None:
        if self.problem:
            log.info("watch works again", extra={"fields": self._fields})
        self._reason = self.problem = ""

    @property
    def kind(self) -> str:
        return self._resource.kind

    @property
    def _fields(self) -> dict[str, str]:
        return {"kind": self.kind, "namespace": self.namespace}


def _retry_after(error: KubeError) -> float | None:
    return error.retry_after if isinstance(error, ApiError) else None
