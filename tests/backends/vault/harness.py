"""A token manager or a backend on the in-memory Vault, wired as in the program."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import trio

from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import StaticCredential
from secrets_manager.backends.vault.backend import VaultBackend, open_vault
from secrets_manager.backends.vault.client import open_vault_client
from secrets_manager.backends.vault.token_manager import TokenManager
from secrets_manager.config import VaultConfig
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import Request, VaultState, VaultTransport
from tests.doubles.vault_tokens import Credentials


class Timed:
    """The times of requests, in seconds since its creation on Trio's clock."""

    def __init__(self, vault: VaultState) -> None:
        self._start = trio.current_time()
        self._seen: list[tuple[float, Request]] = []
        vault.watch = self._note

    def _note(self, request: Request) -> None:
        self._seen.append((trio.current_time() - self._start, request))

    def of(self, path: str) -> list[float]:
        return [round(time, 1) for time, request in self._seen if request.path == path]

    @property
    def logins(self) -> list[float]:
        return self.of("auth/approle/login")

    @property
    def revocations(self) -> list[float]:
        return self.of("auth/token/revoke-self")

    @property
    def lookups(self) -> list[float]:
        return self.of("auth/token/lookup-self")

    @property
    def renewals(self) -> list[float]:
        return self.of("auth/token/renew-self")


@asynccontextmanager
async def token_manager_of(
    vault: VaultState,
    credentials: Credentials,
    metrics: RecordedMetrics | None = None,
    *,
    max_token_ttl: float = 300,
    token_polling_period: float = 15,
    renew_ttl_increment: float = 600,
) -> AsyncGenerator[TokenManager]:
    config = VaultConfig(
        url=vault.url,
        max_token_ttl=max_token_ttl,
        token_polling_period=token_polling_period,
        renew_ttl_increment=renew_ttl_increment,
    )
    auth = AppRole(
        mount="approle",
        role_id=StaticCredential(credentials.role_id),
        secret_id=StaticCredential(credentials.secret_id),
    )
    metrics = metrics or RecordedMetrics()
    async with open_vault_client(config, transport=VaultTransport(vault), record=metrics.request) as client:
        yield TokenManager(client, auth, config, metrics, random=Random(0))


@asynccontextmanager
async def backend_of(
    vault: VaultState, credentials: Credentials, metrics: RecordedMetrics | None = None, *, engine: str = "kv2"
) -> AsyncGenerator[VaultBackend]:
    config = VaultConfig(url=vault.url, role_id=credentials.role_id, secret_id=credentials.secret_id, engine=engine)
    async with open_vault(config, metrics or RecordedMetrics(), transport=VaultTransport(vault)) as backend:
        yield backend


async def keep_for(token_manager: TokenManager, seconds: float) -> None:
    """Run it for so many seconds, then cancel it."""
    with trio.move_on_after(seconds):
        await token_manager.keep_valid()


async def gaps_of(token_manager: TokenManager, vault: VaultState, *, seconds: int) -> int:
    """Run it; return the number of seconds at whose end the token was invalid."""
    gaps = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(token_manager.keep_valid)
        await trio.sleep(0.25)
        for _ in range(seconds):
            await trio.sleep(1)
            gaps += token_manager._token is None or token_manager._token.secret not in vault.tokens.alive()
        nursery.cancel_scope.cancel()
    return gaps
