"""The registry of all metrics, and what it shows at one moment.

A scrape has two steps. `snapshot` takes what each collector shows: that is short, and nothing changes meanwhile, as all
else that the program does is done by the same thread. To make samples and texts of it takes far longer, and can be done
by another thread: a collector may leave it to its iterable.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector


class Snapshot:
    """What all collectors showed at one moment, to be rendered once."""

    def __init__(self, collected: list[Iterable[Metric]]) -> None:
        self._collected = collected

    def collect(self) -> Iterator[Metric]:
        """Return the metric families."""
        return chain.from_iterable(self._collected)


class Registry(CollectorRegistry):
    """The registry."""

    def __init__(self) -> None:
        super().__init__()
        self._collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        """Add a collector."""
        super().register(collector)
        self._collectors.append(collector)

    def snapshot(self) -> Snapshot:
        """Return what all collectors show now."""
        return Snapshot([collector.collect() for collector in self._collectors])
