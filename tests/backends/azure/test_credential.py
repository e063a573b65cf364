"""All credentials, against endpoints that check their requests."""

import logging
from pathlib import Path
from random import Random
from threading import Event
from typing import Self

import msgspec
import pytest
import trio
from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.pipeline.transport import RequestsTransport

from secrets_manager.backends.azure.backend import open_azure
from secrets_manager.backends.azure.credential import Credential, CredentialType
from secrets_manager.backends.base import RateLimited, Source, Unavailable
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError
from tests.backends.azure.harness import RecordedMetrics, backend_of, error_of
from tests.doubles.key_vault import TENANT, KeyVaultState, Request, Response

RESOURCE_ID = "/subscriptions/1/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop"


def principal(vault: KeyVaultState, *, secret: str = "canary-secret") -> AzureConfig:
    vault.principals["app"] = "canary-secret"
    return AzureConfig(tenant_id=TENANT, client_id="app", client_secret=secret, authority=vault.url)


def workload(vault: KeyVaultState, token_file: Path, *, accepted: str = "canary-jwt") -> AzureConfig:
    vault.federated["app"] = accepted
    return AzureConfig(tenant_id=TENANT, client_id="app", federated_token_file=str(token_file), authority=vault.url)


async def value_of(vault: KeyVaultState, config: AzureConfig) -> str | None:
    vault.set("db", "canary")
    async with backend_of(vault, config=config) as backend:
        document = await backend.read(Source("db"))
    return document.values[document.key("any")]


async def test_system_assigned_identity_where_nothing_is_configured(vault: KeyVaultState) -> None:
    assert await value_of(vault, AzureConfig()) == "canary"
    assert vault.logins == ["managed identity"]


async def test_managed_identity_by_client_id(vault: KeyVaultState) -> None:
    vault.managed = {"mine"}

    assert await value_of(vault, AzureConfig(managed_client_id="mine", managed_resource_id=RESOURCE_ID)) == "canary"
    assert vault.logins == ["managed identity mine"]


async def test_managed_identity_by_resource_id(vault: KeyVaultState) -> None:
    vault.managed = {RESOURCE_ID}

    assert await value_of(vault, AzureConfig(managed_resource_id=RESOURCE_ID)) == "canary"
    assert vault.logins == [f"managed identity {RESOURCE_ID}"]


async def test_managed_identity_wins_over_a_workload_identity_that_kubernetes_offers(
    vault: KeyVaultState, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.managed = {"mine"}
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token_file))
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "app")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", vault.url)

    assert await value_of(vault, AzureConfig(managed_client_id="mine")) == "canary"
    assert vault.logins == ["managed identity mine"]


async def test_service_principal_by_its_secret(vault: KeyVaultState) -> None:
    assert await value_of(vault, principal(vault)) == "canary"
    assert vault.logins == ["service principal app"]


async def test_workload_identity_by_the_token_of_kubernetes(vault: KeyVaultState, token_file: Path) -> None:
    assert await value_of(vault, workload(vault, token_file)) == "canary"
    assert vault.logins == ["workload identity app"]


async def test_secret_of_a_service_principal_wins_over_the_token_of_kubernetes(
    vault: KeyVaultState, token_file: Path
) -> None:
    vault.principals["app"] = "canary-secret"
    config = AzureConfig(
        tenant_id=TENANT,
        client_id="app",
        client_secret="canary-secret",
        federated_token_file=str(token_file),
        authority=vault.url,
    )

    assert await value_of(vault, config) == "canary"
    assert vault.logins == ["service principal app"]


