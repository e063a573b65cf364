"""Metrics of the secret store, of any kind."""

from prometheus_client import CollectorRegistry, Counter, Gauge

TASKS = ("read", "poll", "list")
"""Tasks that may fail with an unexpected exception."""


class BackendMetrics:
    """Metrics of the secret store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            "secrets_manager_backend_up",
            "Whether the backend is available. 1 = yes, 0 = several reads in a row have failed",
            registry=registry,
        )
        self._concurrency = Gauge(
            "secrets_manager_backend_concurrency",
            "Limit of concurrent requests to the backend, lower while it fails",
            registry=registry,
        )
        self._cache_hits = Counter(
            "secrets_manager_backend_cache_hits_total",
            "Total number of reads that shared the result of a recent read of the same path",
            registry=registry,
        )
        self._unexpected_errors = Counter(
            "secrets_manager_backend_unexpected_errors_total",
            "Total number of reads, polls and listings that failed with an unexpected exception",
            ("task",),
            registry=registry,
        )
        self._up.set(1)
        for task in TASKS:  # from 0 on, so that `increase` sees the first one
            self._unexpected_errors.labels(task)

    def unexpected_error(self, task: str) -> None:
        """Record an unexpected exception in a task."""
        self._unexpected_errors.labels(task).inc()

    def state(self, *, up: bool, concurrency: int) -> None:
        """Set the availability and the limit of concurrent requests."""
        self._up.set(1 if up else 0)
        self._concurrency.set(concurrency)

    def cache_hit(self) -> None:
        """Record a shared read."""
        self._cache_hits.inc()
