"""What all auth methods share: the login request, and the error if Vault refuses it."""

from collections.abc import Mapping
from typing import Protocol

import trio

from secrets_manager.backends.base import LoginRefused
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import OK, is_refusal, login_refused, redacted, unavailable
from secrets_manager.backends.vault.token import Token, parse_token


class AuthMethod(Protocol):
    """An auth method of Vault."""

    @property
    def name(self) -> str:
        """The name, as in the flag vault.auth-method."""
        ...

    async def login(self, client: VaultClient) -> Token:
        """Log in once.

        Raises:
            BackendError: it failed.
        """
        ...


async def post_login(
    client: VaultClient, mount: str, *, body: Mapping[str, str], secrets: tuple[str, ...], refused: str
) -> Token:
    """Send the credentials to the auth method mounted there. `refused` is the message if Vault does not accept them.

    Raises:
        BackendError: it failed. The message contains none of the secrets.
    """
    path, sent_at = f"auth/{parse_path(mount).url}/login", trio.current_time()
    response = redacted(await client.request("POST", path, operation="login", body=body), secrets)
    if is_refusal(response):
        raise login_refused(response, refused)
    if response.status != OK:
        raise unavailable(response)
    token = parse_token(response.body, sent_at=sent_at)
    if token is None:
        raise LoginRefused.of_store(
            "the response to the login has no token: does vault.url name a Vault, and one without MFA?"
        )
    return token
