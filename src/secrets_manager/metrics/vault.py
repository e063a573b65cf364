"""Metrics of Vault."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from secrets_manager.config import VaultConfig
from secrets_manager.metrics import buckets
from secrets_manager.metrics.read_errors import ReadErrors
from secrets_manager.net.hosts import without_login


class VaultMetrics:
    """Metrics of Vault. The labels of the server are empty until it has sent its version and cluster.

    The label vault_address is the flag vault.url, without a user and password.
    """

    def __init__(self, registry: CollectorRegistry, config: VaultConfig, *, per_object: bool = True) -> None:
        self._address, self._engine = without_login(config.url), config.engine
        self._max_token_ttl_seconds = config.max_token_ttl
        self._server = ("", "", "")
        self._remaining_ttl: Callable[[], float] = lambda: 0.0
        labels = ("vault_address", "vault_engine", "vault_version", "vault_cluster_id", "vault_cluster_name")
        self._max_token_ttl = Gauge(
            "secrets_manager_vault_max_token_ttl",
            "The flag vault.max-token-ttl: the token is renewed when fewer seconds of its TTL remain, at the latest",
            labels,
            registry=registry,
        )
        self._token_ttl = Gauge(
            "secrets_manager_vault_token_ttl",
            "Seconds that remain of the TTL of the Vault token. 0 = there is no token",
            labels,
            registry=registry,
        )
        self._renewal_errors = Counter(
            "secrets_manager_vault_token_renewal_errors_total",
            "Total number of failed lookups and renewals of the Vault token",
            (*labels, "vault_operation", "error"),
            registry=registry,
        )
        self._login_errors = Counter(
            "secrets_manager_vault_login_errors_total",
            "Total number of failed logins to Vault",
            (*labels, "error"),
            registry=registry,
        )
        self._read_errors = ReadErrors(
            "secrets_manager_vault_read_secret_errors_total",
            "Total number of failed reads of a path in Vault",
            labels,
            registry,
            per_path=per_object,
        )
        self._requests = Histogram(
            "secrets_manager_vault_request_duration_seconds",
            "Duration of requests to Vault in seconds",
            ("operation", "status"),
            buckets=buckets.REQUESTS,
            registry=registry,
        )
        self._max_token_ttl.labels(*self._labels).set(config.max_token_ttl)

    @property
    def _labels(self) -> tuple[str, ...]:
        return (self._address, self._engine, *self._server)

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None:
        """Set the labels of the server. Gauges move to them; counters keep their old series."""
        if (version, cluster_id, cluster_name) == self._server:
            return
        self._server = (version, cluster_id, cluster_name)
        self._max_token_ttl.clear()
        self._max_token_ttl.labels(*self._labels).set(self._max_token_ttl_seconds)
        self._token_ttl.clear()
        self.follow_token(self._remaining_ttl)

    def follow_token(self, ttl: Callable[[], float]) -> None:
        """Call `ttl` at each scrape: the seconds that remain of the TTL of the token."""
        self._remaining_ttl = ttl
        self._token_ttl.labels(*self._labels).set_function(ttl)

    def renewal_error(self, operation: str, error: str) -> None:
        """Record a failed lookup or renewal of the token."""
        self._renewal_errors.labels(*self._labels, operation, error).inc()

    def login_error(self, error: str) -> None:
        """Record a failed login."""
        self._login_errors.labels(*self._labels, error).inc()

    def request(self, operation: str, status: str, seconds: float) -> None:
        """Record a request."""
        self._requests.labels(operation, status).observe(seconds)

    def read_error(self, path: str, error: str) -> None:
        """Record a failed read."""
        self._read_errors.count(self._labels, path, error)

    def forget(self, path: str) -> None:
        """Remove the series of a path."""
        self._read_errors.forget(path)
