"""Restart workloads after the data of their Secrets has changed.

rollout_restart.py decides which restarts are pending; this is the I/O around it. A restart waits for some seconds from
the first change on, so that Secrets that change together cause one: a read, and a patch with the resourceVersion that
was read. Between them the Secrets are read: where the watch is behind, a workload may have been restarted for what came
later. A few tasks do it, beside the workers, by a work queue of workloads: at most one attempt on a workload is in
progress, and no namespace holds up the others. At rest no request is sent.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import NamedTuple, NoReturn

import trio

from secrets_manager.backoff import Backoff
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.rollout_restart import (
    Reason,
    Restarts,
    SecretUnreadable,
    expected,
    failure_of,
    restart,
    revision_of,
)
from secrets_manager.controller.secret import SECRETS, CurrentSecret
from secrets_manager.controller.spec import RolloutRestartTarget
from secrets_manager.controller.workload import WORKLOADS
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import Conflict, Forbidden, KubeError, NotFound, retry_after
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store
from secrets_manager.kube.workqueue import NoMetrics, WorkQueue
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

TASKS = 4
"""Attempts in progress."""
BACKOFF = Backoff(initial=0.5, maximum=60.0)
FAILURES_BEFORE_REPORT = 3
"""Failures in a row before the condition changes, where a retry may help soon: a conflict is one."""
RETRY_PERIOD = 60.0
"""Seconds within which a target that is not there, or may not be restarted, is tried again."""

RestartsHandler = Callable[[ObjectKey, Restarts, Restarts], None]
"""Called with a definition, and its restarts before and after an attempt."""


class _Workload(NamedTuple):
    namespace: str
    target: RolloutRestartTarget

    @property
    def fields(self) -> dict[str, str]:
        """The fields of its log lines."""
        return {"namespace": self.namespace, "kind": self.target.kind, "name": self.target.name}


class RolloutRestarter:
    """Restarts workloads while `run` is running.

    Args:
        client: Sends the requests.
        secrets: The Secrets, with what is recorded on them.
        delay: Seconds between the first change and the restart.
        random: For backoff.
        changed: Called when an attempt has changed the restarts of a definition.
        metrics: Counts attempts, and unexpected exceptions.
    """

    def __init__(
        self,
        client: KubeClient,
        secrets: Store[CurrentSecret],
        *,
        delay: float,
        random: Random,
        changed: RestartsHandler,
        metrics: ControllerMetrics,
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._delay = delay
        self._random = random
        self._changed = changed
        self._metrics = metrics
        self._restarts: dict[ObjectKey, Restarts] = {}
        """The restarts of each definition."""
        self._pending = defaultdict[_Workload, dict[ObjectKey, None]](dict)
        """The definitions with a pending restart of a workload."""
        self._queue = WorkQueue[_Workload](
            metrics=NoMetrics(), random=random, backoff=BACKOFF, flow=lambda workload: workload.namespace
        )

    def __repr__(self) -> str:
        return f"<RolloutRestarter {len(self._pending)} workloads to restart>"

    def expect(self, definition: SecretDefinition) -> Restarts | None:
        """Return the restarts of a definition's targets, and start them after the delay; None if it has no targets."""
        key = definition.key
        secret = self._secrets.get(ObjectKey(key.namespace, definition.spec.name))
        restarts = expected(definition, secret, self._restarts.get(key))
        self._set(key, restarts)
        for target in restarts.pending if restarts is not None else ():
            self._queue.add_after(_Workload(key.namespace, target), self._delay)
        return restarts

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._set(key, None)

    async def run(self) -> None:
        """Restart workloads when they are due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queue.run)
            for _ in range(TASKS):
                nursery.start_soon(self._work)

    async def _work(self) -> NoReturn:
        while True:
            async with self._queue.get() as (workload, _):
                if workload in self._pending:
                    await self._try_restart(workload)
                else:
                    self._queue.forget(workload)

    def _set(self, key: ObjectKey, restarts: Restarts | None) -> None:
        """Set the restarts of a definition."""
        before = self._restarts.pop(key, None)
        for workload in (_Workload(key.namespace, target) for target in (before.pending if before is not None else ())):
            del self._pending[workload][key]
            if not self._pending[workload]:
                del self._pending[workload]
        if restarts is not None:
            self._restarts[key] = restarts
            for target in restarts.pending:
                self._pending[_Workload(key.namespace, target)][key] = None

    async def _try_restart(self, workload: _Workload) -> None:
        """Restart a workload for all Secrets at once, or try again later."""
        attempt = {key: self._restarts[key] for key in self._pending[workload]}
        try:
            await self._restart(workload, {each.secret: each.revision for each in attempt.values()})
        except KubeError as error:
            self._metrics.restart_attempted(succeeded=False)
            failure = failure_of(workload.target, error)
            level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
            log.log(level, "restart failed, retrying", extra={"fields": workload.fields | {"error": str(error)}})
            if self._try_again(workload, error, soon=failure.reason is Reason.FAILED):
                self._change(workload, attempt, lambda restarts: restarts.failed(workload.target, failure))
        except Exception as error:  # it fails this workload only
            self._metrics.restart_attempted(succeeded=False)
            self._metrics.unexpected_error()
            log.exception("unexpected error, retrying", extra={"fields": workload.fields})
            self._try_again(workload, error, soon=True)
        else:
            self._queue.forget(workload)
            self._change(workload, attempt, lambda restarts: restarts.restarted(workload.target))

    async def _restart(self, workload: _Workload, revisions: dict[str, str]) -> None:
        """Restart a workload, unless it was restarted for these revisions before.

        Raises:
            KubeError: A retry may help.
        """

        def exists(name: str) -> bool:
            return self._secrets.get(ObjectKey(workload.namespace, name)) is not None

        resource, key = WORKLOADS[workload.target.kind], ObjectKey(workload.namespace, workload.target.name)
        patch = restart(await self._client.get(resource, key), revisions, exists=exists)
        if patch is not None:
            for name, revision in revisions.items():
                await self._check_revision(ObjectKey(workload.namespace, name), revision)
            await self._client.patch(resource, key, patch)
            self._metrics.restart_attempted(succeeded=True)
            log.info("workload restarted", extra={"fields": workload.fields})

    async def _check_revision(self, key: ObjectKey, revision: str) -> None:
        """Get a Secret before a workload is restarted for its revision: the watch may be behind.

        Others may have removed the revision, or the Secret.

        Raises:
            Conflict: It has another revision.
            SecretUnreadable: It may not be read.
            KubeError: A retry may help.
        """
        with suppress(NotFound):
            try:
                secret = await self._client.get(SECRETS, key)
            except Forbidden as error:
                raise SecretUnreadable(str(error)) from None
            if revision_of(secret) not in ("", revision):
                raise Conflict(f"Secret {key} has changed meanwhile", code=HTTPStatus.CONFLICT)

    def _try_again(self, workload: _Workload, error: Exception, *, soon: bool) -> bool:
        """Schedule another attempt. Returns whether the failure is worth a report."""
        period = 0.0 if soon else RETRY_PERIOD * self._random.uniform(0.5, 1.0)
        self._queue.add_rate_limited(workload, at_least=max(period, retry_after(error)))
        return not soon or self._queue.num_requeues(workload) >= FAILURES_BEFORE_REPORT

    def _change(
        self, workload: _Workload, attempt: dict[ObjectKey, Restarts], change: Callable[[Restarts], Restarts]
    ) -> None:
        """Change the restarts of definitions for the revisions of an attempt, and report it."""
        for key, attempted in attempt.items():
            before = self._restarts.get(key)
            if before is None or before.revision != attempted.revision or workload.target not in before.pending:
                continue  # it has changed during the attempt
            after = change(before)
            if after != before:
                self._set(key, after)
                self._changed(key, before, after)
