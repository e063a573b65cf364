"""Metrics of Azure Key Vault."""

from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram

from secrets_manager.config import AzureConfig
from secrets_manager.metrics.read_errors import ReadErrors


class AzureMetrics:
    """Metrics of Key Vault. The Go original has the two counters, but does not serve them."""

    def __init__(self, registry: CollectorRegistry, config: AzureConfig, *, per_object: bool = True) -> None:
        self._labels = (config.name or urlsplit(config.url).hostname or "", config.tenant_id)
        labels = ("azure_kv_name", "azure_kv_tenant")
        self._read_errors = ReadErrors(
            "secrets_manager_azure_kv_read_secret_errors_total",
            "Total number of failed reads of a secret in Key Vault",
            labels,
            registry,
            per_path=per_object,
        )
        self._login_errors = Counter(
            "secrets_manager_azure_kv_login_errors_total",
            "Total number of failed logins to Azure",
            labels,
            registry=registry,
        )
        self._requests = Histogram(
            "secrets_manager_azure_kv_request_duration_seconds",
            "Duration of requests to Key Vault in seconds, logins included",
            ("operation", "status"),
            registry=registry,
        )

    def read_error(self, path: str, error: str) -> None:
        """Record a failed read."""
        self._read_errors.count(self._labels, path, error)

    def forget(self, path: str) -> None:
        """Remove the series of a path."""
        self._read_errors.forget(path)

    def login_error(self) -> None:
        """Record a failed login."""
        self._login_errors.labels(*self._labels).inc()

    def request(self, operation: str, status: str, seconds: float) -> None:
        """Record a request."""
        self._requests.labels(operation, status).observe(seconds)
