"""Key Vault as a Backend: a path is the name of a secret, which has one value, whatever the key."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from secrets_manager.backends.azure import names
from secrets_manager.backends.azure.client import ClientMetrics, KeyVaultClient, open_client
from secrets_manager.backends.base import BackendError, Document, Folder, Place, Source, SourceMalformed
from secrets_manager.config import AzureConfig


class AzureMetrics(ClientMetrics, Protocol):
    """Metrics of Key Vault. `error` is the name of the error's class."""

    def read_error(self, path: str, error: str) -> None: ...

    def forget(self, path: str) -> None:
        """Remove all series of this path."""


class AzureBackend:
    """An Azure Key Vault."""

    def __init__(self, client: KeyVaultClient, metrics: AzureMetrics) -> None:
        self._client = client
        self._metrics = metrics

    def __repr__(self) -> str:
        return f"AzureBackend({self._client})"

    async def read(self, source: Source) -> Document:
        """Read one secret.

        Raises:
            BackendError: the read failed. Nothing else is raised.
        """
        try:
            names.check(source)
            return await self._client.get_secret(source)
        except BackendError as error:
            self._metrics.read_error(source.path, type(error).__name__)
            raise

    def segments(self, path: str) -> tuple[str, ...]:
        """Return the path, which is one name.

        Raises:
            SourceMalformed: it is not valid.
        """
        return names.segments(path)

    def place(self, source: Source) -> Place | None:
        """Return the name in the one folder; None for a fixed version, which does not change."""
        if source.version is not None:
            return None
        try:
            (name,) = names.segments(source.path)
        except SourceMalformed:
            return None
        return Place(Folder("", source.identity), name.lower())

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """List the vault.

        Raises:
            NotListable: it can't be listed.
            Unavailable: a retry can help.
        """
        assert not folder.path, "a Key Vault has no folders"
        return await self._client.markers()

    @property
    def login(self) -> None:
        """The SDK keeps its token to itself."""
        return

    def forget(self, path: str) -> None:
        """Remove the metrics of the path."""
        self._metrics.forget(path)

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the CA bundle fresh. The SDK renews the token at a read."""
        task_status.started()
        await self._client.maintain()


@asynccontextmanager
async def open_azure(config: AzureConfig, metrics: AzureMetrics) -> AsyncGenerator[AzureBackend]:
    """Open Key Vault, without any request yet.

    Raises:
        UsageError: the configuration can't work.
    """
    async with open_client(config, metrics) as client:
        yield AzureBackend(client, metrics)
