"""List and watch the objects of one kind in one namespace.

    list ──> watch ──┬─ end of the stream: watch from the last version
      ^              ├─ read timeout: the same, over a new connection
      |              ├─ error: wait, then watch from the last version
      └──────────────┴─ expired, or two read timeouts in a row without a byte

A long list comes in pages (kube/pager.py). The objects of a page are reported at once, so that work starts while the
server prepares the next page; deletions show in the full list only. A list that fails (no such kind, forbidden) is
retried. A streaming list (`sendInitialEvents`) needs no pages, but costs the server twice the CPU (measured on
Kubernetes 1.37, where pages come from its cache), and its first object comes no sooner.

An API server sends a bookmark about once a minute, but none without its watch cache. So a watch that brings nothing may
be idle, or a proxy withholds its body. After two in a row changes are found by lists. Once one of them differs from the
list before it, which the watch between them has not shown, `problem` says so, until a watch brings something.

The end of a stream, a read timeout and an expired version cause no delay, unless they repeat. Repeated ones and errors
back off, no shorter than a `Retry-After` of the server; the backoff resets after two minutes.
"""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from random import Random
from typing import Generic, NoReturn, Protocol, TypeVar

import msgspec
import trio

from secrets_manager.backoff import Backoff, BackoffManager
from secrets_manager.kube.errors import (
    ApiError,
    Expired,
    KubeError,
    MalformedResponse,
    NotFound,
    WatchTimedOut,
    retry_after,
)
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.pager import Lister, Pager
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.watchstream import (
    DECODE_ERRORS,
    Added,
    Bookmark,
    Deleted,
    ErrorEvent,
    LineBuffer,
    Modified,
    decode_event,
    decode_metadata,
    error_from_event,
)

T = TypeVar("T", bound=KubeObject)
T_contra = TypeVar("T_contra", bound=KubeObject, contravariant=True)

PAGE_SIZE = 250
"""Objects per page. Half of client-go's, so that the first page comes sooner."""
MIN_WATCH_TIMEOUT, MAX_WATCH_TIMEOUT = 290, 350
"""Seconds after which the server ends a watch: random, so that watches don't restart together."""
WATCH_TIMEOUT_GRACE = 10.0
"""Seconds beyond that after which the client ends the watch."""
NO_API = ": there is no such API"
"""What it means that a list is not found, for one without objects is."""
NO_CRD = f"{NO_API}: is its CRD installed?"
VERY_SHORT_WATCH = 1.0
"""Seconds. A watch that ends sooner counts for the backoff."""
BACKOFF = Backoff(initial=0.8, maximum=30.0)
BACKOFF_RESET_AFTER = 120.0
"""Seconds without failures after which the backoff starts over; client-go's resetDuration."""

WITHHELD = WatchTimedOut("the watch brings nothing, but lists show changes")

log = logging.getLogger(__name__)


