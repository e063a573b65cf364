"""Fixtures of the in-memory Key Vault: on a port of its own, trusted for the length of a test."""

from collections.abc import Iterator

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache

from tests.doubles.key_vault import KeyVaultState
from tests.doubles.key_vault_server import serving
from tests.kube.certificates import Authority


@pytest.fixture(scope="session")
def authority_of_key_vault(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def key_vault_double(authority_of_key_vault: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVaultState]:
    """A vault that the machine's own identity may read."""
    http_challenge_cache.clear()  # of the process, by host and port: an earlier vault may have had the same port
    state = KeyVaultState()
    state.managed.add("")
    with serving(state, authority_of_key_vault):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority_of_key_vault.certificate))
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        monkeypatch.setenv("NO_PROXY", "localhost")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", state.url)
        yield state
