"""Metrics of the controller."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from secrets_manager.metrics import buckets
from secrets_manager.metrics.definitions import DefinitionMetrics
from secrets_manager.metrics.secrets import SecretMetrics
from secrets_manager.metrics.workqueue import QueueMetrics

RESTARTED, FAILED = "restarted", "failed"


class ControllerMetrics:
    """Metrics of the controller, its work queue, its definitions and, `per_object`, its Secrets."""

    def __init__(self, registry: CollectorRegistry, *, per_object: bool = True) -> None:
        self.queue = QueueMetrics(registry, "secretdefinition")
        self.definitions = DefinitionMetrics(registry)
        self.secrets = SecretMetrics(registry if per_object else None)
        self._reconciles = Histogram(
            "secrets_manager_controller_reconcile_duration_seconds",
            "Length of time per reconciliation of a SecretDefinition, with its reads and writes",
            buckets=buckets.DURATIONS,
            registry=registry,
        )
        self._reconcile_errors = Counter(
            "secrets_manager_controller_reconcile_errors_total",
            "Total number of reconciliations that found a problem, by its reason",
            ("reason",),
            registry=registry,
        )
        self._change_lags = Histogram(
            "secrets_manager_controller_change_lag_seconds",
            "Seconds from a change, by the time that the backend reports, to the write of the Secret",
            buckets=buckets.LAGS,
            registry=registry,
        )
        self._unexpected_errors = Counter(
            "secrets_manager_controller_unexpected_errors_total",
            "Total number of reconciliations and status writes that failed with an unexpected exception: a bug, whose "
            "stack trace is in the log",
            registry=registry,
        )
        self._rollout_restarts = Counter(
            "secrets_manager_rollout_restarts_total",
            "Total number of attempts to restart a workload of rolloutRestartTargets, by result: restarted, or failed, "
            "which is tried again",
            ("result",),
            registry=registry,
        )
        for result in (RESTARTED, FAILED):  # from 0 on, so that `increase` sees the first one
            self._rollout_restarts.labels(result)
        self._events_dropped = Counter(
            "secrets_manager_events_dropped_total",
            "Total number of Events that were not sent, as they were too old, too many, or refused",
            registry=registry,
        )
        self._watch_up = Gauge(
            "secrets_manager_watch_up",
            "Whether a kind is watched in a namespace (empty: in all). 1 = yes, 0 = no, and the log says why",
            ("kind", "namespace"),
            registry=registry,
        )

    def unexpected_error(self) -> None:
        """Record an unexpected exception."""
        self._unexpected_errors.inc()

    def watch(self, kind: str, namespace: str, *, up: Callable[[], bool]) -> None:
        """Call `up` at each scrape."""
        self._watch_up.labels(kind, namespace).set_function(up)

    def reconciled(self, seconds: float) -> None:
        """Record a reconciliation."""
        self._reconciles.observe(seconds)

    def reconcile_error(self, reason: str) -> None:
        """Record a reconciliation that found a problem."""
        self._reconcile_errors.labels(reason).inc()

    def change_written(self, lag: float) -> None:
        """Record the write of a Secret whose source has changed `lag` seconds ago."""
        self._change_lags.observe(lag)

    def restart_attempted(self, *, succeeded: bool) -> None:
        """Record an attempt to restart a workload."""
        self._rollout_restarts.labels(RESTARTED if succeeded else FAILED).inc()

    def events_dropped(self, count: int) -> None:
        """Record dropped Events."""
        self._events_dropped.inc(count)
