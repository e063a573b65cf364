"""Every metric of the process, on a registry that is passed in; a part receives its own group only.

Names and labels are those of the Go original, so dashboards and alerts go on; those of client-go's metrics are its own,
and so is what they say of themselves. A series goes when what it tells of goes.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from secrets_manager.config import AzureConfig, Config, VaultConfig

# One more series for each counter, which nobody who knows the original expects.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the package has left the annotation out

Key = tuple[str, str]
"""Namespace and name of an object."""

REQUEST_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper ends of the histogram's buckets: from a read of a near and idle Vault to the usual timeout."""

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Bounds of the buckets of what takes time."""


def describe_process(registry: CollectorRegistry, *, version: str) -> None:
    """The program's version, and what the process uses of the machine, named as all of Prometheus' clients name it."""
    build = Info("secrets_manager_build", "The version of secrets-manager that runs", registry=registry)
    build.info({"version": version})
    ProcessCollector(registry=registry)


class KubeMetrics:
    """Those of the client of one API server, under the names and labels that client-go's have.

    The host is that of `url`, with its port if it names one.
    """

    def __init__(self, registry: CollectorRegistry, *, url: str) -> None:
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._requests = Counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ("code", "method", "host"),
            registry=registry,
        )
        self._leads = Gauge(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. "
            "'name' is the string used to identify the lease. Please make sure to group by name.",
            ("name",),
            registry=registry,
        )

    def request(self, method: str, code: str) -> None:
        self._requests.labels(code, method, self._host).inc()

    def election(self, lease: str, *, leads: Callable[[], bool]) -> None:
        """Ask at each scrape whether this process works, as the holder of the lease or without rivals."""
        self._leads.labels(lease).set_function(leads)


class QueueMetrics:
    """A work queue's, under the names and labels that client-go's have."""

    def __init__(self, registry: CollectorRegistry, name: str) -> None:
        def counter(what: str, about: str) -> Counter:
            return Counter(f"workqueue_{what}", about, ("name",), registry=registry).labels(name)

        def histogram(what: str, about: str) -> Histogram:
            return Histogram(f"workqueue_{what}", about, ("name",), buckets=SECONDS, registry=registry).labels(name)

        def gauge(what: str, about: str) -> Gauge:
            return Gauge(f"workqueue_{what}", about, ("name",), registry=registry).labels(name)

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
        """Ask for these whenever somebody looks: nothing is counted for them meanwhile."""
        self._depth.set_function(depth)
        self._unfinished.set_function(unfinished)
        self._longest.set_function(longest)


class _Secret:
    """What is counted of one Secret."""

    __slots__ = ("definitions", "read_errors", "sync_errors")  # there may be ten thousand

    def __init__(self) -> None:
        self.definitions: dict[Key, bool | None] = {}
        """Those that want it, each with whether its last reconcile went well; None before the first."""
        self.sync_errors = 0
        self.read_errors = 0


class SecretMetrics:
    """The Go original's, with a series for each Secret. `name` is its name, not that of the definition that wants it.

    Where several definitions want one Secret, it went well if it did for all of them. Samples are made at a scrape, as
    prometheus_client's collectors do, so a series is there as long as its Secret is wanted.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._names: dict[Key, str] = {}
        """The name of the Secret that each definition wants."""
        self._secrets: dict[Key, _Secret] = {}
        registry.register(self)

    def wants(self, definition: Key, name: str) -> None:
        """This definition, new or changed, wants the Secret of this name, in its own namespace."""
        if self._names.get(definition) == name:
            return
        self.forget(definition)
        self._names[definition] = name
        self._secrets.setdefault((definition[0], name), _Secret()).definitions[definition] = None

    def synced(self, definition: Key, *, ok: bool) -> None:
        """A reconcile has ended; perhaps that of a definition that is gone by now, which has no series any more."""
        if secret := self._secret_of(definition):
            secret.definitions[definition] = ok
            secret.sync_errors += not ok

    def read_error(self, definition: Key) -> None:
        """The Secret could not be read from Kubernetes."""
        if secret := self._secret_of(definition):
            secret.read_errors += 1

    def forget(self, definition: Key) -> None:
        """The definition is gone."""
        name = self._names.pop(definition, None)
        if name is None:
            return
        key = (definition[0], name)
        del self._secrets[key].definitions[definition]
        if not self._secrets[key].definitions:
            del self._secrets[key]

    def describe(self) -> tuple[CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]:
        """The families, without samples."""
        labels = ("name", "namespace")
        return (
            CounterMetricFamily(
                "secrets_manager_controller_secret_read_errors_total",
                "Errors total count when reading a secret from Kubernetes",
                labels=labels,
            ),
            CounterMetricFamily(
                "secrets_manager_controller_sync_errors_total", "Secrets synchronization total errors.", labels=labels
            ),
            GaugeMetricFamily(
                "secrets_manager_controller_last_sync_status",
                "The result of the last sync of a secret. 1 = OK, 0 = Error",
                labels=labels,
            ),
        )

    def collect(self) -> tuple[CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]:
        """The families as they are now. Failed syncs count from 0, so that a rise shows."""
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


