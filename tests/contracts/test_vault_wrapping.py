"""A wrapped secret_id: the same cases against the double and a real OpenBao."""

from pathlib import Path

import pytest

from secrets_manager.backends import LoginRefused
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import FileCredential, StaticCredential, WrappedSecretId
from tests.contracts.vault import Vault, client_of

WRAPPING_EXPIRED = (
    "the wrapping token of the secret_id has expired or was already used: wrap a new secret_id, "
    "and find out who used it if it was not this program (wrapping token is not valid or does not exist)"
)


class Wrapping:
    """A role whose secret_ids come wrapped, in a file."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        self._vault = vault
        self._name = vault.fresh("role")
        self._role_id = vault.approle(self._name).role_id
        self.file = folder / "wrapping-token"

    def write(self) -> str:
        token = self._vault.wrapped_secret_id(self._name)
        self.file.write_text(f"{token}\n")
        return token

    def method(self) -> AppRole:
        """As a new process has it."""
        wrapped = WrappedSecretId(FileCredential(str(self.file), "is it mounted?"), mount="approle")
        return AppRole(mount="approle", role_id=StaticCredential(self._role_id), secret_id=wrapped)


@pytest.fixture
def wrapping(vault: Vault, tmp_path: Path) -> Wrapping:
    return Wrapping(vault, tmp_path)


async def test_secret_id_is_unwrapped_once_and_serves_every_login(vault: Vault, wrapping: Wrapping) -> None:
    wrapping.write()
    method = wrapping.method()

    async with client_of(vault) as client:
        tokens = {(await method.login(client)).secret for _ in range(3)}

    assert len(tokens) == 3


@pytest.mark.parametrize("left", ["no file", "an empty one"])
async def test_secret_id_that_was_unwrapped_outlives_the_file_of_its_token(
    left: str, vault: Vault, wrapping: Wrapping
) -> None:
    wrapping.write()
    method = wrapping.method()

    async with client_of(vault) as client:
        first = await method.login(client)
        wrapping.file.unlink() if left == "no file" else wrapping.file.write_text("")
        second = await method.login(client)

    assert first.secret != second.secret


async def test_new_wrapping_token_is_unwrapped_at_the_next_login(vault: Vault, wrapping: Wrapping) -> None:
    method = wrapping.method()

    async with client_of(vault) as client:
        for _ in range(2):
            wrapping.write()
            await method.login(client)


async def test_wrapping_token_that_was_already_used(vault: Vault, wrapping: Wrapping) -> None:
    token = wrapping.write()

    async with client_of(vault) as client:
        await wrapping.method().login(client)
        with pytest.raises(LoginRefused) as caught:
            await wrapping.method().login(client)

    assert str(caught.value) == WRAPPING_EXPIRED
    assert token not in str(caught.value)


async def test_wrapping_token_of_something_else_is_not_unwrapped(vault: Vault, wrapping: Wrapping) -> None:
    token = vault.wrapped_wrongly()
    wrapping.file.write_text(token)

    async with client_of(vault) as client:
        with pytest.raises(LoginRefused) as caught:
            await wrapping.method().login(client)
        left = await client.request("POST", "sys/wrapping/lookup", body={"token": token})

    assert str(caught.value) == (
        "the wrapping token was not created for a secret_id of auth/approle: "
        "it may have been replaced: find out by whom, and wrap a new secret_id"
    )
    assert left.status == 200
