"""The one place that knows every secret store by its name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from secrets_manager.backends.base import Backend
from secrets_manager.backends.vault.backend import VaultMetrics, open_vault
from secrets_manager.config import Config
from secrets_manager.errors import UsageError


@asynccontextmanager
async def open_backend(config: Config, metrics: VaultMetrics) -> AsyncIterator[Backend]:
    """The secret store that the configuration names, ready to be read; nothing is asked of it yet.

    Raises: UsageError for one that is unknown, or whose configuration can't work.
    """
    match config.backend:
        case "vault":
            async with open_vault(config.vault, metrics) as backend:
                yield backend
        case "azure-kv":
            raise UsageError("backend azure-kv is not in this version yet: use vault")
        case unknown:
            raise UsageError(f"backend {unknown!r} is unknown: it is vault or azure-kv")
