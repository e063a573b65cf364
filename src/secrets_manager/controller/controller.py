"""The controller: what watches always, and what works while this process is the leader.

    watch ───> store ───> names ─┐
                                 ├─> queue ─> worker ─> reconciler ─> one write to the Secret, or none
    secret store ─> sources ─────┘                └──> status

The queue holds names of definitions, and nothing else. A name has one worker at a time, for its Secret and its status.
Workers are cancelled, not drained: a reconcile may stop at any point and the next process finishes it.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import trio

from secrets_manager.backends.base import Backend
from secrets_manager.config import ControllerConfig
from secrets_manager.controller import readiness
from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition, Spec
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reconciler import Reconciler, RequeueAfter, RequeueRateLimited, retry_after
from secrets_manager.controller.reporter import Reporter
from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret
from secrets_manager.controller.secret_keeper import SecretKeeper
from secrets_manager.controller.secret_writer import SecretWriter
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import Conflict, KubeError
from secrets_manager.kube.events import EventRecorder
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from secrets_manager.kube.workqueue import Priority, WorkQueue
from secrets_manager.metrics import BackendMetrics, ControllerMetrics

log = logging.getLogger(__name__)

STATUS = Priority.BACKGROUND
"""At this priority only the status is to be written. Pods wait for Secrets, and for statuses at most people do."""

_BY_UID = "uid"


class Controller:
    """`watch` and `work` are its two tasks; `unsynced` tells whether it is ready."""

    def __init__(
        self,
        client: KubeClient,
        backend: Backend,
        config: ControllerConfig,
        metrics: ControllerMetrics,
        backend_metrics: BackendMetrics,
        *,
        identity: str,
        random: random.Random,
        clock: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._random = random
        self._metrics = metrics
        self._definitions = Store[SecretDefinition](indices={_BY_UID: lambda definition: (definition.metadata.uid,)})
        self._secrets = Store[CurrentSecret](indices={OWNER: _owner})
        self._queue = WorkQueue[ObjectKey](metrics=metrics.queue, random=random)
        metrics.queue.follow(
            depth=self._queue.__len__,
            unfinished=self._queue.all_in_progress,
            longest=self._queue.oldest_in_progress,
        )
        self._policy = PathPolicy(config.allowed_paths, backend.segments)
        self._events = EventRecorder(client, controller="secrets-manager", instance=identity, now=clock, random=random)
        policy = ReadPolicy(
            period=config.reconcile_period,
            list_period=config.list_period,
            concurrency=config.backend_concurrency,
        )
        self._sources = Sources(backend, policy, random=random, metrics=backend_metrics, wake=self._sources_changed)

        def now() -> str:
            return f"{clock():%Y-%m-%dT%H:%M:%SZ}"

        self._statuses = StatusWriter(client, self._definitions, now=now)
        self._reporter = Reporter(self._events, metrics)
        self._reconciler = self._build_reconciler(client, now)
        self._reflectors = [self._reflect(client, namespace) for namespace in config.watch_namespaces or ("",)]
        for pair in self._reflectors:
            for reflector in pair:
                metrics.watch(reflector.kind, reflector.namespace, up=reflector.up)

    async def watch(self) -> None:
        """Keep the stores equal to the cluster until cancelled: writes nothing, so a standby does it too."""
        async with trio.open_nursery() as nursery:
            for secrets, definitions in self._reflectors:
                nursery.start_soon(self._follow, secrets, definitions)

    async def work(self) -> None:
        """Work until cancelled: the only part that writes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._events.run)
            nursery.start_soon(self._queue.run)
            nursery.start_soon(self._sources.run)
            for number in range(self._config.workers):
                nursery.start_soon(self._work_on_names, name=f"worker {number}")

    @property
    def unsynced(self) -> list[str]:
        """Why it is not ready yet, a line each; see readiness.py."""
        return readiness.unsynced(self._reflectors)

    @property
    def unwatched(self) -> list[str]:
        """What can't be watched just now, a line each."""
        return readiness.unwatched(self._reflectors)

    async def _follow(self, secrets: Reflector[CurrentSecret], definitions: Reflector[SecretDefinition]) -> None:
        """Secrets come first, so that the first look at a definition finds its Secret in the store."""
        async with trio.open_nursery() as nursery:
            await nursery.start(secrets.run)
            await nursery.start(definitions.run)

    async def _work_on_names(self) -> None:
        """One worker. A status waits for the Secrets of others, but once only."""
        while True:
            async with self._queue.take() as (key, priority):
                waited = priority is STATUS or self._statuses.is_pending(key)
                if priority is not STATUS:
                    await self._guard(key, Priority.ROUTINE, self._reconcile)
                if waited or not self._queue.waits_at(Priority.ROUTINE):
                    await self._guard(key, STATUS, self._write_status)
                elif self._statuses.is_pending(key):
                    self._queue.add(key, STATUS)

    async def _guard(self, key: ObjectKey, priority: Priority, work: Callable[[ObjectKey], Awaitable[None]]) -> None:
        """The one place where any exception ends one item and nothing else: it is tried again, later each time."""
        try:
            await work(key)
        except Exception as error:  # noqa: BLE001 - one broken item must not stop the others
            self._failed(key, error)
            self._queue.add_rate_limited(key, priority, at_least=retry_after(error))

    async def _reconcile(self, key: ObjectKey) -> None:
        began = trio.current_time()
        try:
            requeue = await self._reconciler.reconcile(key)
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

    def _failed(self, key: ObjectKey, error: Exception) -> None:
        fields = {"namespace": key.namespace, "name": key.name, "error": str(error)}
        if isinstance(error, Conflict):
            log.debug("changed meanwhile, tried again", extra={"fields": fields})
            return
        self._metrics.synced(key, ok=False)
        if isinstance(error, KubeError):
            log.warning("reconcile failed, tried again", extra={"fields": fields})
        else:
            self._metrics.unexpected_error()
            log.error("reconcile failed unexpectedly, tried again", extra={"fields": fields}, exc_info=error)

    def _definition_changed(self, old: SecretDefinition | None, new: SecretDefinition | None) -> None:
        if new is None:
            if old is not None:
                self._gone(old.key)
            return
        if new.key.namespace in self._config.exclude_namespaces:
            return
        if old is None or not old.wants_the_same_as(new):
            admitted = self._policy.admitted(new)
            if isinstance(admitted, Spec):
                self._sources.use(new.key, admitted.sources, period=admitted.period)
            else:
                self._sources.use(new.key, frozenset())
            self._queue.add(new.key, Priority.ROUTINE if old is None and new.in_sync else Priority.URGENT)
        elif self._statuses.is_pending(new.key):  # an earlier write has come late, or somebody has changed the status
            self._queue.add(new.key, STATUS)

    def _secret_changed(self, old: CurrentSecret | None, new: CurrentSecret | None) -> None:
        for secret in (old, new):
            if secret is not None:
                self._wake(_owner(secret), Priority.URGENT)

    def _wake(self, uids: Iterable[str], priority: Priority) -> None:
        for uid in uids:
            for definition in self._definitions.by(_BY_UID, uid):
                if definition.key.namespace not in self._config.exclude_namespaces:
                    self._queue.add(definition.key, priority)

    def _sources_changed(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key, Priority.ROUTINE)

    def _gone(self, key: ObjectKey) -> None:
        self._sources.release(key)
        self._queue.forget(key)
        self._queue.add(key, Priority.ROUTINE)  # lets the reconciler forget it, after what may be under way

    def _reflect(
        self, client: KubeClient, namespace: str
    ) -> tuple[Reflector[CurrentSecret], Reflector[SecretDefinition]]:
        secrets = Watcher(client, SECRETS, random=self._random, namespace=namespace, label_selector=OWNER)
        definitions = Watcher(client, SECRET_DEFINITIONS, random=self._random, namespace=namespace)
        return (
            Reflector(secrets, store=self._secrets, on_change=self._secret_changed),
            Reflector(definitions, store=self._definitions, on_change=self._definition_changed),
        )

    def _build_reconciler(self, client: KubeClient, now: Callable[[], str]) -> Reconciler:
        writer = SecretWriter(client, self._secrets, self._metrics, now)
        return Reconciler(
            client,
            definitions=self._definitions,
            policy=self._policy,
            sources=self._sources,
            statuses=self._statuses,
            keeper=SecretKeeper(self._secrets, writer),
            reporter=self._reporter,
        )


def _owner(secret: CurrentSecret) -> tuple[str, ...]:
    uid = secret.metadata.labels.get(OWNER)
    return () if uid is None else (uid,)
