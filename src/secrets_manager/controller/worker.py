"""Works on names: a name is taken from the queue, reconciled, and its status is written.

A name is held by one worker at a time, so its Secret and its status are never written at once. A status waits for the
Secrets of others, but once only. Workers are cancelled, not drained: a reconcile may stop at any point, and the next
process finishes it.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from secrets_manager.controller.reconciler import Reconciler, RequeueAfter, RequeueRateLimited, retry_after
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.kube.errors import Conflict, KubeError
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.workqueue import Priority, WorkQueue
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

STATUS = Priority.BACKGROUND
"""At this priority only the status is to be written. Pods wait for Secrets, and for statuses at most people do."""


class Worker:
    """One of several, which share all of this."""

    def __init__(
        self,
        queue: WorkQueue[ObjectKey],
        reconciler: Reconciler,
        statuses: StatusWriter,
        metrics: ControllerMetrics,
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._statuses = statuses
        self._metrics = metrics

    async def run(self) -> NoReturn:
        """Take names and work on them until cancelled."""
        while True:
            async with self._queue.get() as (key, priority):
                has_waited = priority is STATUS or self._statuses.is_pending(key)
                if priority is not STATUS:
                    await self._guard("reconcile", key, Priority.ROUTINE, self._reconcile)
                if has_waited or not self._queue.has_waiting(Priority.ROUTINE):
                    await self._guard("status write", key, STATUS, self._write_status)
                elif self._statuses.is_pending(key):
                    self._queue.add(key, STATUS)

    async def _guard(
        self, task: str, key: ObjectKey, priority: Priority, work: Callable[[ObjectKey], Awaitable[None]]
    ) -> None:
        """The one place where any exception ends one item and nothing else: it is tried again, later each time."""
        try:
            await work(key)
        except Exception as error:  # noqa: BLE001 - one broken item must not stop the others
            self._failed(task, key, error)
            self._queue.add_rate_limited(key, priority, at_least=retry_after(error))

    async def _reconcile(self, key: ObjectKey) -> None:
        began = trio.current_time()
        try:
            requeue = await self._reconciler.reconcile(key)
        except Conflict:
            raise
        except Exception:
            self._metrics.secrets.synced(key, ok=False)
            raise
        finally:
            self._metrics.reconciled(trio.current_time() - began)
        match requeue:
            case RequeueRateLimited(at_least):
                self._queue.add_rate_limited(key, at_least=at_least)
                return
            case RequeueAfter(seconds):
                self._queue.add_after(key, seconds)
        self._queue.forget(key)

    async def _write_status(self, key: ObjectKey) -> None:
        await self._statuses.write(key)
        self._queue.forget(key, STATUS)

    def _failed(self, task: str, key: ObjectKey, error: Exception) -> None:
        fields = {"task": task, "namespace": key.namespace, "name": key.name, "error": str(error)}
        match error:
            case Conflict():
                log.debug("changed meanwhile, tried again", extra={"fields": fields})
            case KubeError():
                log.warning("failed, tried again", extra={"fields": fields})
            case _:
                self._metrics.unexpected_error()
                log.error("failed unexpectedly, tried again", extra={"fields": fields}, exc_info=error)
