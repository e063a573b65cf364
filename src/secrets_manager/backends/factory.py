"""Open the backend that the configuration names.

Azure's SDK is imported only if it is used: that takes 0.2 s and 16 MB, on top of 46 MB for the rest.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from secrets_manager.backends.base import Backend
from secrets_manager.backends.vault.address import parse_address
from secrets_manager.backends.vault.auth.factory import login_of
from secrets_manager.backends.vault.backend import VaultMetrics, open_vault
from secrets_manager.config import Config
from secrets_manager.errors import UsageError

if TYPE_CHECKING:
    from secrets_manager.backends.azure.backend import AzureMetrics


class MetricsFactory(Protocol):
    """Creates the metrics of the backend that is opened."""

    def vault(self) -> VaultMetrics: ...

    def azure(self) -> "AzureMetrics": ...


@asynccontextmanager
async def open_backend(config: Config, metrics: MetricsFactory) -> AsyncGenerator[Backend]:
    """Open the backend, without any request yet.

    Raises:
        UsageError: it is unknown, or its configuration can't work.
    """
    match config.backend:
        case "vault":
            async with open_vault(config.vault, metrics.vault()) as backend:
                yield backend
        case "azure-kv":
            from secrets_manager.backends.azure.backend import open_azure  # noqa: PLC0415 - takes time and memory

            async with open_azure(config.azure, metrics.azure()) as backend:
                yield backend
        case unknown:
            raise UsageError(f"backend {unknown!r} is unknown: use vault or azure-kv")


def identity(config: Config) -> str:
    """Describe the store and the login to it. Makes no request.

    Raises:
        UsageError: the configuration can't work.
    """
    if config.backend == "azure-kv":
        from secrets_manager.backends.azure.client import identity_of  # noqa: PLC0415 - takes time and memory

        return identity_of(config.azure)
    vault = config.vault
    namespace = f", namespace {vault.namespace}" if vault.namespace else ""
    return f"Vault at {parse_address(vault.url)}{namespace}, as {login_of(vault)}"
