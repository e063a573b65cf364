"""The controller: turn changes into keys on the queue, and process them while this process is the leader.

    watch ───> store ───> keys ──┐
                                 ├─> queue ─> worker ─> reconciler ─> one write to the Secret, or none
    secret store ─> sources ─────┘                └──> status

The queue holds keys of definitions only.
"""

import random
from collections.abc import Callable, Iterable
from datetime import datetime

import trio

from secrets_manager.backends import Backend
from secrets_manager.config import ControllerConfig
from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.freshness import Freshness
from secrets_manager.controller.key_writer import KeyWriter
from secrets_manager.controller.merged_secret import MergedSecret, merger_key
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reconciler import Reconciler
from secrets_manager.controller.reporter import Reporter
from secrets_manager.controller.rollout_restart import Restarts
from secrets_manager.controller.rollout_restarter import RolloutRestarter
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.secret_merger import SecretMerger
from secrets_manager.controller.secret_syncer import SecretSyncer
from secrets_manager.controller.secret_writer import SecretWriter
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.status import state_of
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.controller.view import View
from secrets_manager.controller.watches import Watches, owner_uid
from secrets_manager.controller.worker import STATUS_PRIORITY, Worker
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.events import EventRecorder
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.workqueue import Priority, WorkQueue
from secrets_manager.metrics import BackendMetrics, ControllerMetrics, Definitions

STATUS_REPAIR_DELAY = 1.0
"""Seconds after which a status that others have changed is repaired: competing writers cause a write a second."""


