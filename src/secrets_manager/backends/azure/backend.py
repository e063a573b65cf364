"""Key Vault as a Backend: a path is the name of a secret, which is one value, whatever key is asked for."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio

from secrets_manager.backends.azure import names
from secrets_manager.backends.azure.client import ClientMetrics, KeyVaultClient, open_client
from secrets_manager.backends.base import BackendError, Document, Folder, Place, Source, SourceMalformed, Unavailable
from secrets_manager.config import AzureConfig

T = TypeVar("T")


class AzureMetrics(ClientMetrics, Protocol):
    """What is counted of Key Vault. `error` is a word of a small vocabulary: the name of the error's class."""

    def read_error(self, path: str, error: str) -> None: ...

    def forget(self, path: str) -> None:
        """End all series of this path."""


class AzureBackend:
    """The secret store that is an Azure Key Vault."""

    def __init__(self, client: KeyVaultClient, metrics: AzureMetrics) -> None:
        self._client = client
        self._metrics = metrics
        self._closed_until = float("-inf")
        self._closed = Unavailable("")

    def __repr__(self) -> str:
        return f"AzureBackend({self._client})"

    async def read(self, source: Source) -> Document:
        """Read one secret. Raises: BackendError, and nothing else."""
        try:
            names.check(source)
            self._check_open()
            return await self._noted(self._client.secret(source))
        except BackendError as error:
            self._metrics.read_error(source.path, type(error).__name__)
            raise

    def segments(self, path: str) -> tuple[str, ...]:
        """The path taken apart, which is one name. Raises: SourceMalformed."""
        return names.segments(path)

    def place(self, source: Source) -> Place | None:
        """All secrets of a vault are in one folder. A version stays what it is, so there is nothing to find."""
        if source.version is not None:
            return None
        try:
            (name,) = names.segments(source.path)
        except SourceMalformed:
            return None
        return Place(Folder("", source.identity), name.lower())

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """List the vault. Raises: NotListable, Unavailable."""
        assert not folder.path, "a Key Vault has no folders"
        self._check_open()
        return await self._noted(self._client.markers())

    def forget(self, path: str) -> None:
        """End the series of the path."""
        self._metrics.forget(path)

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing: the SDK has a new token before the old one ends, when it is asked to read."""
        task_status.started()
        await trio.sleep_forever()

    def _check_open(self) -> None:
        """Raises: Unavailable, while the vault has asked to be left alone."""
        left = self._closed_until - trio.current_time()
        if left > 0:
            raise type(self._closed).of_store(self._closed.for_others().store, retry_after=left)

    async def _noted(self, request: Awaitable[T]) -> T:
        try:
            return await request
        except Unavailable as error:
            if error.retry_after is not None:
                self._closed, self._closed_until = error.copy(), trio.current_time() + error.retry_after
            raise


@asynccontextmanager
async def open_azure(config: AzureConfig, metrics: AzureMetrics) -> AsyncIterator[AzureBackend]:
    """Key Vault, ready to be read; nothing is asked of it yet.

    Raises: UsageError for a configuration that can't work.
    """
    async with open_client(config, metrics) as client:
        yield AzureBackend(client, metrics)
