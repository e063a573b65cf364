"""Reads through a backend as the process opens it, with the real SDK on the in-memory Key Vault."""

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
import trio

from secrets_manager.backends.azure import client
from secrets_manager.backends.azure.backend import AzureBackend
from secrets_manager.backends.base import (
    Document,
    Folder,
    RateLimited,
    Source,
    SourceMalformed,
    Unavailable,
)
from secrets_manager.config import AzureConfig
from tests.backends.azure.harness import RecordedMetrics, answering, backend_of, waiting_for
from tests.doubles.key_vault import KeyVaultState, Request, Response, failure

DB = Source("db")


async def test_read_is_one_request_once_there_is_a_token(vault: KeyVaultState) -> None:
    version = vault.set("db", "canary")
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics) as backend:
        documents = [await backend.read(DB) for _ in range(3)]

    assert [(document.values, document.marker, document.version) for document in documents] == [
        ({"": "canary"}, version, version)
    ] * 3
    assert len(vault.paths()) == 3
    assert metrics.requests == [("read", "200")] * 3


async def test_document_says_when_it_was_last_changed(vault: KeyVaultState) -> None:
    vault.set("db", "canary")
    about = datetime.now(UTC)

    async with backend_of(vault) as backend:
        document = await backend.read(DB)

    assert document.changed.endswith("Z")
    assert abs((datetime.fromisoformat(document.changed) - about).total_seconds()) < timedelta(hours=1).total_seconds()


async def test_any_key_means_the_one_value(vault: KeyVaultState) -> None:
    vault.set("db", "canary")

    async with backend_of(vault) as backend:
        document = await backend.read(DB)

    assert [document.values[document.key(wanted)] for wanted in ("", "password", "value")] == ["canary"] * 3


async def test_newest_version_is_read_unless_one_is_named(vault: KeyVaultState) -> None:
    first, second = vault.set("db", "one"), vault.set("db", "two")

    async with backend_of(vault) as backend:
        newest = await backend.read(DB)
        pinned = await backend.read(Source("db", first))

    assert (newest.values, newest.version) == ({"": "two"}, second)
    assert (pinned.values, pinned.version) == ({"": "one"}, first)


@pytest.mark.parametrize("content_type", ["application/x-pem-file", "application/x-pkcs12"])
async def test_secret_of_a_certificate_is_passed_on_as_it_is(vault: KeyVaultState, content_type: str) -> None:
    vault.set("tls", "-----BEGIN PRIVATE KEY-----\r\nx\n", content_type=content_type)

    async with backend_of(vault) as backend:
        document = await backend.read(Source("tls"))

    assert document.values == {"": "-----BEGIN PRIVATE KEY-----\r\nx\n"}


async def test_path_is_judged_before_anything_is_asked(vault: KeyVaultState) -> None:
    async with backend_of(vault) as backend:
        for source in (Source("a/b"), Source("../keys/a"), Source(""), Source("db", "1")):
            with pytest.raises(SourceMalformed):
                await backend.read(source)

    assert vault.requests == []


async def test_no_request_is_sent_before_the_retry_after_of_a_vault(vault: KeyVaultState) -> None:
    vault.set("db", "canary")
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics) as backend:
        vault.fault = answering(failure(429, "Throttled", headers={"Retry-After": "1"}))
        errors: list[Unavailable] = []
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await backend.read(DB)
            errors.append(caught.value)
        with pytest.raises(Unavailable):
            await backend.markers(Folder(""))
        vault.fault = None
        asked = len(vault.requests)
        await trio.sleep(1.0)
        await backend.read(DB)

    assert [str(error) for error in errors] == [
        f"Key Vault {vault.url} is throttled: fewer requests are let through"
    ] * 3
    assert [error.retry_after is not None and 0 < error.retry_after <= 1 for error in errors] == [True] * 3
    assert len(vault.requests) == asked + 1
    assert metrics.requests == [("read", "429"), ("read", "200")]


