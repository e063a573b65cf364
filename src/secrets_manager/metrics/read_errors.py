"""A counter of a secret store's failed reads. If it has series of each path, they are removed with it."""

from prometheus_client import CollectorRegistry, Counter


class ReadErrors:
    """Failed reads by `labels`, path and error. The path is empty unless `per_path`."""

    def __init__(
        self, name: str, documentation: str, labels: tuple[str, ...], registry: CollectorRegistry, *, per_path: bool
    ) -> None:
        self._per_path = per_path
        self._counter = Counter(name, documentation, (*labels, "path", "error"), registry=registry)
        self._series: dict[str, set[tuple[str, ...]]] = {}

    def count(self, labels: tuple[str, ...], path: str, error: str) -> None:
        """Record a failed read."""
        if not self._per_path:
            path = ""
        series = (*labels, path, error)
        self._series.setdefault(path, set()).add(series)
        self._counter.labels(*series).inc()

    def forget(self, path: str) -> None:
        """Remove all series of a path."""
        for series in self._series.pop(path, ()):
            self._counter.remove(*series)
