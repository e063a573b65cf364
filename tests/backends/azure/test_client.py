"""The vault's URL and the CA bundle."""

import pytest

from secrets_manager.backends.azure import client
from secrets_manager.backends.azure.backend import open_azure
from secrets_manager.backends.base import Source
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError
from tests.backends.azure.harness import RecordedMetrics, backend_of
from tests.doubles.key_vault import KeyVaultState
from tests.kube.certificates import Authority

DB = Source("db")


async def test_authority_may_be_named_as_users_of_requests_do(
    vault: KeyVaultState, authority_of_key_vault: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("db", "canary")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority_of_key_vault.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", "")

    async with backend_of(vault) as backend:
        assert (await backend.read(DB)).values == {"": "canary"}


async def test_authority_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with pytest.raises(UsageError, match=r"^SSL_CERT_FILE is not a file: /nowhere/ca\.pem$"):
        async with open_azure(AzureConfig(name="shop"), RecordedMetrics()):
            pass


async def test_usual_authorities_are_trusted_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in client.CA_BUNDLE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)

    async with open_azure(AzureConfig(name="shop"), RecordedMetrics()) as backend:
        assert "https://shop.vault.azure.net" in repr(backend)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AzureConfig(name="shop"), "https://shop.vault.azure.net"),
        (AzureConfig(name="shop", endpoint_suffix="vault.azure.cn"), "https://shop.vault.azure.cn"),
        (AzureConfig(name="shop", url="https://localhost:8443/"), "https://localhost:8443"),
    ],
)
def test_address_of_the_vault(config: AzureConfig, expected: str) -> None:
    assert client.vault_url(config) == expected


@pytest.mark.parametrize(
    "config",
    [
        AzureConfig(name="shop/x"),
        AzureConfig(name="evil.example.com/"),
        AzureConfig(name="user@evil"),
        AzureConfig(name="shop?x="),
        AzureConfig(name="shop#"),
        AzureConfig(url="http://shop.vault.azure.net"),
        AzureConfig(url="https://shop.vault.azure.net/secrets"),
        AzureConfig(url="https://"),
        AzureConfig(url="shop.vault.azure.net"),
        AzureConfig(url="https://[shop"),
    ],
)
def test_what_is_no_address_of_a_vault(config: AzureConfig) -> None:
    with pytest.raises(UsageError, match="is not the address of a Key Vault"):
        client.vault_url(config)
