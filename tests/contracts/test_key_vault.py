"""Key Vault's responses to the backend: the same cases against the double and a real emulator."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
import trio

from secrets_manager.backends import Folder, Source, SourceNotFound
from secrets_manager.backends.azure.backend import AzureBackend, open_azure
from secrets_manager.config import AzureConfig
from tests.backends.azure.harness import RecordedMetrics
from tests.doubles.key_vault import KeyVaultState
from tests.real.key_vault import KeyVaultEmulator


class KeyVault(Protocol):
    """What the tests ask of it besides reading."""

    @property
    def config(self) -> AzureConfig: ...

    def fresh(self, prefix: str = "test") -> str: ...

    def set(self, name: str, value: str, *, content_type: str = "") -> str: ...

    def disable(self, name: str) -> None: ...

    def delete(self, name: str) -> None: ...


@pytest.fixture(params=["double", pytest.param("emulator", marks=pytest.mark.real)])
def vault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> KeyVault:
    """One of both; the real one is not started for the double's sake."""
    if request.param == "double":
        double = request.getfixturevalue("key_vault_double")
        assert isinstance(double, KeyVaultState)
        return double
    emulator = request.getfixturevalue("key_vault")
    assert isinstance(emulator, KeyVaultEmulator)
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return emulator


@asynccontextmanager
async def backend_of(vault: KeyVault) -> AsyncGenerator[AzureBackend]:
    async with open_azure(vault.config, RecordedMetrics()) as backend:
        yield backend


async def test_newest_version_is_read_and_one_that_is_named(vault: KeyVault) -> None:
    name = vault.fresh()
    first, second = vault.set(name, "one"), vault.set(name, "zwölf ✓")

    async with backend_of(vault) as backend:
        newest, pinned = await backend.read(Source(name)), await backend.read(Source(name, first))

    assert (newest.values, newest.version) == ({"": "zwölf ✓"}, second)
    assert (pinned.values, pinned.version) == ({"": "one"}, first)


@pytest.mark.parametrize("content_type", ["application/x-pem-file", "application/x-pkcs12"])
async def test_secret_of_a_certificate_is_passed_on_as_it_is(vault: KeyVault, content_type: str) -> None:
    name, value = vault.fresh(), "-----BEGIN CERTIFICATE-----\r\nMIIB\n-----END CERTIFICATE-----\n"
    vault.set(name, value, content_type=content_type)

    async with backend_of(vault) as backend:
        document = await backend.read(Source(name))

    assert document.values == {"": value}


async def test_what_is_not_there(vault: KeyVault) -> None:
    name, disabled, deleted = vault.fresh(), vault.fresh("disabled"), vault.fresh("deleted")
    for each in (name, disabled, deleted):
        vault.set(each, "v")
    vault.disable(disabled)
    vault.delete(deleted)

    async with backend_of(vault) as backend:
        for source in (Source(vault.fresh()), Source(name, "0" * 32), Source(disabled), Source(deleted)):
            with pytest.raises(SourceNotFound):
                await backend.read(source)


async def test_listing_shows_what_reads_show(vault: KeyVault) -> None:
    names = [vault.fresh() for _ in range(30)]
    for name in names:
        vault.set(name, "v")
    disabled = vault.fresh("disabled")
    vault.set(disabled, "v")
    vault.disable(disabled)

    async with backend_of(vault) as backend:
        await trio.sleep(2.1)  # only then a time of change is for certain
        documents = {name: await backend.read(Source(name)) for name in names}
        markers = await backend.markers(Folder(""))

    assert {name: markers.get(name) for name in names} == {name: documents[name].listed for name in names}
    assert markers[disabled].endswith(" disabled")


async def test_listing_shows_a_change(vault: KeyVault) -> None:
    name = vault.fresh()
    vault.set(name, "one")

    async with backend_of(vault) as backend:
        fresh = await backend.read(Source(name))
        vault.set(name, "two")
        markers = await backend.markers(Folder(""))
        changed = await backend.read(Source(name))

    assert markers[name] != (fresh.listed or fresh.marker)
    assert changed.marker != fresh.marker
