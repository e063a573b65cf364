"""One thing that a login needs, and where it is each time that a login needs it.

What is in a file is read anew, since whoever rotates it writes the file and knows nothing of us. What Vault has wrapped
can be unwrapped once: by us, or by a thief, and then we can tell that somebody has been there.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from secrets_manager.backends.base import LoginRefused
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.grace import finish
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.replies import OK, REFUSALS, Reply, censored, decode, trouble, words

LARGEST = 64 * 1024
"""Bytes of a file; a JWT has a few thousand."""
READ_WITHIN = 2.0
"""Seconds for a file, which is on this machine."""
UNWRAP_WITHIN = 5.0
"""Seconds that a stop may wait for what can be unwrapped only once: it would be lost."""
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


class InFile:
    """A text in a file, without the white space around it. `what` says what is missing when it is.

    A file may never end, as a pipe or a network's: the thread that reads it is left behind, and there is one at most.
    """

    def __init__(self, path: str, what: str) -> None:
        self._path = path
        self._what = what
        self._limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"InFile({self._path!r})"

    async def read(self, client: VaultClient) -> str:  # noqa: ARG002 - those that are wrapped need it
        text = ""
        with trio.move_on_after(READ_WITHIN):
            text = await trio.to_thread.run_sync(_read, self._path, abandon_on_cancel=True, limiter=self._limiter)
        if not text or len(text) > LARGEST:
            raise LoginRefused.of_store(
                f"{self._path} can't be read, is empty or too long, so there is no login: does {self._what}?"
            )
        return text


def _read(path: str) -> str:
    """Empty for what can't be read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(LARGEST + 1).strip()
    except (OSError, UnicodeDecodeError):
        return ""


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
            await self._check_origin(client, token)
            await finish(partial(self._unwrap, client, token), within=UNWRAP_WITHIN)
        return self._unwrapped[1]

    async def _check_origin(self, client: VaultClient, token: str) -> None:
        """A thief may have put another one in its place. Raises: Unavailable."""
        asked = await client.request("POST", "sys/wrapping/lookup", operation="lookup-wrapping", body={"token": token})
        looked_up = decode(_taken(censored(asked, [token])), _Lookup)
        made_by = f"auth/{parse_path(self._mount).url}/role/"
        if looked_up is None or not looked_up.data.creation_path.startswith(made_by):
            raise LoginRefused.of_store(
                f"the wrapping token was not made for a secret_id of auth/{self._mount}: "
                "somebody may have exchanged it: find out who, and wrap a new secret_id"
            )

    async def _unwrap(self, client: VaultClient, token: str) -> None:
        reply = await client.request("POST", "sys/wrapping/unwrap", operation="unwrap", token=token)
        unwrapped = decode(_taken(reply), _Unwrapped)
        if unwrapped is None:
            raise LoginRefused.of_store("the wrapping token holds no secret_id: wrap one")
        self._unwrapped = (token, unwrapped.data.secret_id)


def _taken(reply: Reply) -> bytes:
    """The body of a reply that is not a refusal. Raises: Unavailable."""
    if reply.status in REFUSALS:
        raise LoginRefused(f"{SPENT}{words(reply)}", store=SPENT)
    if reply.status != OK:
        raise trouble(reply)
    return reply.body
