"""Metrics of a work queue, with client-go's names, labels and HELP texts."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from secrets_manager.metrics import buckets


class QueueMetrics:
    """Metrics of one work queue."""

    def __init__(self, registry: CollectorRegistry, name: str) -> None:
        def counter(what: str, documentation: str) -> Counter:
            return Counter(f"workqueue_{what}", documentation, ("name",), registry=registry).labels(name)

        def histogram(what: str, documentation: str) -> Histogram:
            return Histogram(
                f"workqueue_{what}", documentation, ("name",), buckets=buckets.DURATIONS, registry=registry
            ).labels(name)

        def gauge(what: str, documentation: str) -> Gauge:
            return Gauge(f"workqueue_{what}", documentation, ("name",), registry=registry).labels(name)

        self._depth = gauge("depth", "Current depth of workqueue")
        self._unfinished = gauge(
            "unfinished_work_seconds",
            "How many seconds of work has done that is in progress and hasn't been observed by work_duration. "
            "Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at "
            "which this increases.",
        )
        self._longest = gauge(
            "longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running.",
        )
        adds = counter("adds_total", "Total number of adds handled by workqueue")
        retries = counter("retries_total", "Total number of retries handled by workqueue")
        waits = histogram(
            "queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested."
        )
        works = histogram("work_duration_seconds", "How long in seconds processing an item from workqueue takes.")
        self.added, self.retried = adds.inc, retries.inc
        self.waited, self.worked = waits.observe, works.observe

    def follow(
        self, *, depth: Callable[[], float], unfinished: Callable[[], float], longest: Callable[[], float]
    ) -> None:
        """Call these at each scrape."""
        self._depth.set_function(depth)
        self._unfinished.set_function(unfinished)
        self._longest.set_function(longest)