class ControllerMetrics:
    """The controller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue = QueueMetrics(registry, "secretdefinition")
        self.secrets = SecretMetrics(registry)
        self._definitions = Gauge(
            "secrets_manager_controller_definitions",
            "Definitions by the reason of their condition Ready, as it came of their last reconcile",
            ("reason",),
            registry=registry,
        )
        self._reconciles = Histogram(
            "secrets_manager_controller_reconcile_duration_seconds",
            "How long it took to bring one Secret to what it should be, its reads and writes included",
            buckets=SECONDS,
            registry=registry,
        )

        self._unexpected_errors = Counter(
            "secrets_manager_controller_unexpected_errors_total",
            "Reconciles and status writes that met an exception that no part promises to raise",
            registry=registry,
        )

        self._events_dropped = Counter(
            "secrets_manager_events_dropped_total",
            "Events that were not sent, for they waited too long, were too many, or were refused",
            registry=registry,
        )

        self._watch_up = Gauge(
            "secrets_manager_watch_up",
            "Whether a kind can be watched in a namespace. 1 = yes, 0 = not yet, or no longer",
            ("kind", "namespace"),
            registry=registry,
        )

    def unexpected_error(self) -> None:
        self._unexpected_errors.inc()

    def watch(self, kind: str, namespace: str, *, up: Callable[[], bool]) -> None:
        """Ask for the state of this watch whenever somebody looks."""
        self._watch_up.labels(kind, namespace).set_function(up)

    def reconciled(self, seconds: float) -> None:
        self._reconciles.observe(seconds)

    def reason(self, before: str, now: str) -> None:
        """A definition has come to another reason. Empty: it had none before, or it is gone now."""
        if before:
            self._definitions.labels(before).dec()
        if now:
            self._definitions.labels(now).inc()

    def events_dropped(self, count: int) -> None:
        self._events_dropped.inc(count)


class BackendMetrics:
    """The secret store's, whichever it is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            "secrets_manager_backend_up",
            "Whether the backend answers. 1 = yes, 0 = several reads in a row have failed",
            registry=registry,
        )
        self._concurrency = Gauge(
            "secrets_manager_backend_concurrency",
            "Requests to the backend that may be under way at a time, fewer while it is in trouble",
            registry=registry,
        )
        self._cache_hits = Counter(
            "secrets_manager_backend_cache_hits_total",
            "Reads that were answered by another one of the same path a moment before",
            registry=registry,
        )
        self._unexpected_errors = Counter(
            "secrets_manager_backend_unexpected_errors_total",
            "Reads, polls and listings that met an exception that no part promises to raise",
            ("task",),
            registry=registry,
        )
        self._up.set(1)

    def unexpected_error(self, task: str) -> None:
        self._unexpected_errors.labels(task).inc()

    def state(self, *, up: bool, concurrency: int) -> None:
        self._up.set(1 if up else 0)
        self._concurrency.set(concurrency)

    def cache_hit(self) -> None:
        self._cache_hits.inc()


