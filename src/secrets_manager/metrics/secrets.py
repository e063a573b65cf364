"""Metrics of each Secret, as in the Go original. The label name has the name of the Secret."""

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Key = tuple[str, str]
"""Namespace and name of an object."""


class _Secret:
    """The state of one Secret's series."""

    __slots__ = ("definitions", "read_errors", "sync_errors")  # there may be ten thousand

    def __init__(self) -> None:
        self.definitions: dict[Key, bool | None] = {}
        """The definitions of the Secret, each with whether its last reconcile succeeded; None before the first."""
        self.sync_errors = 0
        self.read_errors = 0


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
        self._secrets.setdefault((definition[0], name), _Secret()).definitions[definition] = None

    def synced(self, definition: Key, *, ok: bool) -> None:
        """Record the end of a reconcile. The definition may have been deleted meanwhile."""
        if secret := self._secret_of(definition):
            secret.definitions[definition] = ok
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
        del self._secrets[key].definitions[definition]
        if not self._secrets[key].definitions:
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

    def collect(self) -> tuple[CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]:
        """Return the metric families. Sync errors start at 0, so that `increase` sees the first one."""
        families = read_errors, sync_errors, last_sync = self.describe()
        for (namespace, name), secret in self._secrets.items():
            labels = (name, namespace)
            results = [ok for ok in secret.definitions.values() if ok is not None]
            sync_errors.add_metric(labels, secret.sync_errors)
            if secret.read_errors:
                read_errors.add_metric(labels, secret.read_errors)
            if results:
                last_sync.add_metric(labels, all(results))
        return families

    def _secret_of(self, definition: Key) -> _Secret | None:
        name = self._names.get(definition)
        return None if name is None else self._secrets[definition[0], name]
