"""Create the metrics of the secret store in use. Those of the others are not served."""

from prometheus_client import CollectorRegistry

from secrets_manager.config import Config
from secrets_manager.metrics.azure import AzureMetrics
from secrets_manager.metrics.vault import VaultMetrics


class BackendMetricsFactory:
    """Creates the metrics of a secret store on the registry."""

    def __init__(self, registry: CollectorRegistry, config: Config) -> None:
        self._registry = registry
        self._config = config

    def vault(self) -> VaultMetrics:
        """Create those of Vault."""
        return VaultMetrics(self._registry, self._config.vault, per_object=self._config.metrics_per_object)

    def azure(self) -> AzureMetrics:
        """Create those of Key Vault."""
        return AzureMetrics(self._registry, self._config.azure, per_object=self._config.metrics_per_object)
