"""The main job with a Key Vault: the real process between a real emulator and the real control plane."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_kubernetes.documents import Object, at
from tests.definitions import CRD
from tests.doubles.key_vault import TENANT, KeyVaultState, Request, Response, failure
from tests.process.running import PERIOD, Namespace, SecretsManager
from tests.real.cluster import ControlPlane
from tests.real.key_vault import API_VERSION, READY_WITHIN, KeyVaultEmulator
from tests.real.kube_api import wait_until

ABSENT = {"VAULT_ADDR": "", "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}


class Shop(Namespace):
    """A namespace and the program that watches it."""

    def __init__(self, cluster: ControlPlane, folder: Path, *flags: str, environment: dict[str, str]) -> None:
        super().__init__(cluster, cluster.namespace())
        cluster.install(CRD)
        usual = ("-backend=azure-kv", f"-watch-namespaces={self.namespace}", f"-reconcile-period={PERIOD}")
        self._flags = (*usual, "-azure-kv.verify-challenge-resource=false", *flags)
        self._environment = {**os.environ, **ABSENT, "KUBECONFIG": str(cluster.kubeconfig), **environment}
        self.program = SecretsManager(folder, flags=self._flags, environment=self._environment)

    def doctor(self) -> str:
        """Return what `secrets-manager doctor` prints with the flags of the program."""
        command = [sys.executable, "-m", "secrets_manager", "doctor", *self._flags]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        ).stdout


def with_emulator(cluster: ControlPlane, emulator: KeyVaultEmulator, folder: Path, *more: str) -> Shop:
    flags = (f"-azure-kv.url={emulator.url}", f"-azure-kv.api-version={API_VERSION}")
    return Shop(cluster, folder, *flags, *more, environment=dict(emulator.environment))


@pytest.fixture
def here(control_plane: ControlPlane, key_vault: KeyVaultEmulator, tmp_path: Path) -> Iterator[Shop]:
    made = with_emulator(control_plane, key_vault, tmp_path)
    with made.program:
        yield made


def test_definitions_become_secrets_and_follow_every_change(here: Shop, key_vault: KeyVaultEmulator) -> None:
    plain, settings, pinned = (key_vault.fresh(prefix) for prefix in ("plain", "settings", "pinned"))
    key_vault.set(plain, "first")
    key_vault.set(settings, '{"port": 5432, "user": "shop"}')
    version = key_vault.set(pinned, "old")
    key_vault.set(pinned, "new")
    keys_map: Object = {
        "plain": {"path": plain, "key": "any"},
        "user": {"path": settings, "key": "any", "property": "user"},
        "port": {"path": settings, "key": "any", "property": "port"},
        "pinned": {"path": pinned, "key": "any", "version": version},
    }
    here.define_as_it_is("app", {"name": "app", "keysMap": keys_map})

    here.program.started()

    values = {"plain": "first", "user": "shop", "port": "5432", "pinned": "old"}
    here.wait_for("app", values)
    here.wait_for_reason("app", "Synced")
    assert {"path": pinned, "version": version} in at_list(here.definition("app"))

    key_vault.set(plain, "second")

    here.wait_for("app", values | {"plain": "second"})

    key_vault.disable(plain)

    here.wait_for_reason("app", "SourceNotFound")
    assert here.values("app") == values | {"plain": "second"}


def test_doctor_finds_nothing_wrong_with_the_vault_and_names_a_secret_that_may_not_be_used(
    control_plane: ControlPlane, key_vault: KeyVaultEmulator, tmp_path: Path
) -> None:
    """The emulator refuses no right: tests/doctor/test_key_vault.py has those."""
    here = with_emulator(control_plane, key_vault, tmp_path, "-azure-kv.allowed-paths={namespace}-*")
    name = key_vault.fresh("plain")
    key_vault.set(name, "canary-7d1f")
    here.define_as_it_is("app", {"name": "app", "keysMap": {"k": {"path": name, "key": "any"}}})

    shown = here.doctor()

    states = {line.split()[1]: line.split()[0] for line in shown.splitlines() if line[:1].islower() and "  " in line}
    assert (states["key-vault-get"], states["key-vault-list"], states["allowed-paths"]) == ("ok", "ok", "warning")
    assert "canary" not in shown


def test_change_is_found_by_listing_long_before_the_next_read(
    control_plane: ControlPlane, key_vault: KeyVaultEmulator, tmp_path: Path
) -> None:
    here = with_emulator(control_plane, key_vault, tmp_path, "-reconcile-period=10m")
    names = [key_vault.fresh() for _ in range(3)]
    for name in names:
        key_vault.set(name, "first")
    here.define("app", {name: f"{name}#any" for name in names})
    with here.program:
        here.program.started()
        here.wait_for("app", dict.fromkeys(names, "first"))

        key_vault.set(names[0], "second")

        here.wait_for("app", {**dict.fromkeys(names, "first"), names[0]: "second"})


def test_an_invalid_path_is_reported_without_a_request(here: Shop) -> None:
    here.define("app", {"pw": "../keys/app#any"})

    here.program.started()

    here.wait_for_reason("app", "SourceInvalid")
    assert "azure_kv_request_duration_seconds_count" not in here.program.answer("/metrics")


def test_emulator_that_is_restarted_is_read_again(
    control_plane: ControlPlane, key_vault_alone: KeyVaultEmulator, tmp_path: Path
) -> None:
    here = with_emulator(control_plane, key_vault_alone, tmp_path)
    key_vault_alone.set("app", "first")
    here.define("app", {"pw": "app#any"})
    with here.program:
        here.program.started()
        here.wait_for("app", {"pw": "first"})

        key_vault_alone.program.kill()
        here.wait_for_reason("app", "BackendUnavailable")
        assert here.values("app") == {"pw": "first"}

        key_vault_alone.program.start()
        key_vault_alone.program.wait_until(key_vault_alone.serves, seconds=READY_WITHIN)
        key_vault_alone.set("app", "second")

        here.wait_for("app", {"pw": "second"})
        here.wait_for_reason("app", "Synced")


@pytest.fixture
def of_double(control_plane: ControlPlane, key_vault_double: KeyVaultState, tmp_path: Path) -> Iterator[Shop]:
    """As a service principal, all of it from the environment."""
    key_vault_double.principals["app"] = "canary-secret"
    made = Shop(
        control_plane,
        tmp_path,
        f"-azure-kv.url={key_vault_double.url}",
        environment={
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": "app",
            "AZURE_CLIENT_SECRET": "canary-secret",
            "AZURE_AUTHORITY_HOST": key_vault_double.url,
        },
    )
    with made.program:
        yield made


def test_throttled_vault_is_left_alone_and_read_again(of_double: Shop, key_vault_double: KeyVaultState) -> None:
    key_vault_double.set("app", "canary-first")
    of_double.define("app", {"pw": "app#any"})
    of_double.program.started()
    of_double.wait_for("app", {"pw": "canary-first"})
    asked: list[str] = []

    def throttle(request: Request) -> Response:
        asked.append(request.path)
        return failure(429, "Throttled", headers={"Retry-After": "3"})

    key_vault_double.fault = throttle
    of_double.wait_for_reason("app", "BackendUnavailable")
    key_vault_double.set("app", "canary-second")
    key_vault_double.fault = None

    of_double.wait_for("app", {"pw": "canary-second"})
    assert asked == ["/secrets/app/"]
    labels = f'azure_kv_name="localhost",azure_kv_tenant="{TENANT}"'
    errors = f'secrets_manager_azure_kv_read_secret_errors_total{{{labels},error="RateLimited",path="app"}}'
    assert errors in of_double.program.answer("/metrics")
    assert "secrets_manager_vault_" not in of_double.program.answer("/metrics")
    assert "canary" not in of_double.program.answer("/metrics") + of_double.program.tail()


def test_token_that_is_refused_is_replaced(of_double: Shop, key_vault_double: KeyVaultState) -> None:
    key_vault_double.set("app", "first")
    of_double.define("app", {"pw": "app#any"})
    of_double.program.started()
    of_double.wait_for("app", {"pw": "first"})

    key_vault_double.refuse_tokens()
    key_vault_double.set("app", "second")

    of_double.wait_for("app", {"pw": "second"})
    wait_until(lambda: of_double.reason("app") == "Synced")
    assert key_vault_double.logins == ["service principal app"] * 2


def test_wrong_settings_end_the_start_in_one_line(control_plane: ControlPlane, tmp_path: Path) -> None:
    here = Shop(control_plane, tmp_path, "-azure-kv.name=shop", environment={"AZURE_CLIENT_ID": "app"})
    with here.program:
        here.program.start()

        assert here.program.ended() == 2
    assert here.program.tail() == (
        "secrets-manager: azure-kv.client-id alone is not enough: it needs azure-kv.client-secret (better: "
        "AZURE_CLIENT_SECRET), or AZURE_FEDERATED_TOKEN_FILE for a workload identity; a managed identity has "
        "azure-kv.managed-client-id\n"
    )


def at_list(definition: Object) -> list[object]:
    """The sources that the status names."""
    found = at(definition, "status", "sources")
    assert isinstance(found, list)
    return list(found)
