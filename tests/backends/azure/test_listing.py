"""Changes found by listing the vault."""

import pytest

from secrets_manager.backends.base import (
    NotListable,
    Place,
    Source,
    Unavailable,
)
from tests.backends.azure.stand import RecordedMetrics, answering, backend_of
from tests.doubles.key_vault import KeyVaultState, failure

DB = Source("db")
NO_VERSION = "0" * 32


async def test_listing_tells_when_each_secret_was_changed(vault: KeyVaultState) -> None:
    for number in range(60):
        vault.set(f"S{number}", "v")
    vault.set("off", "v")
    vault.disable("off")
    vault.set("gone", "v")
    vault.delete("gone")
    vault.advance(10)
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics) as backend:
        markers = await backend.markers("")
        documents = {name: await backend.read(Source(name)) for name in ("s0", "S59")}

    assert sorted(markers) == sorted(["off", *(f"s{number}" for number in range(60))])
    assert [name for name, marker in markers.items() if marker.endswith(" disabled")] == ["off"]
    assert {name.lower(): document.listed for name, document in documents.items()} == {
        name: markers[name] for name in ("s0", "s59")
    }
    assert [operation for operation, _ in metrics.requests].count("list") == 4  # three pages, and the end


async def test_listing_tells_a_change_from_what_was_read_before(vault: KeyVaultState) -> None:
    vault.set("db", "one")
    vault.advance(10)
    async with backend_of(vault) as backend:
        before = await backend.read(DB)
        vault.set("db", "two")
        markers = await backend.markers("")

    assert markers["db"] != before.listed


async def test_secret_that_has_just_changed_is_read_again_next_time(vault: KeyVaultState) -> None:
    """Another change within the same second would show the same time."""
    vault.set("db", "one")
    async with backend_of(vault) as backend:
        fresh = await backend.read(DB)
        markers = await backend.markers("")
        vault.advance(3)
        settled = await backend.read(DB)

    assert (fresh.listed or fresh.marker) != markers["db"]
    assert settled.listed == markers["db"]
    assert fresh.marker == settled.marker


async def test_vault_that_may_not_be_listed(vault: KeyVaultState) -> None:
    vault.fault = answering(failure(403, "Forbidden", inner="ForbiddenByRbac"))

    async with backend_of(vault) as backend:
        with pytest.raises(NotListable) as caught:
            await backend.markers("")

    assert str(caught.value) == f"Key Vault {vault.url} does not let this identity list secrets (ForbiddenByRbac)"


async def test_vault_that_can_not_be_listed_now(vault: KeyVaultState) -> None:
    vault.fault = answering(failure(503, "Busy", headers={"Retry-After": "7"}))

    async with backend_of(vault) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.markers("")

    assert caught.value.retry_after == 7


async def test_place_of_a_source(vault: KeyVaultState) -> None:
    async with backend_of(vault) as backend:
        assert backend.place(Source("DB")) == Place("", "db")
        assert backend.place(Source("DB", NO_VERSION)) is None
