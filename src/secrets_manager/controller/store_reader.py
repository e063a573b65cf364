"""Read and list the secret store with a concurrency limit and a circuit breaker.

A source is failing from a read that got no answer until one that gets an answer. When it fails again, that tells
nothing new, so neither the limit nor the circuit breaker changes.

An unexpected exception of a backend fails its own request only.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from random import Random
from typing import NamedTuple, Protocol

import trio

from secrets_manager.backends import (
    Backend,
    BackendError,
    Folder,
    NotListable,
    Source,
    SourceMalformed,
    Unavailable,
)
from secrets_manager.controller import health
from secrets_manager.controller.concurrency import ConcurrencyLimit, next_limit
from secrets_manager.controller.health import Doubted, Health, Up
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import ReadResult

log = logging.getLogger(__name__)


class StoreMetrics(Protocol):
    """The metrics of the secret store."""

    def cache_hit(self) -> None:
        """A cached result was used."""

    def state(self, *, up: bool, concurrency: int) -> None:
        """Set whether the store is up, and the concurrency limit."""

    def unexpected_error(self, task: str) -> None:
        """A task raised an unexpected exception."""


class InUse(Protocol):
    """The sources in use."""

    def __len__(self) -> int: ...

    def namespaces(self, source: Source) -> frozenset[str]:
        """Return the namespaces that use a source."""
        ...

    def outside(self, namespaces: AbstractSet[str]) -> Iterator[Source]:
        """Yield the sources that none of these namespaces uses."""
        ...


class Listing(NamedTuple):
    """The markers in a folder, by name, and when the request began."""

    markers: Mapping[str, str]
    began_at: float


class StoreReader:
    """Reads a store."""

    def __init__(
        self,
        backend: Backend,
        policy: ReadPolicy,
        *,
        in_use: InUse,
        random: Random,
        metrics: StoreMetrics,
    ) -> None:
        self._backend = backend
        self._policy = policy
        self._in_use = in_use
        self._random = random
        self._metrics = metrics
        self._health: Health = Up()
        self._failing: set[Source] = set()
        self._concurrency = ConcurrencyLimit(policy.concurrency)
        self._limiter = trio.CapacityLimiter(policy.concurrency)
        self._changed = trio.Event()
        self.since = trio.current_time()
        """When the store was last found up or down, different from before."""
        self._set_metrics()

    def __repr__(self) -> str:
        return f"<StoreReader {self._health}, {self._limiter.borrowed_tokens} of {self._concurrency.limit}>"

    @property
    def error(self) -> Unavailable | None:
        """Why the store is down; None while it is up."""
        return health.current_error(self._health)

    def is_failing(self, source: Source) -> bool:
        """Whether the last read of the source got no answer. A probe does not count: the store was down."""
        return source in self._failing

    def failed_before(self, source: Source) -> bool:
        """Whether the source was failing already before those that made the store count as down."""
        return source in self._failing and source not in health.suspected(self._health)

    def forget(self, source: Source) -> None:
        """Forget a source that is not in use any more."""
        self._failing.discard(source)

    def unexpected_error(self, task: str, path: str, error: Exception) -> None:
        """Count and log an unexpected exception."""
        self._metrics.unexpected_error(task)
        log.error("unexpected error, retrying", extra={"fields": {"task": task, "path": path}}, exc_info=error)

    async def wait_for_probe(self) -> None:
        """Wait until a probe is due."""
        while (probe_at := health.probe_at(self._health)) > trio.current_time():
            with trio.CancelScope(deadline=probe_at):
                await self._changed.wait()

    async def resolve_doubts(self) -> None:
        """While the store is Doubted, read a sound source of another namespace: only that tells of the store.

        It waits for no other read: those that fail may wait for long. The content is of no use to anyone now.
        """
        while True:
            while not isinstance(doubted := self._health, Doubted):
                await self._changed.wait()
            witnesses = [*self._sound_outside(doubted.users)]
            if witnesses:
                await self._guarded_read(self._random.choice(witnesses))
            else:
                now = trio.current_time()
                self._set_health(health.unopposed(self._health, now=now, policy=self._policy, random=self._random))
            await trio.sleep(self._policy.probe.initial)

    def reset(self) -> None:
        """Reset the health: without sources in use nothing would probe the store."""
        self._failing.clear()
        self._set_health(Up())

    async def read(self, source: Source, *, on_start: Callable[[], None] = lambda: None) -> ReadResult:
        """Read a source; while the store is down return the error at once. `on_start` is called before a request."""
        if (rejection := self._rejection(source)) is not None:  # without waiting for the limiter
            await trio.lowlevel.checkpoint()
            return rejection
        async with self._limiter:
            if (rejection := self._rejection(source)) is not None:
                return rejection
            on_start()
            return await self._guarded_read(source)

    async def list(self, folder: Folder) -> Listing:
        """List a folder. Raises: NotListable, Unavailable."""
        async with self._limiter:
            if (error := self.error) is not None:
                raise error.copy()
            began_at = trio.current_time()
            try:
                markers = await self._backend.markers(folder)
            except (NotListable, Unavailable):
                raise
            except BackendError as error:
                raise NotListable(str(error)) from None
            except Exception as error:  # noqa: BLE001 - it fails this request only
                self.unexpected_error("list", folder.path, error)
                raise NotListable(f"it failed unexpectedly ({type(error).__name__})") from None
            self._record_answer()
            return Listing(markers, began_at)

    async def _guarded_read(self, source: Source) -> ReadResult:
        before = self._health
        self._health = own = health.probing(before, now=trio.current_time())
        try:
            result = await self._read(source)
        except BaseException:
            if own is not before and self._health is own:
                self._set_health(health.probe_ended(own, now=trio.current_time()))
            raise
        is_probe = own is not before and self._health is own  # no other read has ended the outage
        if isinstance(result, Unavailable):
            self._record_failure(source, result, is_probe=is_probe)
        else:
            self._failing.discard(source)
            self._record_answer()
        return result

    async def _read(self, source: Source) -> ReadResult:
        try:
            return await self._backend.read(source)
        except BackendError as error:
            return error.with_traceback(None)  # the error is cached, and the traceback would keep its frames
        except Exception as error:  # noqa: BLE001 - it fails this request only
            self.unexpected_error("read", source.path, error)
            return SourceMalformed(
                f"{source} can't be read: it failed unexpectedly ({type(error).__name__}), see the log"
            )

    def _rejection(self, source: Source) -> Unavailable | None:
        return health.rejection(self._health, self._in_use.namespaces(source), now=trio.current_time())

    def _record_answer(self) -> None:
        self._set_limit(answered=True)
        self._set_health(health.answered(self._health))

    def _record_failure(self, source: Source, error: Unavailable, *, is_probe: bool) -> None:
        after = health.failed(
            self._health,
            source,
            error,
            probe=is_probe,
            in_use=len(self._in_use),
            users=self._in_use.namespaces(source),
            sound_outside=lambda namespaces: any(self._sound_outside(namespaces)),
            failing=self._failing,
            now=trio.current_time(),
            policy=self._policy,
            random=self._random,
        )
        if source not in self._failing:
            self._set_limit(answered=False)
        if not is_probe:
            self._failing.add(source)
        self._set_health(after)

    def _sound_outside(self, namespaces: AbstractSet[str]) -> Iterator[Source]:
        return (source for source in self._in_use.outside(namespaces) if source not in self._failing)

    def _set_limit(self, *, answered: bool) -> None:
        concurrency = next_limit(self._concurrency, answered=answered, now=trio.current_time(), policy=self._policy)
        if concurrency is not self._concurrency:
            self._concurrency = concurrency
            self._limiter.total_tokens = concurrency.limit
            self._set_metrics()

    def _set_health(self, after: Health) -> None:
        before, self._health = self._health, after
        if after is before:
            return
        self._changed.set()
        self._changed = trio.Event()
        was_up, error = health.current_error(before) is None, self.error
        if was_up is not (error is None):
            self.since = trio.current_time()
        if was_up and error is not None:
            log.warning("backend unavailable", extra={"fields": {"error": str(error)}})
        if not was_up and error is None:
            log.info("backend recovered")
        self._set_metrics()

    def _set_metrics(self) -> None:
        self._metrics.state(up=self.error is None, concurrency=self._concurrency.limit)
