"""The credentials of a login: static, in a file, or in a wrapping token.

A file is read at each login, so that a rotated credential is picked up. A wrapping token can be unwrapped only once: if
that fails, someone else may have done it.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import trio

from secrets_manager.backends.base import LoginRefused
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import (
    OK,
    Response,
    decode,
    is_refusal,
    login_refused,
    redacted,
    unavailable,
)
from secrets_manager.backends.vault.shielding import run_shielded

MAX_FILE_SIZE = 64 * 1024
"""Characters; a JWT has a few thousand."""
FILE_TIMEOUT = 2.0
"""Seconds to read a file."""
UNWRAP_GRACE = 5.0
"""Seconds that a cancelled task waits for the response to an unwrap: the secret_id would be lost."""
WRAPPING_EXPIRED = (
    "the wrapping token of the secret_id has expired or was already used: wrap a new secret_id, "
    "and find out who used it if it was not this program"
)


class Credential(Protocol):
    """A credential. Its repr does not show it."""

    async def read(self, client: VaultClient) -> str:
        """Return its current value.

        Raises:
            BackendError: it can't be had.
        """
        ...


class StaticCredential(msgspec.Struct, frozen=True):
    """A credential from a flag or the environment."""

    text: str

    def __repr__(self) -> str:
        return "StaticCredential(...)"

    async def read(self, client: VaultClient) -> str:  # noqa: ARG002 - those that are wrapped need it
        return self.text


class FileCredential:
    """A credential in a file, stripped of white space. `hint` ends the message if it can't be read.

    Reading a pipe or a file of a network may block forever: its thread is abandoned. There is one thread at most.
    """

    def __init__(self, path: str, hint: str) -> None:
        self._path = path
        self._hint = hint
        self._limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"FileCredential({self._path!r})"

    async def read(self, client: VaultClient) -> str:  # noqa: ARG002 - those that are wrapped need it
        text = ""
        with trio.move_on_after(FILE_TIMEOUT):
            text = await trio.to_thread.run_sync(_read, self._path, abandon_on_cancel=True, limiter=self._limiter)
        if not text or len(text) > MAX_FILE_SIZE:
            raise LoginRefused.of_store(
                f"{self._path} can't be read, is empty or too long, so there is no login: {self._hint}"
            )
        return text


def _read(path: str) -> str:
    """Return the text; empty if it can't be read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MAX_FILE_SIZE + 1).strip()
    except (OSError, UnicodeDecodeError):
        return ""


class _Wrapped(msgspec.Struct, frozen=True):
    creation_path: str


class _Lookup(msgspec.Struct, frozen=True):
    data: _Wrapped


class _SecretId(msgspec.Struct, frozen=True):
    secret_id: str


class _UnwrapResponse(msgspec.Struct, frozen=True):
    data: _SecretId


class _Unwrapped(NamedTuple):
    token: str
    secret_id: str

    def __repr__(self) -> str:
        return "_Unwrapped(...)"


NOTHING = _Unwrapped("", "")


class WrappedSecretId:
    """A response-wrapped secret_id of the AppRole method mounted at `mount`.

    It is unwrapped once and kept in memory for later logins, until there is another wrapping token.
    """

    def __init__(self, token: Credential, *, mount: str) -> None:
        self._token = token
        self._mount = mount
        self._unwrapped = NOTHING

    def __repr__(self) -> str:
        return f"WrappedSecretId({self._token})"

    async def read(self, client: VaultClient) -> str:
        try:
            token = await self._token.read(client)
        except LoginRefused:
            if self._unwrapped == NOTHING:
                raise
            token = self._unwrapped.token  # the file of a wrapping token may go once it was used
        if self._unwrapped.token != token:
            await self._check_origin(client, token)
            await run_shielded(partial(self._unwrap, client, token), grace=UNWRAP_GRACE)
        return self._unwrapped.secret_id

    async def check(self, client: VaultClient) -> None:
        """Check that the token can be unwrapped, without doing so.

        Raises:
            BackendError: it can't be, or it is not known.
        """
        await self._check_origin(client, await self._token.read(client))

    async def _check_origin(self, client: VaultClient, token: str) -> None:
        """Check the token's creation path: an attacker may have replaced the token.

        Raises:
            Unavailable: it is another path, or the lookup failed.
        """
        response = await client.request(
            "POST", "sys/wrapping/lookup", operation="lookup-wrapping", body={"token": token}
        )
        lookup = decode(_body(redacted(response, [token])), _Lookup)
        expected = f"auth/{parse_path(self._mount).url}/role/"
        if lookup is None or not lookup.data.creation_path.startswith(expected):
            raise LoginRefused.of_store(
                f"the wrapping token was not created for a secret_id of auth/{self._mount}: "
                "it may have been replaced: find out by whom, and wrap a new secret_id"
            )

    async def _unwrap(self, client: VaultClient, token: str) -> None:
        response = await client.request("POST", "sys/wrapping/unwrap", operation="unwrap", token=token)
        unwrapped = decode(_body(response), _UnwrapResponse)
        if unwrapped is None:
            raise LoginRefused.of_store("the wrapping token contains no secret_id: wrap one")
        self._unwrapped = _Unwrapped(token, unwrapped.data.secret_id)


def _body(response: Response) -> bytes:
    """Return the body of a 200.

    Raises:
        Unavailable: it is another status.
    """
    if is_refusal(response):
        raise login_refused(response, WRAPPING_EXPIRED)
    if response.status != OK:
        raise unavailable(response)
    return response.body
