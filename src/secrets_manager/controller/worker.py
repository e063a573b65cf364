"""Workers: get a key from the queue, reconcile it, and write its status.

A key is processed by one worker at a time, so its Secret and its status are never written concurrently. A status waits
once for other keys' Secrets. Workers are cancelled, not drained: a reconcile may stop at any point, and the next
process finishes it.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from secrets_manager.controller.reconciler import Reconciler, RequeueAfter, RequeueRateLimited
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.kube.errors import Conflict, KubeError, retry_after
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.workqueue import Priority, WorkQueue
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

STATUS_PRIORITY = Priority.BACKGROUND
"""At this priority only the status is written: pods wait for Secrets, but not for statuses."""


class Worker:
    """The worker loop; several tasks run it."""

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
        """Process keys until cancelled."""
        while True:
            async with self._queue.get() as (key, priority):
                has_waited = priority is STATUS_PRIORITY or self._statuses.is_pending(key)
                if priority is not STATUS_PRIORITY:
                    await self._guard("reconcile", key, Priority.ROUTINE, self._reconcile)
                if has_waited or not self._queue.has_waiting(Priority.ROUTINE):
                    await self._guard("status write", key, STATUS_PRIORITY, self._write_status)
                elif self._statuses.is_pending(key):
                    self._queue.add(key, STATUS_PRIORITY)

    async def _guard(
        self, task: str, key: ObjectKey, priority: Priority, work: Callable[[ObjectKey], Awaitable[None]]
    ) -> None:
        """Run a task for a key. Any exception is logged, and the key is added again with backoff."""
        try:
            await work(key)
        except Exception as error:  # noqa: BLE001 - it fails this key only
            self._log_failure(task, key, error)
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
            case None:
                pass
        self._queue.forget(key)

    async def _write_status(self, key: ObjectKey) -> None:
        await self._statuses.write(key)
        self._queue.forget(key, STATUS_PRIORITY)

    def _log_failure(self, task: str, key: ObjectKey, error: Exception) -> None:
        fields = {"task": task, "namespace": key.namespace, "name": key.name, "error": str(error)}
        match error:
            case Conflict():
                log.debug("conflict, retrying", extra={"fields": fields})
            case KubeError():
                log.warning("failed, retrying", extra={"fields": fields})
            case _:
                self._metrics.unexpected_error()
                log.error("unexpected error, retrying", extra={"fields": fields}, exc_info=error)
