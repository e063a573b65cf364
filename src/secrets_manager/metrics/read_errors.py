"""A counter of a secret store's failed reads. If it has series of each path, they are removed with it."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily


class ReadErrors:
    """Failed reads by `labels`, path and error. The path is empty unless `per_path`."""

    def __init__(
        self, name: str, documentation: str, labels: tuple[str, ...], registry: CollectorRegistry, *, per_path: bool
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = (*labels, "path", "error")
        self._per_path = per_path
        self._counts: dict[str, Counter[tuple[str, ...]]] = {}
        """The series of each path."""
        registry.register(self)

    def count(self, labels: tuple[str, ...], path: str, error: str) -> None:
        """Record a failed read."""
        if not self._per_path:
            path = ""
        self._counts.setdefault(path, Counter())[(*labels, path, error)] += 1

    def forget(self, path: str) -> None:
        """Remove all series of a path."""
        self._counts.pop(path, None)

    def describe(self) -> tuple[CounterMetricFamily]:
        """Return the metric family without samples."""
        return (CounterMetricFamily(self._name, self._documentation, labels=self._labels),)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the metric family."""
        return self._families([series for counts in self._counts.values() for series in counts.items()])

    def _families(self, counts: list[tuple[tuple[str, ...], int]]) -> Iterator[CounterMetricFamily]:
        (family,) = self.describe()
        for series, count in counts:
            family.add_metric(series, count)
        yield family