async def test_who_logs_in_is_said_in_one_line(vault: KeyVaultState, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await value_of(vault, principal(vault))

    (record,) = [each for each in caplog.records if each.levelno >= logging.INFO]
    assert record.message == "using Key Vault"
    assert record.__dict__["fields"] == {"vault": vault.url, "login": "service principal"}
    assert "canary" not in caplog.text


async def test_many_first_reads_make_one_login(vault: KeyVaultState) -> None:
    names = [f"s{number}" for number in range(20)]
    for name in names:
        vault.set(name, "v")

    async with backend_of(vault, config=principal(vault)) as backend, trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(backend.read, Source(name))

    assert vault.logins == ["service principal app"]


@pytest.mark.parametrize("method", ["service principal", "workload identity", "managed identity"])
async def test_refused_login_shows_nothing_that_was_sent_and_backs_off(
    vault: KeyVaultState, token_file: Path, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    vault.managed = set()
    config, expected = {
        "service principal": (
            principal(vault, secret="canary-wrong"),
            "was refused (AADSTS7000215): correct its settings, or allow it",
        ),
        "workload identity": (
            workload(vault, token_file, accepted="canary-of-another"),
            "was refused (AADSTS7000215): correct its settings, or allow it",
        ),
        "managed identity": (AzureConfig(), "was refused: correct its settings, or allow it"),
    }[method]
    metrics, errors = RecordedMetrics(), set[str]()

    async with backend_of(vault, metrics, config) as backend:
        with caplog.at_level(logging.DEBUG):
            for _ in range(3):
                with pytest.raises(Unavailable) as caught:
                    await backend.read(Source("db"))
                errors.add(str(caught.value))

    assert metrics.login_errors == 1
    assert metrics.read_errors == [("db", "LoginRefused")] * 3
    (error,) = errors
    assert error.startswith(f"login to Azure as {method}")
    assert error.endswith(expected)
    assert "canary" not in caplog.text


async def test_endpoint_of_the_login_that_is_not_there(vault: KeyVaultState) -> None:
    config = AzureConfig(tenant_id=TENANT, client_id="app", client_secret="s", authority="https://localhost:1")

    async with backend_of(vault, config=config) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.read(Source("db"))

    assert str(caught.value) == (
        "login to Azure as service principal: its endpoint can't be reached (Connection refused)"
    )


@pytest.mark.parametrize("method", ["service principal", "workload identity", "managed identity (system-assigned)"])
@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (410, Unavailable), (500, Unavailable)])
async def test_endpoint_of_the_login_that_is_busy_is_no_fault_of_the_settings(
    vault: KeyVaultState, token_file: Path, method: str, status: int, kind: type[Unavailable]
) -> None:
    config = {"service principal": principal(vault), "workload identity": workload(vault, token_file)}
    headers = {"Retry-After": "30", "Content-Type": "application/json"}
    busy = Response(status, b'{"error": "busy", "error_description": "AADSTS90033: canary"}', headers)
    vault.fault = lambda request: busy if request.path.endswith("/token") else None
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics, config.get(method)) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.read(Source("db"))

    assert (type(caught.value), caught.value.retry_after) == (kind, 30)
    assert str(caught.value) == f"login to Azure as {method}: its endpoint answered {status}: it is tried again"
    assert metrics.login_errors == 1


async def test_discovery_before_a_login_may_be_busy_too(vault: KeyVaultState) -> None:
    vault.fault = lambda request: Response(503) if "well-known" in request.path else None

    error = await error_of(vault, Source("db"), principal(vault))

    assert type(error) is Unavailable
    assert str(error) == "login to Azure as service principal: its endpoint answered 503: it is tried again"


async def test_no_login_is_tried_before_the_retry_after_of_its_endpoint(vault: KeyVaultState) -> None:
    busy = Response(429, headers={"Retry-After": "100"})
    vault.fault = lambda request: busy if request.is_login else None

    async with backend_of(vault) as backend:
        for _ in range(3):
            with pytest.raises(RateLimited):
                await backend.read(Source("db"))

    assert [request.is_login for request in vault.requests] == [False, True]


async def test_stop_does_not_wait_for_a_login_that_hangs(vault: KeyVaultState) -> None:
    released, reached, metrics = Event(), Event(), RecordedMetrics()

    def hang(request: Request) -> None:
        if request.is_login:
            reached.set()
            released.wait(timeout=20)

    vault.fault = hang
    async with backend_of(vault, metrics) as backend, trio.open_nursery() as nursery:
        nursery.start_soon(backend.read, Source("db"))
        await trio.to_thread.run_sync(reached.wait)
        nursery.cancel_scope.cancel()
    login_ended = metrics.login_errors
    released.set()

    assert login_ended == 0


async def test_missing_token_of_kubernetes(vault: KeyVaultState, tmp_path: Path) -> None:
    async with backend_of(vault, config=workload(vault, tmp_path / "none")) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.read(Source("db"))

    assert str(caught.value) == (
        f"login to Azure as workload identity: {tmp_path / 'none'} can't be read (No such file or directory)"
    )


async def test_token_that_ends_is_replaced_before_any_read_fails(vault: KeyVaultState) -> None:
    vault.set("db", "canary")
    vault.token_life = 60
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics, principal(vault)) as backend:
        await backend.read(Source("db"))
        vault.advance(61)
        await backend.read(Source("db"))

    assert vault.logins == ["service principal app"] * 2
    assert metrics.read_errors == []


