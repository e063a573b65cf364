"""Key Vault for these tests: the double on a port of its own, trusted for the length of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.key_vault import KeyVaultState
from tests.doubles.key_vault_server import serving
from tests.kube.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def vault(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVaultState]:
    """A vault that the machine's own identity may read."""
    state = KeyVaultState()
    state.managed.add("")
    with serving(state, authority):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        monkeypatch.setenv("NO_PROXY", "localhost")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", state.url)
        yield state


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Where Kubernetes keeps the token of a workload identity."""
    path = tmp_path / "azure-identity-token"
    path.write_text("canary-jwt")
    return path