class Controller:
    """`watches.run` and `run` are its two tasks. `view` shows what it knows."""

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
        def now() -> str:
            return f"{clock():%Y-%m-%dT%H:%M:%SZ}"

        self._config = config
        self._metrics = metrics
        self._policy = PathPolicy(config.allowed_paths, backend.segments)
        self._queue = WorkQueue[ObjectKey](metrics=metrics.queue, random=random, flow=lambda key: key.namespace)
        metrics.queue.follow(
            depth=self._queue.__len__,
            unfinished=self._queue.unfinished_work,
            longest=self._queue.longest_running,
        )
        self.watches = Watches(
            client,
            config.watch_namespaces,
            metrics,
            random=random,
            definition_changed=self._definition_changed,
            secret_changed=self._secret_changed,
            merged_changed=self._merged_changed,
        )
        self._sources = Sources(
            backend, _read_policy(config), random=random, metrics=backend_metrics, wake=self._sources_changed
        )
        self._freshness = Freshness(self._sources.of)
        self._events = EventRecorder(
            client,
            controller="secrets-manager",
            instance=identity,
            now=clock,
            random=random,
            dropped=metrics.events_dropped,
        )
        self._statuses = StatusWriter(client, self.watches.definitions, now=now)
        self._reporter = Reporter(self._events, metrics)
        states = {reason.value: state_of(reason) for reason in Reason}
        metrics.definitions.follow(
            Definitions(states, self._reporter.reasons, lambda: self._freshness.ages(self._reporter.reason_of))
        )
        self._restarter = RolloutRestarter(
            client,
            self.watches.secrets,
            delay=config.rollout_restart_delay,
            random=random,
            changed=self._restarts_changed,
            metrics=metrics,
        )
        writer = SecretWriter(
            client, secrets=self.watches.secrets, definitions=self.watches.definitions, metrics=metrics, now=now
        )
        self.view = View(
            self.watches,
            statuses=self._statuses,
            sources=self._sources,
            queue=self._queue,
            freshness=self._freshness,
            excluded=config.exclude_namespaces,
        )
        reconciler = Reconciler(
            client,
            definitions=self.watches.definitions,
            policy=self._policy,
            sources=self._sources,
            statuses=self._statuses,
            syncer=SecretSyncer(self.watches.secrets, writer, random),
            merger=SecretMerger(self.watches, KeyWriter(client, metrics), writer),
            restarter=self._restarter,
            reporter=self._reporter,
            freshness=self._freshness,
            random=random,
            clock=clock,
        )
        self._worker = Worker(self._queue, reconciler, self._statuses, metrics)

    async def run(self) -> None:
        """Start workers, and run until cancelled. The only task that writes."""
        self._freshness.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._events.run)
            nursery.start_soon(self._queue.run)
            nursery.start_soon(self._sources.run)
            nursery.start_soon(self._restarter.run)
            for _ in range(self._config.workers):
                nursery.start_soon(self._worker.run)

    def _definition_changed(self, old: SecretDefinition | None, new: SecretDefinition | None) -> None:
        if self._is_excluded(old or new):
            return
        if new is None:
            if old is not None:
                self._definition_deleted(old.key)
            return
        if new.merges_into is not None:
            self.watches.need_merged(new.key.namespace)
        self._metrics.secrets.wants(new.key, new.spec.name or new.key.name)
        if old is None or old.metadata.generation != new.metadata.generation or not old.is_equivalent_to(new):
            self._subscribe(new)
            self._queue.add(new.key, Priority.ROUTINE if old is None and new.in_sync else Priority.URGENT)
        elif self._statuses.is_pending(new.key):  # an earlier write arrived late, or others changed the status
            self._queue.add_after(new.key, STATUS_REPAIR_DELAY, STATUS_PRIORITY)

    def _subscribe(self, definition: SecretDefinition) -> None:
        """Have the sources of the definition read, and its age counted, unless it is being deleted."""
        key = definition.key
        if definition.metadata.deletion_timestamp is not None:
            self._freshness.forget(key)
            self._sources.unsubscribe(key)
            return
        self._freshness.call_for(key)
        admitted = self._policy.admit(definition)
        if isinstance(admitted, Spec):
            self._sources.subscribe(key, admitted.read_sources, period=admitted.period)
        else:
            self._sources.subscribe(key, frozenset())

    def _call_for(self, definition: SecretDefinition) -> None:
        """Have the definition reconciled at once."""
        if definition.metadata.deletion_timestamp is None:
            self._freshness.call_for(definition.key)
        self._queue.add(definition.key, Priority.URGENT)

    def _definition_deleted(self, key: ObjectKey) -> None:
        self._metrics.secrets.forget(key)
        self._freshness.forget(key)
        self._sources.unsubscribe(key)
        self._queue.forget(key, STATUS_PRIORITY)
        self._queue.add(key, Priority.ROUTINE)  # the reconciler forgets it, after a reconcile in progress

    def _merged_changed(self, old: MergedSecret | None, new: MergedSecret | None, by: ObjectKey | None) -> None:
        """Reconcile those whose keys in the Secret have changed, and those who have left keys there."""
        secret = new or old
        if secret is None or self._is_excluded(secret):
            return
        mergers = {merger_key(target.key): target for target in self.watches.merging_into(secret.key)}
        for merger, definition in mergers.items():
            if definition.key != by and _share(old, merger) != _share(new, merger):
                self._call_for(definition)
        for name in new.keys if new is not None else ():
            merger = secret.key._replace(name=name)
            if merger not in mergers and _share(old, merger) != _share(new, merger):
                self._queue.add(self.watches.definition_key(merger), Priority.ROUTINE)

    def _is_excluded(self, obj: SecretDefinition | CurrentSecret | MergedSecret | None) -> bool:
        return obj is not None and obj.key.namespace in self._config.exclude_namespaces

    def _secret_changed(self, old: CurrentSecret | None, new: CurrentSecret | None) -> None:
        for secret in filter(None, (old, new)):
            for uid in () if self._is_excluded(secret) else owner_uid(secret):
                for definition in self.watches.labelled(uid, secret.key.namespace):
                    self._call_for(definition)

    def _sources_changed(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._freshness.call_for(key)
            self._queue.add(key, Priority.ROUTINE)

    def _restarts_changed(self, key: ObjectKey, before: Restarts, after: Restarts) -> None:
        definition = self.watches.definitions.get(key)
        if definition is not None:
            self._reporter.restarts_attempted(definition, before, after)
        self._statuses.record_restarts(key, after)
        self._queue.add(key, STATUS_PRIORITY)


def _share(secret: MergedSecret | None, merger: ObjectKey) -> tuple[object, ...] | None:
    """Return what concerns a merger of the Secret."""
    if secret is None:
        return None
    return secret.metadata.deletion_timestamp, secret.keys.get(merger.name)


def _read_policy(config: ControllerConfig) -> ReadPolicy:
    return ReadPolicy(
        period=config.reconcile_period, list_period=config.list_period, concurrency=config.backend_concurrency
    )
