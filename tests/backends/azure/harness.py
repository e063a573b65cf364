"""A backend on the in-memory Key Vault, as the process opens it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event

import msgspec
import pytest

from secrets_manager.backends.azure.backend import AzureBackend, open_azure
from secrets_manager.backends.base import BackendError, Source
from secrets_manager.config import AzureConfig
from tests.doubles.key_vault import Fault, KeyVaultState, Request, Response


@dataclass
class RecordedMetrics:
    """Stands for Azure's group of the process's metrics."""

    read_errors: list[tuple[str, str]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    login_errors: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)

    def read_error(self, path: str, error: str) -> None:
        self.read_errors.append((path, error))

    def forget(self, path: str) -> None:
        self.forgotten.append(path)

    def login_error(self) -> None:
        self.login_errors += 1

    def request(self, operation: str, status: str, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((operation, status))


@asynccontextmanager
async def backend_of(
    vault: KeyVaultState, metrics: RecordedMetrics | None = None, config: AzureConfig | None = None
) -> AsyncGenerator[AzureBackend]:
    """Logged in as the machine's own identity by default."""
    here = msgspec.structs.replace(config or vault.config, url=vault.url, verify_challenge_resource=False)
    async with open_azure(here, metrics or RecordedMetrics()) as backend:
        yield backend


async def error_of(vault: KeyVaultState, source: Source, config: AzureConfig | None = None) -> BackendError:
    """Why this can't be read."""
    async with backend_of(vault, config=config) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.read(source)
    return caught.value


def answering(response: Response) -> Fault:
    """A fault of every request that bears a token."""

    def answer(request: Request) -> Response | None:
        return response if request.token else None

    return answer


def waiting_for(released: Event) -> Fault:
    """A fault of every request: it is answered once this is set."""

    def wait(request: Request) -> None:
        released.wait(timeout=20)

    return wait
