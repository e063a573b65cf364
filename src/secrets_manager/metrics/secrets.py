"""Metrics of each Secret, as in the Go original. The label name has the name of the Secret."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Key = tuple[str, str]
"""Namespace and name of an object."""


class _Secret:
    """The state of one Secret's series."""

    __slots__ = ("_definitions", "is_synced", "read_errors", "sync_errors")  # there may be ten thousand

    def __init__(self) -> None:
        self._definitions: dict[Key, bool | None] = {}
        """The definitions of the Secret, each with whether its last reconcile succeeded; None before the first."""
        self.is_synced: bool | None = None
        """Whether it succeeded for all that were reconciled; None if none was."""
        self.sync_errors = 0
        self.read_errors = 0

    @property
    def is_wanted(self) -> bool:
        """Whether there is a definition."""
        return bool(self._definitions)

    def set(self, definition: Key, *, ok: bool | None) -> None:
        """Set the result of a definition."""
        self._definitions[definition] = ok
        self._judge()

    def remove(self, definition: Key) -> None:
        """Remove a definition."""
        del self._definitions[definition]
        self._judge()

    def _judge(self) -> None:
        results = [ok for ok in self._definitions.values() if ok is not None]
        self.is_synced = all(results) if results else None


class SecretMetrics:
    """A collector of the series of all Secrets. A series exists as long as a definition of its Secret.

    If several definitions have the same Secret, its status is OK if it is for all of them.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        """Create it. Without a registry nothing is served."""
        self._names: dict[Key, str] = {}
        """The name of each definition's Secret."""
        self._secrets: dict[Key, _Secret] = {}
        if registry is not None:
            registry.register(self)

    def wants(self, definition: Key, name: str) -> None:
        """Record a new or changed definition of the Secret of this name."""
        if self._names.get(definition) == name:
            return
        self.forget(definition)
        self._names[definition] = name
        self._secrets.setdefault((definition[0], name), _Secret()).set(definition, ok=None)

    def synced(self, definition: Key, *, ok: bool) -> None:
        """Record the end of a reconcile. The definition may have been deleted meanwhile."""
        if secret := self._secret_of(definition):
            secret.set(definition, ok=ok)
            secret.sync_errors += not ok

    def read_error(self, definition: Key) -> None:
        """Record that the Secret could not be read from Kubernetes."""
        if secret := self._secret_of(definition):
            secret.read_errors += 1

    def forget(self, definition: Key) -> None:
        """Record the deletion of a definition."""
        name = self._names.pop(definition, None)
        if name is None:
            return
        key = (definition[0], name)
        self._secrets[key].remove(definition)
        if not self._secrets[key].is_wanted:
            del self._secrets[key]

    def describe(self) -> tuple[CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]:
        """Return the metric families without samples."""
        labels = ("name", "namespace")
        return (
            CounterMetricFamily(
                "secrets_manager_controller_secret_read_errors_total",
                "Total number of failed reads of a Secret from Kubernetes. Not found is no failure",
                labels=labels,
            ),
            CounterMetricFamily(
                "secrets_manager_controller_sync_errors_total",
                "Total number of failed syncs of a Secret, from 0 on: one a minute or more while it is not in sync",
                labels=labels,
            ),
            GaugeMetricFamily(
                "secrets_manager_controller_last_sync_status",
                "The result of the last sync of a Secret. 1 = OK, 0 = error",
                labels=labels,
            ),
        )

    def collect(self) -> Iterator[Metric]:
        """Return the metric families. Sync errors start at 0, so that `increase` sees the first one."""
        secrets = self._secrets.values()
        return self._families(
            [*self._secrets],
            [secret.read_errors for secret in secrets],
            [secret.sync_errors for secret in secrets],
            [secret.is_synced for secret in secrets],
        )

    def _families(
        self, keys: list[Key], read_errors: list[int], sync_errors: list[int], synced: list[bool | None]
    ) -> Iterator[Metric]:
        families = reads, syncs, last_sync = self.describe()
        for (namespace, name), failed_reads, failed_syncs, is_synced in zip(
            keys, read_errors, sync_errors, synced, strict=True
        ):
            labels = (name, namespace)
            syncs.add_metric(labels, failed_syncs)
            if failed_reads:
                reads.add_metric(labels, failed_reads)
            if is_synced is not None:
                last_sync.add_metric(labels, is_synced)
        yield from families

    def _secret_of(self, definition: Key) -> _Secret | None:
        name = self._names.get(definition)
        return None if name is None else self._secrets[definition[0], name]