async def test_login_that_fails_leaves_a_token_in_use_that_lives_for_some_minutes(vault: KeyVaultState) -> None:
    def refuse_logins(request: Request) -> Response | None:
        return Response(503) if request.is_login else None

    vault.set("db", "canary")
    async with backend_of(vault, config=principal(vault)) as backend:
        await backend.read(Source("db"))
        vault.fault = refuse_logins
        document = await backend.read(Source("db"))

    assert document.values == {"": "canary"}


async def test_token_that_the_vault_refuses_is_given_up_and_the_next_read_logs_in_again(vault: KeyVaultState) -> None:
    vault.set("db", "canary")
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics, principal(vault)) as backend:
        await backend.read(Source("db"))
        vault.refuse_tokens()
        with pytest.raises(Unavailable) as caught:
            await backend.read(Source("db"))
        await backend.read(Source("db"))

    assert str(caught.value) == (
        f"Key Vault {vault.url} refuses the token (Unauthorized): is azure-kv.tenant-id the vault's own?"
    )
    assert metrics.requests == [("read", "200"), ("read", "401"), ("read", "200")]
    assert vault.logins == ["service principal app"] * 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"client_secret", "client_id"}, "a service principal needs azure-kv.tenant-id (or AZURE_TENANT_ID)"),
        ({"client_secret", "tenant_id"}, "a service principal needs azure-kv.client-id (or AZURE_CLIENT_ID)"),
        ({"federated_token_file", "client_id"}, "a workload identity needs azure-kv.tenant-id (or AZURE_TENANT_ID)"),
        ({"federated_token_file", "tenant_id"}, "a workload identity needs azure-kv.client-id (or AZURE_CLIENT_ID)"),
        (
            {"client_id", "tenant_id"},
            (
                "azure-kv.client-id alone is not enough: it needs azure-kv.client-secret "
                "(better: AZURE_CLIENT_SECRET), "
                "or AZURE_FEDERATED_TOKEN_FILE for a workload identity; "
                "a managed identity has azure-kv.managed-client-id"
            ),
        ),
    ],
)
async def test_settings_that_are_missing(settings: set[str], expected: str) -> None:
    config = msgspec.convert(dict.fromkeys(settings, "canary"), AzureConfig)

    with pytest.raises(UsageError) as caught:
        async with open_azure(msgspec.structs.replace(config, name="shop"), RecordedMetrics()):
            pass

    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "config",
    [
        AzureConfig(tenant_id="no tenant", authority="https://login.example.com"),
        AzureConfig(tenant_id=TENANT, authority="http://login.example.com"),
    ],
)
async def test_settings_that_the_login_can_not_use(config: AzureConfig) -> None:
    config = msgspec.structs.replace(config, name="shop", client_id="app", client_secret="canary")

    with pytest.raises(UsageError) as caught:
        async with open_azure(config, RecordedMetrics()):
            pass

    assert str(caught.value) == (
        "login to Azure as service principal: azure-kv.tenant-id or azure-kv.authority is not valid: "
        "a tenant is an ID or a domain, an authority is like https://login.microsoftonline.us"
    )


class Issues:
    """A credential of the SDK that always has a token, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], TokenRequestOptions | None]] = []

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        self.asked.append((scopes, options))
        return AccessTokenInfo("canary", 1234)

    def close(self) -> None:
        """It holds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def login_by(*credentials: Issues) -> Credential:
    left = iter(credentials)
    return Credential(CredentialType("test", lambda _: next(left)), RequestsTransport(), lambda: None, random=Random(0))


def test_client_of_the_older_kind_gets_the_same_token() -> None:
    credential = Issues()

    token = login_by(credential).get_token("vault", claims="more", tenant_id="shop", enable_cae=True)

    assert token == AccessToken("canary", 1234)
    assert credential.asked == [(("vault",), {"claims": "more", "tenant_id": "shop", "enable_cae": True})]


def test_client_of_the_older_kind_asks_for_no_more_than_it_names() -> None:
    credential = Issues()

    login_by(credential).get_token("vault")

    assert credential.asked == [(("vault",), {"enable_cae": False})]


def test_of_many_refused_requests_only_the_first_one_resets() -> None:
    first, second = Issues(), Issues()
    login = login_by(first, second)

    login.reset(generation=1)
    login.reset(generation=1)

    assert login.generation == 2
    assert login.get_token("vault") == AccessToken("canary", 1234)
    assert (len(first.asked), len(second.asked)) == (0, 1)
