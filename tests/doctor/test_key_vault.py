"""The rights in Key Vault, with the real SDK on the in-memory Key Vault."""

import msgspec
import pytest

from secrets_manager.config import AzureConfig, Config
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.doctor import key_vault
from secrets_manager.doctor.checkup import Checkup
from secrets_manager.doctor.finding import Finding, State
from tests.doctor.stack import VALUE
from tests.doubles.key_vault import Fault, KeyVaultState, Request, Response, failure
from tests.gen import secret_definition


async def examine(
    state: KeyVaultState, *definitions: SecretDefinition, allowed_paths: tuple[str, ...] = ()
) -> dict[str, Finding]:
    azure = msgspec.structs.replace(state.config, allowed_paths=allowed_paths)
    checkup = Checkup(lambda _: None)
    await key_vault.examine(checkup, Config(backend="azure-kv", azure=azure), definitions)
    assert VALUE not in str(checkup.findings)
    return {each.check: each for each in checkup.findings}


@pytest.mark.parametrize("definitions", [[], [secret_definition("db", keys={"pw": "db#pw"})]])
async def test_a_vault_that_may_be_read_and_listed_is_fine(
    key_vault_double: KeyVaultState, definitions: list[SecretDefinition]
) -> None:
    key_vault_double.set("db", VALUE)

    found = await examine(key_vault_double, *definitions)

    assert {name: each.state for name, each in found.items()} == {
        "key-vault-get": State.OK,
        "key-vault-list": State.OK,
    }


def forbids(*, listings: bool) -> Fault:
    def fault(request: Request) -> Response | None:
        is_list = request.path.rstrip("/") == "/secrets"
        return failure(403, "Forbidden") if request.token and is_list is listings else None

    return fault


async def test_a_missing_right_to_get_is_reported(key_vault_double: KeyVaultState) -> None:
    key_vault_double.fault = forbids(listings=False)

    found = await examine(key_vault_double, secret_definition("db", keys={"pw": "db#pw"}))

    assert found["key-vault-get"].state is State.FAILURE
    assert "Key Vault Secrets User" in found["key-vault-get"].fix
    assert found["key-vault-list"].state is State.OK


async def test_a_missing_right_to_list_is_reported(key_vault_double: KeyVaultState) -> None:
    key_vault_double.fault = forbids(listings=True)

    found = await examine(key_vault_double)

    assert (found["key-vault-get"].state, found["key-vault-list"].state) == (State.OK, State.WARNING)


async def test_without_a_login_nothing_else_is_checked(key_vault_double: KeyVaultState) -> None:
    key_vault_double.managed.clear()

    found = await examine(key_vault_double)

    assert (found["key-vault-get"].state, found["key-vault-list"].state) == (State.FAILURE, State.SKIPPED)


async def test_an_invalid_name_is_reported() -> None:
    checkup = Checkup(lambda _: None)

    await key_vault.examine(checkup, Config(backend="azure-kv", azure=AzureConfig(url="x")), ())

    assert [each.state for each in checkup.findings] == [State.FAILURE, State.SKIPPED]


async def test_secrets_that_are_not_allowed_are_reported(key_vault_double: KeyVaultState) -> None:
    found = await examine(
        key_vault_double, secret_definition("db", keys={"pw": "db#pw"}), allowed_paths=("{namespace}-*",)
    )

    assert found["allowed-paths"].state is State.WARNING
    assert "--azure-kv.allowed-paths" in found["allowed-paths"].fix
