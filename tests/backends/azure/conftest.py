"""Fixtures: the in-memory Key Vault, and the token file that Kubernetes mounts."""

from pathlib import Path

import pytest

from tests.doubles.key_vault import KeyVaultState


@pytest.fixture
def vault(key_vault_double: KeyVaultState) -> KeyVaultState:
    return key_vault_double


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Where Kubernetes keeps the token of a workload identity."""
    path = tmp_path / "azure-identity-token"
    path.write_text("canary-jwt")
    return path