class ListWatch(Lister, Protocol):
    """The part of KubeClient that the watcher uses. `watch` raises KubeError only, also while streaming."""

    def watch(
        self,
        resource: Resource[T],
        *,
        namespace: str,
        label_selector: str,
        resource_version: str,
        timeout_seconds: float,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Sink(Protocol[T_contra]):
    """Receives the events of a watcher. The methods must not block."""

    def relisted(
        self, objects: Sequence[T_contra], *, undecodable: Collection[ObjectKey], resource_version: str
    ) -> None:
        """Take a full list as of this version; the refused objects are there too, but can't be decoded."""

    def applied(self, obj: T_contra) -> None:
        """Receive an object that was added or modified."""

    def deleted(self, key: ObjectKey, *, resource_version: str) -> None:
        """Receive the key of an object that was deleted, or is no longer selected."""


class Watcher(Generic[T]):
    """Lists and watches one kind in one namespace; an empty namespace means all."""

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
        """Why the watch fails; empty while it works."""
        self._client = client
        self._resource = resource
        self._random = random
        self._label_selector = label_selector
        self._resource_version = ""
        self._pager = Pager(client, resource, namespace=namespace, label_selector=label_selector, page_size=PAGE_SIZE)
        self._undecodable: set[ObjectKey] = set()
        self._backoff = BackoffManager(BACKOFF, reset_after=BACKOFF_RESET_AFTER, random=random)
        self._last_failure = ""
        self._is_silent = False
        """Whether a watch has timed out, and no byte and no other failure has come since."""
        self._listed: dict[ObjectKey, str] | None = None
        """The versions in the last list of this silence; the undecodable objects have none."""

    async def run(self, sink: Sink[T]) -> NoReturn:
        """Report to the sink until cancelled. No failure of the server ends this."""
        while True:
            try:
                if not self._resource_version:
                    await self._list(sink)
                began = trio.current_time()
                await self._watch(sink)
                was_very_short = trio.current_time() - began < VERY_SHORT_WATCH
                delay = self._backoff.after_restart(trio.current_time()) if was_very_short else 0.0
            except Expired:
                self._resource_version = ""
                delay = self._backoff.after_restart(trio.current_time())
            except WatchTimedOut:
                self._note_silence()
                delay = 0.0  # it has waited already
            except KubeError as error:
                self._end_silence()
                self._log_failure(error)
                delay = self._backoff.after_failure(trio.current_time(), retry_after=retry_after(error))
            await trio.sleep(delay)

    async def _list(self, sink: Sink[T]) -> None:
        objects: list[T] = []
        undecodable: list[ObjectKey] = []
        version = ""
        async with aclosing(self._pager.pages()) as pages:
            async for page in pages:
                objects += page.items
                undecodable += page.undecodable
                version = page.resource_version
                for obj in page.items if page.continue_token else ():
                    sink.applied(obj)
        self._undecodable.intersection_update(undecodable)
        for key in undecodable:
            self._warn_undecodable(key)
        sink.relisted(objects, undecodable=undecodable, resource_version=version)
        self._resource_version = version
        if self._is_silent:
            self._compare(
                {obj.metadata.key: obj.metadata.resource_version for obj in objects} | dict.fromkeys(undecodable, "")
            )

    async def _watch(self, sink: Sink[T]) -> None:
        timeout_seconds = self._random.randint(MIN_WATCH_TIMEOUT, MAX_WATCH_TIMEOUT)
        stream = self._client.watch(
            self._resource,
            namespace=self.namespace,
            label_selector=self._label_selector,
            resource_version=self._resource_version,
            timeout_seconds=timeout_seconds,
        )
        with trio.move_on_after(timeout_seconds + WATCH_TIMEOUT_GRACE):
            async with stream as chunks:
                if not self._is_silent:
                    self._log_recovery()
                lines = LineBuffer()
                async for chunk in chunks:
                    if self._is_silent:
                        self._end_silence()
                        self._log_recovery()
                    for line in lines.feed(chunk):
                        self._resource_version = self._handle_event(line, sink)
                        await trio.lowlevel.checkpoint()  # thousands of lines may be buffered

    def _handle_event(self, line: bytes, sink: Sink[T]) -> str:
        """Report an event to the sink. Returns its resourceVersion."""
        match decode_event(line):
            case Added(raw) | Modified(raw):
                return self._handle_applied(raw, sink)
            case Deleted(obj):
                self._undecodable.discard(obj.metadata.key)
                sink.deleted(obj.metadata.key, resource_version=obj.metadata.resource_version)
                return obj.metadata.resource_version
            case Bookmark(obj):
                return obj.metadata.resource_version
            case ErrorEvent(status):
                raise error_from_event(status)

    def _handle_applied(self, raw: msgspec.Raw, sink: Sink[T]) -> str:
        try:
            obj = self._resource.decode(raw)
        except DECODE_ERRORS:
            metadata = decode_metadata(raw)
            self._warn_undecodable(metadata.key)
            return metadata.resource_version
        self._undecodable.discard(obj.metadata.key)
        sink.applied(obj)
        return obj.metadata.resource_version

    def _warn_undecodable(self, key: ObjectKey) -> None:
        """Log once that an object can't be decoded, without the reason: it may contain a value."""
        if key not in self._undecodable:
            self._undecodable.add(key)
            fields = {**self._fields, "namespace": key.namespace, "name": key.name}
            log.warning("failed to decode object, skipping it", extra={"fields": fields})

    def _log_failure(self, error: KubeError) -> None:
        """Log a failure, unless the last one had the same reason."""
        if isinstance(error, MalformedResponse):
            self._resource_version = ""  # a watch from there would fail again
        reason = f"{type(error).__name__} {error.reason if isinstance(error, ApiError) else ''}"
        text = f"{error}{self._no_api if isinstance(error, NotFound) else ''}"
        if reason != self._last_failure:
            log.warning("failed to watch", extra={"fields": {**self._fields, "error": text}})
        self._last_failure = reason
        self.problem = f"can't watch {self._resource.plural} in {self.namespace or 'all namespaces'}: {text}"

    def _note_silence(self) -> None:
        """Watch on after a first read timeout, and list after more in a row: something may withhold all changes."""
        if self._is_silent:
            self._resource_version = ""
        else:
            log.info("watch timed out, restarting", extra={"fields": self._fields})
        self._is_silent = True

    def _end_silence(self) -> None:
        self._is_silent = False
        self._listed = None

    def _compare(self, listed: dict[ObjectKey, str]) -> None:
        """Report that the watch has withheld a change, if the list before was another one."""
        if self._listed not in (None, listed):
            self._log_failure(WITHHELD)
        self._listed = listed

    def _log_recovery(self) -> None:
        if self.problem:
            log.info("watch recovered", extra={"fields": self._fields})
        self._last_failure = self.problem = ""

    @property
    def kind(self) -> str:
        return self._resource.kind

    @property
    def _no_api(self) -> str:
        return NO_CRD if "." in self._resource.group else NO_API

    @property
    def _fields(self) -> dict[str, str]:
        return {"kind": self.kind, "namespace": self.namespace}
