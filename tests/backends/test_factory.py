"""Which store is opened for which configuration, and what is imported for it, seen in a process of its own.

A kubeconfig's reader is imported for none.
"""

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from secrets_manager.backends.factory import identity, open_backend
from secrets_manager.config import AzureConfig, Config, VaultConfig
from secrets_manager.errors import UsageError
from secrets_manager.metrics import BackendMetricsFactory

SCRIPT = """
import sys, trio
from prometheus_client import CollectorRegistry
from secrets_manager import supervisor
from secrets_manager.backends.factory import open_backend
from secrets_manager.config import AzureConfig, Config, VaultConfig
from secrets_manager.metrics import BackendMetricsFactory

config = Config(backend=sys.argv[1], vault=VaultConfig(role_id="r"), azure=AzureConfig(name="shop"))
registry = CollectorRegistry()

async def main():
    async with open_backend(config, BackendMetricsFactory(registry, config)):
        print(*sorted({"azure", "kubernetes", "msal", "requests", "yaml"} & sys.modules.keys()))
        print(*sorted({family.name.split("_")[2] for family in registry.collect()}))

trio.run(main)
"""


@pytest.mark.parametrize(
    ("backend", "expected"), [("vault", ["", "vault"]), ("azure-kv", ["azure msal requests", "azure"])]
)
def test_only_the_store_that_is_used_costs_imports_and_has_metrics(backend: str, expected: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, backend], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize(("backend", "expected"), [("vault", "VaultBackend"), ("azure-kv", "AzureBackend")])
async def test_store_that_the_configuration_names_is_opened(backend: str, expected: str) -> None:
    config = Config(backend=backend, vault=VaultConfig(role_id="r"), azure=AzureConfig(name="shop"))

    async with open_backend(config, BackendMetricsFactory(CollectorRegistry(), config)) as opened:
        assert type(opened).__name__ == expected


async def test_store_that_is_unknown_is_a_misuse() -> None:
    config = Config(backend="vaullt")

    with pytest.raises(UsageError, match=r"^backend 'vaullt' is unknown: use vault or azure-kv$"):
        async with open_backend(config, BackendMetricsFactory(CollectorRegistry(), config)):
            pass


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        (
            Config(vault=VaultConfig(url="https://user:pass@vault.test:8200", role_id="the-role", secret_id="s")),
            "Vault at https://vault.test:8200, as the AppRole of auth/approle",
        ),
        (
            Config(
                vault=VaultConfig(
                    url="https://vault.test", namespace="team", auth_method="kubernetes", kubernetes_role="shop"
                )
            ),
            "Vault at https://vault.test, namespace team, as role shop of auth/kubernetes",
        ),
        (
            Config(backend="azure-kv", azure=AzureConfig(name="shop", managed_client_id="c")),
            "Key Vault https://shop.vault.azure.net, as managed identity (client id)",
        ),
    ],
    ids=["AppRole", "Kubernetes", "Key Vault"],
)
def test_identity_names_the_store_and_the_login_and_no_credential(config: Config, shown: str) -> None:
    assert identity(config) == shown
