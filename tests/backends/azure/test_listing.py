"""Changes found by listing the vault."""

import json

import msgspec
import pytest

from fake_kubernetes.documents import Json, Object
from secrets_manager.backends.base import (
    Folder,
    NotListable,
    Place,
    Source,
    Unavailable,
)
from tests.backends.azure.harness import RecordedMetrics, answering, backend_of
from tests.doubles.key_vault import KeyVaultState, Response, failure

MAX_PAGES = 400
MAX_SECRETS = 5_000

DB = Source("db")
NO_VERSION = "0" * 32


async def test_listing_shows_when_each_secret_was_updated(vault: KeyVaultState) -> None:
    for number in range(60):
        vault.set(f"S{number}", "v")
    vault.set("off", "v")
    vault.disable("off")
    vault.set("gone", "v")
    vault.delete("gone")
    vault.advance(10)
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics) as backend:
        markers = await backend.markers(Folder(""))
        documents = {name: await backend.read(Source(name)) for name in ("s0", "S59")}

    assert sorted(markers) == sorted(["off", *(f"s{number}" for number in range(60))])
    assert [name for name, marker in markers.items() if marker.endswith(" disabled")] == ["off"]
    assert {name.lower(): document.listed for name, document in documents.items()} == {
        name: markers[name] for name in ("s0", "s59")
    }
    assert [operation for operation, _ in metrics.requests].count("list") == 4  # three pages, and the end


async def test_listing_shows_a_change_after_a_read(vault: KeyVaultState) -> None:
    vault.set("db", "one")
    vault.advance(10)
    async with backend_of(vault) as backend:
        before = await backend.read(DB)
        vault.set("db", "two")
        markers = await backend.markers(Folder(""))

    assert markers["db"] != before.listed


async def test_secret_that_has_just_changed_is_read_again_next_time(vault: KeyVaultState) -> None:
    """Another change within the same second would show the same time."""
    vault.set("db", "one")
    async with backend_of(vault) as backend:
        fresh = await backend.read(DB)
        markers = await backend.markers(Folder(""))
        vault.advance(3)
        settled = await backend.read(DB)

    assert (fresh.listed or fresh.marker) != markers["db"]
    assert settled.listed == markers["db"]
    assert fresh.marker == settled.marker


async def test_vault_that_may_not_be_listed(vault: KeyVaultState) -> None:
    vault.fault = answering(failure(403, "Forbidden", inner="ForbiddenByRbac"))

    async with backend_of(vault) as backend:
        with pytest.raises(NotListable) as caught:
            await backend.markers(Folder(""))

    assert str(caught.value) == f"Key Vault {vault.url} does not let this identity list secrets (ForbiddenByRbac)"


async def test_vault_of_too_many_secrets_is_not_listed(vault: KeyVaultState) -> None:
    secrets = [{"id": f"{vault.url}/secrets/s{number}", "attributes": {}} for number in range(MAX_SECRETS + 1)]
    body = json.dumps({"value": secrets}).encode()
    vault.fault = answering(Response(200, body, {"Content-Type": "application/json"}))

    async with backend_of(vault) as backend:
        with pytest.raises(NotListable, match=rf"holds more than {MAX_SECRETS} secrets, or its listing has no end$"):
            await backend.markers(Folder(""))


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_secret_counts_as_just_updated_without_a_date_header(vault: KeyVaultState, date: str) -> None:
    secret = {"id": f"{vault.url}/secrets/db/{NO_VERSION}", "value": "canary", "attributes": {"updated": 1}}
    headers = {"Content-Type": "application/json", "Date": date}
    vault.fault = answering(Response(200, json.dumps(secret).encode(), headers))

    async with backend_of(vault) as backend:
        assert (await backend.read(DB)).listed == ""