async def test_reads_that_wait_for_a_thread_are_not_sent_after_a_429(vault: KeyVaultState) -> None:
    vault.set("db", "canary")
    async with backend_of(vault) as backend:
        await backend.read(DB)
        asked = len(vault.requests)
        vault.fault = answering(failure(429, "Throttled", headers={"Retry-After": "100"}))
        async with trio.open_nursery() as nursery:
            for _ in range(3 * client.MAX_THREADS):
                nursery.start_soon(refused, backend)

    assert len(vault.requests) - asked <= client.MAX_THREADS


async def test_listing_stops_at_the_page_after_a_429(vault: KeyVaultState) -> None:
    for number in range(3 * client.PAGE_SIZE):
        vault.set(f"s{number}", "v")
    pages: list[str] = []

    async with backend_of(vault) as backend:
        await backend.read(Source("s0"))
        reached, throttled = Event(), Event()

        def throttle(request: Request) -> Response | None:
            if request.path != "/secrets":
                return failure(429, "Throttled", headers={"Retry-After": "100"})
            pages.append(request.path)
            reached.set()
            throttled.wait(timeout=20)
            return None

        vault.fault = throttle
        async with trio.open_nursery() as nursery:
            nursery.start_soon(not_listed, backend)
            await trio.to_thread.run_sync(reached.wait)
            await refused(backend)
            throttled.set()

    assert len(pages) == 1


async def refused(backend: AzureBackend) -> None:
    with pytest.raises(RateLimited):
        await backend.read(DB)


async def not_listed(backend: AzureBackend) -> None:
    with pytest.raises(RateLimited):
        await backend.markers(Folder(""))


async def test_read_that_is_cancelled_leaves_the_backend_usable(vault: KeyVaultState) -> None:
    released = Event()
    vault.set("db", "canary")
    async with backend_of(vault) as backend:
        await backend.read(DB)
        vault.fault = waiting_for(released)
        for _ in range(client.MAX_THREADS - 1):
            with trio.move_on_after(0.01) as scope:
                await backend.read(DB)
            assert scope.cancelled_caught
        vault.fault = None
        document = await backend.read(DB)
        released.set()

    assert document.values == {"": "canary"}


async def test_no_more_requests_are_under_way_than_there_are_threads(vault: KeyVaultState) -> None:
    released, full, loop = Event(), trio.Event(), trio.lowlevel.current_trio_token()
    under_way: list[Request] = []
    counts: list[int] = []

    def hold(request: Request) -> None:
        under_way.append(request)
        counts.append(len(under_way))
        if len(under_way) == client.MAX_THREADS:
            loop.run_sync_soon(full.set)
        released.wait(timeout=20)
        under_way.remove(request)

    vault.set("db", "canary")
    async with backend_of(vault) as backend:
        await backend.read(DB)
        vault.fault = hold
        async with trio.open_nursery() as nursery:
            for _ in range(3 * client.MAX_THREADS):
                nursery.start_soon(backend.read, DB)
            await full.wait()
            released.set()

    assert (len(counts), max(counts)) == (3 * client.MAX_THREADS, client.MAX_THREADS)


async def test_upkeep_starts_at_once_and_asks_for_nothing(vault: KeyVaultState) -> None:
    async with backend_of(vault) as backend, trio.open_nursery() as nursery:
        await nursery.start(backend.maintain)
        nursery.cancel_scope.cancel()

    assert vault.requests == []


async def test_reprs_show_no_value(vault: KeyVaultState) -> None:
    vault.principals["app"] = "canary"
    config = AzureConfig(client_secret="canary", client_id="app", tenant_id="t")
    async with backend_of(vault, config=config) as backend:
        assert repr(backend) == f"AzureBackend(KeyVaultClient(Key Vault {vault.url}, Credential(service principal)))"

    assert "canary" not in repr(config)
    assert repr(Document(values={"": "canary"}, marker="m", keyless=True)) == "Document(version=None, 1 values)"
