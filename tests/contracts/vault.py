"""The interface of contract tests to a Vault, for the double and a real server."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Protocol

from fake_kubernetes.documents import Object
from secrets_manager.backends.vault.backend import VaultBackend, open_vault
from secrets_manager.backends.vault.client import VaultClient, open_vault_client
from secrets_manager.config import VaultConfig
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import VaultState, VaultTransport
from tests.doubles.vault_tokens import Credentials

UNUSED_CREDENTIALS = Credentials("role", "secret")


class Vault(Protocol):
    """Paths are full ones, as definitions have them."""

    @property
    def url(self) -> str: ...

    def fresh(self, prefix: str = "test") -> str: ...

    def mount_kv1(self, name: str) -> None: ...

    def write_kv(self, path: str, data: Object | None) -> None: ...

    def delete_kv(self, path: str) -> None: ...

    def undelete_kv(self, path: str) -> None: ...

    def delete_later(self, path: str) -> None: ...

    def destroy_kv(self, path: str) -> None: ...

    def forget_kv(self, path: str) -> None: ...

    def policy(self, name: str, *paths: str) -> None: ...

    def approle(
        self,
        name: str,
        *,
        policies: tuple[str, ...] = (),
        token_ttl: int = 3600,
        token_max_ttl: int = 0,
        token_period: int = 0,
        token_num_uses: int = 0,
        token_type: str = "service",
        default_policy: bool = True,
    ) -> Credentials: ...

    def reader(self, *paths: str) -> Credentials: ...

    def wrapped_secret_id(self, name: str) -> str: ...

    def limited_secret_id(self, name: str, *, uses: int = 0, ttl: int = 0) -> str: ...

    def wrapped_wrongly(self) -> str: ...

    def change_policies(self, name: str, *policies: str) -> None: ...

    def revoke_token(self, secret: str) -> None: ...

    def sealed(self) -> AbstractContextManager[None]: ...

    def count(self, method: str, path: str) -> int: ...


def config_for(vault: Vault, credentials: Credentials, *, engine: str = "kv2") -> VaultConfig:
    return VaultConfig(
        url=vault.url, engine=engine, role_id=credentials.role_id, secret_id=credentials.secret_id, timeout=5
    )


def transport_to(vault: Vault) -> VaultTransport | None:
    """None for the network."""
    return VaultTransport(vault) if isinstance(vault, VaultState) else None


@asynccontextmanager
async def client_of(vault: Vault) -> AsyncGenerator[VaultClient]:
    async with open_vault_client(config_for(vault, UNUSED_CREDENTIALS), transport=transport_to(vault)) as client:
        yield client


@asynccontextmanager
async def backend_of(vault: Vault, credentials: Credentials, *, engine: str = "kv2") -> AsyncGenerator[VaultBackend]:
    config = config_for(vault, credentials, engine=engine)
    async with open_vault(config, RecordedMetrics(), transport=transport_to(vault)) as backend:
        yield backend
