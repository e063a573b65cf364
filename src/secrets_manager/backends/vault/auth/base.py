"""What every way to log in shares: the request, and how a refusal is told."""

from collections.abc import Mapping
from typing import Protocol

import trio

from secrets_manager.backends.base import LoginRefused
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.replies import OK, REFUSALS, censored, trouble, words
from secrets_manager.backends.vault.token import Token, token_of


class AuthMethod(Protocol):
    """A way to come by a token."""

    @property
    def name(self) -> str:
        """Of the method, as the flag has it."""
        ...

    async def login(self, client: VaultClient) -> Token:
        """Log in, once, now. Raises: BackendError."""
        ...


async def log_in(
    client: VaultClient, mount: str, *, body: Mapping[str, str], secrets: tuple[str, ...], refused: str
) -> Token:
    """Post the credentials to the method mounted there. `refused` is the text for when Vault does not take them.

    Raises: BackendError, whose text holds none of the secrets.
    """
    path, asked_at = f"auth/{parse_path(mount).url}/login", trio.current_time()
    reply = censored(await client.request("POST", path, operation="login", body=body), secrets)
    if reply.status in REFUSALS:
        raise LoginRefused(f"{refused}{words(reply)}", store=refused)
    if reply.status != OK:
        raise trouble(reply)
    token = token_of(reply.body, asked_at=asked_at)
    if token is None:
        raise LoginRefused.of_store(
            "the answer to the login holds no token: does vault.url name a Vault, and one without MFA?"
        )
    return token
