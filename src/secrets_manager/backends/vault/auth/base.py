"""What all auth methods share: the login request, and the error if Vault refuses it."""

from collections.abc import Mapping
from typing import Protocol

import trio

from secrets_manager.backends.base import LoginRefused
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import (
    OK,
    Response,
    details,
    is_refusal,
    lacks_namespace,
    redacted,
    unavailable,
)
from secrets_manager.backends.vault.token import Token, parse_token

NO_NAMESPACE = "Vault has no such namespace: correct vault.namespace"


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


def login_refused(response: Response, problem: str) -> LoginRefused:
    """Return the error for a login, or a part of it, that Vault refuses."""
    text = NO_NAMESPACE if lacks_namespace(response) else problem
    return LoginRefused(f"{text}{details(response)}", store=text)


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
