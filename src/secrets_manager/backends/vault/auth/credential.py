"""One thing that a login needs, and where it is each time that a login needs it.

What is in a file is read anew, since whoever rotates it writes the file and knows nothing of us. What Vault has wrapped
can be unwrapped once: by us, or by a thief, and then we can tell that somebody has been there.
"""

from typing import Protocol

import msgspec
import trio

from secrets_manager.backends.base import LoginRefused
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.replies import OK, REFUSALS, Reply, censored, decode, trouble, words

LARGEST = 64 * 1024
"""Bytes of a file; a JWT has a few thousand."""
SPENT = (
    "the wrapping token of the secret_id has expired or was used before: wrap a new one, "
    "and find out who used it if it was not this program"
)


class Credential(Protocol):
    """Its repr does not tell it."""

    async def read(self, client: VaultClient) -> str:
        """Come by it, now. Raises: BackendError."""
        ...


class Given(msgspec.Struct, frozen=True):
    """A text from a flag or the environment."""

    text: str

    def __repr__(self) -> str:
        return "Given(...)"

    async def read(self, client: VaultClient) -> str:  # noqa: ARG002 - those that are wrapped need it
        return self.text


class InFile(msgspec.Struct, frozen=True):
    """A text in a file, without the white space around it. `what` says what is missing when it is."""

    path: str
    what: str

    async def read(self, client: VaultClient) -> str:  # noqa: ARG002 - those that are wrapped need it
        try:
            async with await trio.open_file(self.path) as file:
                text = (await file.read(LARGEST + 1)).strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text or len(text) > LARGEST:
            raise LoginRefused.of_store(
                f"{self.path} can't be read, is empty or too long, so there is no login: does {self.what}?"
            )
        return text


class _Wrapped(msgspec.Struct, frozen=True):
    creation_path: str


class _Lookup(msgspec.Struct, frozen=True):
    data: _Wrapped


class _SecretId(msgspec.Struct, frozen=True):
    secret_id: str


class _Unwrapped(msgspec.Struct, frozen=True):
    data: _SecretId


class Wrapped:
    """A secret_id that Vault gave out in a wrapping token, made by the method mounted at `mount`.

    It is unwrapped once and kept in memory for the logins to come, until there is another wrapping token.
    """

    def __init__(self, token: Credential, *, mount: str) -> None:
        self._token = token
        self._mount = mount
        self._unwrapped = ("", "")

    def __repr__(self) -> str:
        return f"Wrapped({self._token})"

    async def read(self, client: VaultClient) -> str:
        token = await self._token.read(client)
        if self._unwrapped[0] != token:
            self._unwrapped = (token, await self._unwrap(client, token))
        return self._unwrapped[1]

    async def _unwrap(self, client: VaultClient, token: str) -> str:
        """Where the token is from is asked first: a thief may have put another one in its place."""
        asked = await client.request("POST", "sys/wrapping/lookup", operation="lookup-wrapping", body={"token": token})
        looked_up = decode(_taken(censored(asked, [token])), _Lookup)
        if looked_up is None or not looked_up.data.creation_path.startswith(
            f"auth/{parse_path(self._mount).url}/role/"
        ):
            raise LoginRefused.of_store(
                f"the wrapping token was not made for a secret_id of auth/{self._mount}: "
                "somebody may have exchanged it: find out who, and wrap a new secret_id"
            )
        unwrapped = decode(
            _taken(await client.request("POST", "sys/wrapping/unwrap", operation="unwrap", token=token)), _Unwrapped
        )
        if unwrapped is None:
            raise LoginRefused.of_store("the wrapping token holds no secret_id: wrap one")
        return unwrapped.data.secret_id


def _taken(reply: Reply) -> bytes:
    """The body of a reply that is not a refusal. Raises: Unavailable."""
    if reply.status in REFUSALS:
        raise LoginRefused(f"{SPENT}{words(reply)}", store=SPENT)
    if reply.status != OK:
        raise trouble(reply)
    return reply.body
