"""Reads and lists the secret store within bounds: so many requests at a time, and none but probes while it is down.

Whatever a backend raises against its promise costs the one request that raised it.
"""

import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple, Protocol

import trio

from secrets_manager.backends.base import (
    Backend,
    BackendError,
    Folder,
    NotListable,
    Source,
    SourceMalformed,
    Unavailable,
)
from secrets_manager.controller import health
from secrets_manager.controller.concurrency import Concurrency, adapted
from secrets_manager.controller.health import Health, Up
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Result

log = logging.getLogger(__name__)


class StoreMetrics(Protocol):
    """What is counted of the secret store, whichever it is."""

    def cache_hit(self) -> None:
        """A definition got what another one had read a moment before."""

    def state(self, *, up: bool, concurrency: int) -> None:
        """Whether the store answers, and how many requests to it may be under way."""

    def unexpected_error(self, task: str) -> None:
        """A task met an exception that nothing promises."""


class Listing(NamedTuple):
    """The markers of all that a folder holds, by name, and when they were asked for."""

    markers: Mapping[str, str]
    began_at: float


class StoreReader:
    """One store. `in_use` tells how many sources there are that can be read."""

    def __init__(
        self,
        backend: Backend,
        policy: ReadPolicy,
        *,
        in_use: Callable[[], int],
        random: Random,
        metrics: StoreMetrics,
    ) -> None:
        self._backend = backend
        self._policy = policy
        self._in_use = in_use
        self._random = random
        self._metrics = metrics
        self._health: Health = Up()
        self._concurrency = Concurrency(policy.concurrency)
        self._limiter = trio.CapacityLimiter(policy.concurrency)
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<StoreReader {self._health}, {self._limiter.borrowed_tokens} of {self._concurrency.bound}>"

    @property
    def error(self) -> Unavailable | None:
        """Why no read is made now; None while the store is up."""
        return health.error_of(self._health)

    def unexpected_error(self, task: str, path: str, error: Exception) -> None:
        """Count and log what no part promises to raise."""
        self._metrics.unexpected_error(task)
        log.error("failed unexpectedly, tried again", extra={"fields": {"task": task, "path": path}}, exc_info=error)

    async def wait_for_probe(self) -> None:
        """Wait until the next read would ask whether the store is back."""
        while (probe_at := health.probe_at(self._health)) > trio.current_time():
            with trio.CancelScope(deadline=probe_at):
                await self._changed.wait()

    def reset(self) -> None:
        """No source is in use: nothing tells how the store is."""
        self._become(Up())

    async def read(self, source: Source, *, on_start: Callable[[], None] = lambda: None) -> Result:
        """Read one source, or return at once why not. Call `on_start` when its turn has come and the store is asked."""
        if (refusal := self._refusal()) is not None:  # what is known already waits for no turn
            await trio.lowlevel.checkpoint()
            return refusal
        async with self._limiter:
            if (refusal := self._refusal()) is not None:
                return refusal
            on_start()
            return await self._ask(source)

    async def list(self, folder: Folder) -> Listing:
        """List one folder. Raises: NotListable, Unavailable."""
        async with self._limiter:
            if (error := self.error) is not None:
                raise error.again()
            began_at = trio.current_time()
            try:
                markers = await self._backend.markers(folder)
            except (NotListable, Unavailable):
                raise
            except BackendError as error:
                raise NotListable(str(error)) from None
            except Exception as error:  # noqa: BLE001 - one odd answer must not stop the others
                self.unexpected_error("list", folder.path, error)
                raise NotListable(f"it failed unexpectedly ({type(error).__name__})") from None
            self._note(health.answered(self._health), answered=True)
            return Listing(markers, began_at)

    async def _ask(self, source: Source) -> Result:
        before = self._health
        self._health = own = health.probing(before, now=trio.current_time())
        try:
            result = await self._try_to_read(source)
        except BaseException:
            if own is not before and self._health is own:
                self._become(health.probe_ended(own, now=trio.current_time()))
            raise
        is_probe = own is not before and self._health is own  # no answer has ended that outage meanwhile
        if isinstance(result, Unavailable):
            self._note(self._after_failure(source, result, is_probe=is_probe), answered=False)
        else:
            self._note(health.answered(self._health), answered=True)
        return result

    async def _try_to_read(self, source: Source) -> Result:
        try:
            return await self._backend.read(source)
        except BackendError as error:
            return error.with_traceback(None)  # it is kept for a while, and all that the traceback holds would be too
        except Exception as error:  # noqa: BLE001 - one odd answer must not stop the others
            self.unexpected_error("read", source.path, error)
            return SourceMalformed(
                f"{source} can't be read: it failed unexpectedly ({type(error).__name__}), see the log"
            )

    def _refusal(self) -> Unavailable | None:
        return health.refusal(self._health, now=trio.current_time())

    def _after_failure(self, source: Source, error: Unavailable, *, is_probe: bool) -> Health:
        return health.failed(
            self._health,
            source,
            error,
            probe=is_probe,
            in_use=self._in_use(),
            now=trio.current_time(),
            policy=self._policy,
            random=self._random,
        )

    def _note(self, after: Health, *, answered: bool) -> None:
        """A request has ended: it was answered, or it failed."""
        concurrency = adapted(self._concurrency, answered=answered, now=trio.current_time(), policy=self._policy)
        if concurrency is not self._concurrency:
            self._concurrency = concurrency
            self._limiter.total_tokens = concurrency.bound
        self._become(after)

    def _become(self, after: Health) -> None:
        before, self._health = self._health, after
        if after is not before:
            self._changed.set()
            self._changed = trio.Event()
        error = self.error
        if isinstance(before, Up) and error is not None:
            log.warning("the backend is unavailable", extra={"fields": {"error": str(error)}})
        if not isinstance(before, Up) and error is None:
            log.info("the backend answers again")
        self._metrics.state(up=error is None, concurrency=self._concurrency.bound)