async def test_vault_that_can_not_be_listed_now(vault: KeyVaultState) -> None:
    vault.fault = answering(failure(503, "Busy", headers={"Retry-After": "7"}))

    async with backend_of(vault) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.markers(Folder(""))

    assert caught.value.retry_after == 7


async def test_place_of_a_source(vault: KeyVaultState) -> None:
    async with backend_of(vault) as backend:
        assert backend.place(Source("DB")) == Place(Folder(""), "db")
        assert backend.place(Source("DB", NO_VERSION)) is None


ITEM: Object = {"id": "https://localhost/secrets/db", "attributes": {"enabled": True, "updated": 1_700_000_000}}


@pytest.mark.parametrize(
    "listed",
    [
        {},
        [],
        "db",
        {"value": None},
        {"value": {}},
        {"value": [None]},
        {"value": ["db"]},
        {"value": [{}]},
        {"value": [{"id": 1}]},
        {"value": [{"id": "db"}]},
        {"value": [{"id": "https://localhost/secrets"}]},
        {"value": [{**ITEM, "attributes": None}]},
        {"value": [{**ITEM, "attributes": "none"}]},
        {"value": [{**ITEM, "attributes": {"updated": "soon"}}]},
        {"value": [{**ITEM, "attributes": {"updated": 10**12}}]},
        {"value": [{**ITEM, "attributes": {"updated": 10**400}}]},
        {"value": [{**ITEM, "attributes": {"updated": -(10**12)}}]},
        {"value": [{**ITEM, "attributes": {"updated": "1" * 5000}}]},
        {"value": [{**ITEM, "attributes": {"enabled": "perhaps"}}]},
        {"value": [ITEM], "nextLink": 1},
        {"value": [ITEM], "nextLink": "secrets"},
        {"value": [ITEM], "nextLink": "https://["},
    ],
    ids=str,
)
async def test_odd_listing_gives_markers_or_says_that_there_are_none(vault: KeyVaultState, listed: Json) -> None:
    body = msgspec.json.encode(listed)
    vault.fault = answering(Response(200, body, {"Content-Type": "application/json"}))

    async with backend_of(vault) as backend:
        try:
            markers = await backend.markers(Folder(""))
        except (NotListable, Unavailable):
            return

    assert set(markers) <= {"db", "none", ""}
    assert all(markers.values())


@pytest.mark.parametrize("body", [b"[" * 20_000, b'{"value": [' + b"[" * 20_000 + b"]" * 20_000 + b"]}"])
async def test_listing_that_is_nested_without_end(vault: KeyVaultState, body: bytes) -> None:
    vault.fault = answering(Response(200, body, {"Content-Type": "application/json"}))

    async with backend_of(vault) as backend:
        with pytest.raises((NotListable, Unavailable)):
            await backend.markers(Folder(""))


async def test_listing_that_has_no_end_is_given_up(vault: KeyVaultState) -> None:
    """Pages without secrets are usual, and these lead in a circle."""
    body = msgspec.json.encode({"value": [], "nextLink": f"{vault.url}/secrets?api-version=7.6"})
    vault.fault = answering(Response(200, body, {"Content-Type": "application/json"}))
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics) as backend:
        with pytest.raises(NotListable):
            await backend.markers(Folder(""))

    assert [operation for operation, _ in metrics.requests].count("list") == MAX_PAGES


async def test_secret_that_is_disabled_has_a_marker_of_its_own_and_a_deleted_one_has_none(
    vault: KeyVaultState,
) -> None:
    vault.set("db", "v")
    vault.set("other", "v")
    listed: list[str | None] = []
    async with backend_of(vault) as backend:
        listed.append((await backend.markers(Folder(""))).get("db"))
        vault.disable("db")
        listed.append((await backend.markers(Folder(""))).get("db"))
        vault.delete("db")
        listed.append((await backend.markers(Folder(""))).get("db"))

    live, disabled, gone = listed
    assert live is not None
    assert disabled == f"{live} disabled"
    assert gone is None
