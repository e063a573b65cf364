"""The domain, wired: what watches always, and what works while this process is in charge.

    watch ─> store ─> key ─┐             ┌─> reconciler ─> one write
                           ├─> queue ─> worker
    time ─────> source ────┘             └─> poll ─> keys of those who use what changed

Workers are cancelled, not drained: a reconcile may stop at any point and the next process finishes it.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import TypeVar

import trio

from secrets_manager.backends.base import Backend
from secrets_manager.config import ControllerConfig
from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition, Spec
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.reconciler import Next, Reconciler
from secrets_manager.controller.reporter import Report, Reporter
from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret
from secrets_manager.controller.secret_writer import SecretWriter
from secrets_manager.controller.sources import Sources, Turn
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import ApiError, Conflict, KubeError
from secrets_manager.kube.events import EventRecorder
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from secrets_manager.kube.workqueue import Lane, WorkQueue
from secrets_manager.metrics import BackendMetrics, ControllerMetrics

log = logging.getLogger(__name__)

STUCK = 120.0
"""Seconds after which one reconcile counts as stuck: many times what its requests may take together."""

_BY_UID = "uid"

K = TypeVar("K")


class Controller:
    """`watch` and `work` are its two tasks; the properties tell its health."""

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
        self._queue = WorkQueue[ObjectKey | Report | Turn](metrics=metrics.queue, random=random)
        metrics.queue.follow(
            depth=self._queue.__len__,
            unfinished=self._queue.all_in_progress,
            longest=self._queue.oldest_in_progress,
        )
        self._policy = PathPolicy(config.allowed_paths)
        self._events = EventRecorder(client, controller="secrets-manager", instance=identity, now=clock, random=random)
        self._sources = Sources(
            backend,
            period=config.reconcile_period,
            list_period=config.list_period,
            concurrency=config.backend_concurrency,
            random=random,
            metrics=backend_metrics,
            schedule=self._queue.add_after,
            wake=self._source_changed,
        )

        def now() -> str:
            return f"{clock():%Y-%m-%dT%H:%M:%SZ}"

        self._reporter = Reporter(client, self._definitions, self._events, metrics, now=now, later=self._report_later)
        self._reconciler = self._build_reconciler(client, now)
        self._reflectors = [self._reflect(client, namespace) for namespace in config.watch_namespaces or ("",)]

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
            nursery.start_soon(self._sources.drop_values)
            for number in range(self._config.workers):
                nursery.start_soon(self._take_turns, name=f"worker {number}")

    @property
    def stuck(self) -> str:
        """What has made no progress for too long; empty while all is well."""
        age = self._queue.oldest_in_progress()
        return f"one reconcile has been under way for {age:.0f} s" if age > STUCK else ""

    @property
    def unsynced(self) -> list[str]:
        """The watches that have not yet brought a first full list, each with the reason."""
        return [
            reflector.problem or f"the first list of {reflector.namespace or 'all namespaces'} is under way"
            for pair in self._reflectors
            for reflector in pair
            if not reflector.synced.is_set()
        ]

    async def _follow(self, secrets: Reflector[CurrentSecret], definitions: Reflector[SecretDefinition]) -> None:
        """Secrets come first, so that the first look at a definition finds its Secret in the store."""
        async with trio.open_nursery() as nursery:
            await nursery.start(secrets.run)
            await nursery.start(definitions.run)

    async def _take_turns(self) -> None:
        """One worker. Definitions and polls share the queue, so that no poll goes before what a user waits for."""
        while True:
            async with self._queue.take() as item:
                match item:
                    case ObjectKey():
                        await self._carefully(item, self._reconcile, item)
                    case Report(key):
                        await self._carefully(key, self._reporter.write, item)
                    case _:
                        await self._sources.look(item)

    async def _carefully(self, key: ObjectKey, work: Callable[[K], Awaitable[None]], item: K) -> None:
        """The one place where any exception ends one item and nothing else: its definition is tried again."""
        try:
            await work(item)
        except Exception as error:  # noqa: BLE001 - one broken item must not stop the others
            self._failed(key, error)
            self._queue.add_rate_limited(key, at_least=_retry_after(error))

    async def _reconcile(self, key: ObjectKey) -> None:
        began = trio.current_time()
        try:
            following = await self._reconciler.reconcile(key)
        finally:
            self._metrics.reconciled(trio.current_time() - began)
        if following is Next.SOME_TIME:
            self._queue.add_rate_limited(key)
        elif not self._reporter.owes(key):
            self._queue.forget(key)

    def _failed(self, key: ObjectKey, error: Exception) -> None:
        fields = {"namespace": key.namespace, "name": key.name, "error": str(error)}
        if isinstance(error, Conflict):
            log.debug("changed meanwhile, tried again", extra={"fields": fields})
            return
        self._metrics.synced(key, ok=False)
        if isinstance(error, KubeError):
            log.warning("reconcile failed, tried again", extra={"fields": fields})
        else:
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
            self._queue.add(new.key, Lane.ROUTINE if old is None and new.in_sync else Lane.URGENT)

    def _secret_changed(self, old: CurrentSecret | None, new: CurrentSecret | None) -> None:
        for secret in (old, new):
            if secret is not None:
                self._wake(_owner(secret), Lane.URGENT)

    def _wake(self, uids: Iterable[str], lane: Lane) -> None:
        for uid in uids:
            for definition in self._definitions.by(_BY_UID, uid):
                if definition.key.namespace not in self._config.exclude_namespaces:
                    self._queue.add(definition.key, lane)

    def _source_changed(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key, Lane.ROUTINE)

    def _report_later(self, report: Report) -> None:
        self._queue.add(report, Lane.BACKGROUND)

    def _gone(self, key: ObjectKey) -> None:
        self._sources.release(key)
        self._queue.forget(key)
        self._queue.add(key, Lane.ROUTINE)  # lets the reconciler forget it, after what may be under way

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
            writer=writer,
            reporter=self._reporter,
        )


def _owner(secret: CurrentSecret) -> tuple[str, ...]:
    uid = secret.metadata.labels.get(OWNER)
    return () if uid is None else (uid,)


def _retry_after(error: Exception) -> float:
    return (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
