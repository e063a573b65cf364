"""Auth methods. The responses of a real server are in tests/contracts/test_vault.py."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from secrets_manager.backends.base import LoginRefused, SourceMalformed, Unavailable
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import (
    MAX_FILE_SIZE,
    Credential,
    FileCredential,
    StaticCredential,
    WrappedSecretId,
)
from secrets_manager.backends.vault.auth.kubernetes import Kubernetes
from secrets_manager.backends.vault.client import VaultClient, open_vault_client
from secrets_manager.config import VaultConfig
from tests.doubles.vault import Request, Response, VaultState, VaultTransport

APPROLE = AppRole(mount="approle", role_id=StaticCredential("canary-role"), secret_id=StaticCredential("canary-secret"))


def approle(secret_id: Credential, *, mount: str = "approle") -> AppRole:
    return AppRole(mount=mount, role_id=StaticCredential("canary-role"), secret_id=secret_id)


def kubernetes(jwt_file: Path) -> Kubernetes:
    return Kubernetes(
        mount="kubernetes", role="app", jwt=FileCredential(str(jwt_file), "does the pod mount its token?")
    )


@asynccontextmanager
async def client_of(vault: VaultState) -> AsyncGenerator[VaultClient]:
    async with open_vault_client(VaultConfig(url=vault.url), transport=VaultTransport(vault)) as client:
        yield client


async def test_jwt_is_read_at_each_login(tmp_path: Path) -> None:
    vault, jwt_file = VaultState(), tmp_path / "token"
    vault.kubernetes_role("app")

    async with client_of(vault) as client:
        for jwt in ("first", "second"):
            jwt_file.write_text(f"{jwt}\n")
            vault.accept_jwt(jwt)
            await kubernetes(jwt_file).login(client)

    assert [request.body for request in vault.requests] == [
        {"role": "app", "jwt": "first"},
        {"role": "app", "jwt": "second"},
    ]


async def test_secret_id_is_read_at_each_login(tmp_path: Path) -> None:
    vault, file = VaultState(), tmp_path / "secret-id"
    rotated = approle(FileCredential(str(file), "is it mounted?"))

    async with client_of(vault) as client:
        for secret_id in ("first", "second"):
            file.write_text(f"  {secret_id}\n")
            with pytest.raises(LoginRefused):
                await rotated.login(client)

    assert [request.body["secret_id"] for request in vault.requests] == ["first", "second"]


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff", b"x" * (MAX_FILE_SIZE + 1)])
async def test_file_without_what_a_login_needs(tmp_path: Path, content: bytes | None) -> None:
    vault, file = VaultState(), tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    async with client_of(vault) as client:
        with pytest.raises(LoginRefused) as caught:
            await kubernetes(file).login(client)

    assert str(caught.value) == (
        f"{file} can't be read, is empty or too long, so there is no login: does the pod mount its token?"
    )
    assert vault.requests == []


async def test_mount_of_several_segments() -> None:
    vault = VaultState()

    async with client_of(vault) as client:
        with pytest.raises(Unavailable):
            await approle(StaticCredential("canary-secret"), mount="team/a b").login(client)

    assert [request.path for request in vault.requests] == ["auth/team/a b/login"]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"auth":{"client_token":"","lease_duration":0,"renewable":false}}', b"<html>canary</html>"]
)
async def test_answer_without_a_token(body: bytes) -> None:
    def answer(request: Request) -> Response:
        return Response(200, body)

    vault = VaultState()
    vault.fault = answer
    async with client_of(vault) as client:
        with pytest.raises(Unavailable) as caught:
            await APPROLE.login(client)

    assert str(caught.value) == (
        "the response to the login has no token: does vault.url name a Vault, and one without MFA?"
    )


@pytest.mark.parametrize("status", [400, 403, 500, 503])
async def test_credentials_in_vaults_errors_are_redacted(status: int) -> None:
    def repeat(request: Request) -> Response:
        return Response(status, b'{"errors":["no canary-secret for canary-role"]}')

    vault = VaultState()
    vault.fault = repeat
    async with client_of(vault) as client:
        with pytest.raises(Unavailable) as caught:
            await APPROLE.login(client)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 404, 405])
@pytest.mark.parametrize("body", [b"Client sent an HTTP request to an HTTPS server.", b"", b"[]", b"{}"])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_refusal_of_something_else_than_a_vault_blames_no_credentials(
    status: int, body: bytes, *, wrapped: bool
) -> None:
    vault = VaultState()
    vault.fault = lambda _: Response(status, body)
    secret_id: Credential = StaticCredential("canary-secret")
    if wrapped:
        secret_id = WrappedSecretId(secret_id, mount="approle")
    async with client_of(vault) as client:
        with pytest.raises(Unavailable) as caught:
            await approle(secret_id).login(client)

    assert type(caught.value) is Unavailable
    assert str(caught.value) == (
        f"Vault returned the unexpected status {status}: does vault.url name a Vault, with its scheme and port?"
    )


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_login_in_a_namespace_that_does_not_exist_names_the_setting(*, wrapped: bool) -> None:
    vault = VaultState()
    vault.fault = lambda _: Response(404, b'{"errors":["namespace not found"]}')
    secret_id: Credential = StaticCredential("canary-secret")
    if wrapped:
        secret_id = WrappedSecretId(secret_id, mount="approle")
    async with client_of(vault) as client:
        with pytest.raises(LoginRefused, match=r"Vault has no such namespace: correct vault\.namespace"):
            await approle(secret_id).login(client)


async def test_mount_that_can_not_be() -> None:
    async with client_of(VaultState()) as client:
        with pytest.raises(SourceMalformed):
            await approle(StaticCredential("canary-secret"), mount="../sys").login(client)


def test_repr_shows_no_credentials(tmp_path: Path) -> None:
    wrapped = WrappedSecretId(StaticCredential("canary-wrapping"), mount="approle")

    assert repr(APPROLE) == "AppRole('approle')"
    assert repr(kubernetes(tmp_path)) == "Kubernetes('kubernetes', 'app')"
    assert (repr(StaticCredential("canary")), repr(wrapped)) == (
        "StaticCredential(...)",
        "WrappedSecretId(StaticCredential(...))",
    )
