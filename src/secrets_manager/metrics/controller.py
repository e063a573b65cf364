"""Metrics of the controller."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from secrets_manager.metrics import buckets
from secrets_manager.metrics.secrets import SecretMetrics
from secrets_manager.metrics.workqueue import QueueMetrics


class ControllerMetrics:
    """Metrics of the controller, its work queue and its Secrets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue = QueueMetrics(registry, "secretdefinition")
        self.secrets = SecretMetrics(registry)
        self._definitions = Gauge(
            "secrets_manager_controller_definitions",
            "Number of SecretDefinitions by the reason of their Ready condition, as of the last reconcile",
            ("reason",),
            registry=registry,
        )
        self._reconciles = Histogram(
            "secrets_manager_controller_reconcile_duration_seconds",
            "Length of time per reconciliation of a SecretDefinition, with its reads and writes",
            buckets=buckets.DURATIONS,
            registry=registry,
        )
        self._unexpected_errors = Counter(
            "secrets_manager_controller_unexpected_errors_total",
            "Total number of reconciliations and status writes that failed with an unexpected exception",
            registry=registry,
        )
        self._events_dropped = Counter(
            "secrets_manager_events_dropped_total",
            "Total number of Events that were not sent, as they were too old, too many, or refused",
            registry=registry,
        )
        self._watch_up = Gauge(
            "secrets_manager_watch_up",
            "Whether a kind is watched in a namespace. 1 = yes, 0 = no",
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

    def reason(self, before: str, now: str) -> None:
        """Record that the reason of a definition has changed. Empty: it had none, or it was deleted."""
        if before:
            self._definitions.labels(before).dec()
        if now:
            self._definitions.labels(now).inc()

    def events_dropped(self, count: int) -> None:
        """Record dropped Events."""
        self._events_dropped.inc(count)