class _ReadErrors:
    """A store's failed reads by path and error; the series of a path go with it, whatever other labels they bear."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._counter = Counter(name, about, (*labels, "path", "error"), registry=registry)
        self._series: dict[str, set[tuple[str, ...]]] = {}

    def count(self, labels: tuple[str, ...], path: str, error: str) -> None:
        series = (*labels, path, error)
        self._series.setdefault(path, set()).add(series)
        self._counter.labels(*series).inc()

    def forget(self, path: str) -> None:
        for series in self._series.pop(path, ()):
            self._counter.remove(*series)


class VaultMetrics:
    """Vault's: all series bear which Vault it is, as far as it has told."""

    def __init__(self, registry: CollectorRegistry, config: VaultConfig) -> None:
        self._address, self._engine = config.url, config.engine
        self._max_token_ttl_seconds = config.max_token_ttl
        self._server = ("", "", "")
        self._left = 0.0
        labels = ("vault_address", "vault_engine", "vault_version", "vault_cluster_id", "vault_cluster_name")
        self._max_token_ttl = Gauge(
            "secrets_manager_vault_max_token_ttl", "secrets-manager max Vault token TTL", labels, registry=registry
        )
        self._token_ttl = Gauge("secrets_manager_vault_token_ttl", "Vault token TTL", labels, registry=registry)
        self._renewal_errors = Counter(
            "secrets_manager_vault_token_renewal_errors_total",
            "Vault token renewal errors counter",
            (*labels, "vault_operation", "error"),
            registry=registry,
        )
        self._login_errors = Counter(
            "secrets_manager_vault_login_errors_total",
            "Vault login errors counter",
            (*labels, "error"),
            registry=registry,
        )
        self._read_errors = _ReadErrors(
            "secrets_manager_vault_read_secret_errors_total",
            "Vault read operations counter",
            labels,
            registry,
        )
        self._requests = Histogram(
            "secrets_manager_vault_request_duration_seconds",
            "Durations of the requests to Vault",
            ("operation", "status"),
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self._max_token_ttl.labels(*self._labels).set(config.max_token_ttl)

    @property
    def _labels(self) -> tuple[str, ...]:
        return (self._address, self._engine, *self._server)

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None:
        """Which Vault it is. Gauges move to the new labels; what was counted stays where it was."""
        if (version, cluster_id, cluster_name) == self._server:
            return
        self._server = (version, cluster_id, cluster_name)
        self._max_token_ttl.clear()
        self._max_token_ttl.labels(*self._labels).set(self._max_token_ttl_seconds)
        self._token_ttl.clear()
        self.token_ttl(self._left)

    def token_ttl(self, seconds: float) -> None:
        self._left = seconds
        self._token_ttl.labels(*self._labels).set(seconds)

    def renewal_error(self, operation: str, error: str) -> None:
        self._renewal_errors.labels(*self._labels, operation, error).inc()

    def login_error(self, error: str) -> None:
        self._login_errors.labels(*self._labels, error).inc()

    def request(self, operation: str, status: str, seconds: float) -> None:
        self._requests.labels(operation, status).observe(seconds)

    def read_error(self, path: str, error: str) -> None:
        self._read_errors.count(self._labels, path, error)

    def forget(self, path: str) -> None:
        """No definition uses this path any more."""
        self._read_errors.forget(path)


class AzureMetrics:
    """Key Vault's: all series bear which vault it is. The original counted the first two, and served neither."""

    def __init__(self, registry: CollectorRegistry, config: AzureConfig) -> None:
        self._labels = (config.name or urlsplit(config.url).hostname or "", config.tenant_id)
        labels = ("azure_kv_name", "azure_kv_tenant")
        self._read_errors = _ReadErrors(
            "secrets_manager_azure_kv_read_secret_errors_total",
            "AzureKV read operations counter",
            labels,
            registry,
        )
        self._login_errors = Counter(
            "secrets_manager_azure_kv_login_errors_total", "AzureKV login errors counter", labels, registry=registry
        )
        self._requests = Histogram(
            "secrets_manager_azure_kv_request_duration_seconds",
            "Durations of the requests to Key Vault, each with the login that it may have needed",
            ("operation", "status"),
            registry=registry,
        )

    def read_error(self, path: str, error: str) -> None:
        self._read_errors.count(self._labels, path, error)

    def forget(self, path: str) -> None:
        """No definition uses this path any more."""
        self._read_errors.forget(path)

    def login_error(self) -> None:
        self._login_errors.labels(*self._labels).inc()

    def request(self, operation: str, status: str, seconds: float) -> None:
        self._requests.labels(operation, status).observe(seconds)


class StoreMetrics:
    """The group of the store that is opened; families of the others are not served."""

    def __init__(self, registry: CollectorRegistry, config: Config) -> None:
        self._registry = registry
        self._config = config

    def of_vault(self) -> VaultMetrics:
        return VaultMetrics(self._registry, self._config.vault)

    def of_azure(self) -> AzureMetrics:
        return AzureMetrics(self._registry, self._config.azure)
