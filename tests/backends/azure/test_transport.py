"""The network below the SDK: its limits, its trust, and its proxies."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.azure import client
from secrets_manager.backends.azure.backend import AzureBackend, open_azure
from secrets_manager.backends.azure.errors import MAX_BODY
from secrets_manager.backends.base import (
    BackendError,
    Document,
    Folder,
    NotListable,
    Source,
    SourceTooLarge,
    TimedOut,
    Unavailable,
    Unreachable,
)
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError
from tests.backends.azure.harness import RecordedMetrics, answering, backend_of, error_of
from tests.doubles.key_vault import TENANT, Fault, KeyVaultState, Request, Response
from tests.kube.certificates import Authority

DB = Source("db")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = HEAD + b'Content-Length: 1000000000000\r\n\r\n{"value":"'


@dataclass
class Endless:
    """A response without an end: `start`, and then `piece` again and again, each after `pause` seconds."""

    start: bytes
    piece: bytes
    pause: float
    closed: Event = field(default_factory=Event)
    """Set once the client has closed a connection."""
    sent: int = 0

    def response(self) -> Response:
        return Response(0, pieces=self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        try:
            yield self.start
            while True:
                self.sent += len(self.piece)
                yield self.piece
                self.closed.wait(self.pause)
        finally:
            self.closed.set()


def instead_of(wanted: Callable[[Request], bool], endless: Endless) -> Fault:
    return lambda request: endless.response() if wanted(request) else None


def is_read(request: Request) -> bool:
    return bool(request.token)


def is_login(request: Request) -> bool:
    return request.is_login


def is_challenge(request: Request) -> bool:
    return not request.is_login and not request.token


async def failure_of(backend: AzureBackend, errors: list[BackendError]) -> None:
    with pytest.raises(BackendError) as caught:
        await backend.read(DB)
    errors.append(caught.value)


async def read_in_the_end(backend: AzureBackend) -> Document:
    while True:
        with suppress(TimedOut):
            return await backend.read(DB)
        await trio.sleep(0.05)


async def closed(endless: Endless) -> None:
    await trio.to_thread.run_sync(endless.closed.wait)


@pytest.mark.parametrize("wanted", [is_challenge, is_login, is_read])
@pytest.mark.parametrize("start", [HEAD + b"X: ", BODY], ids=["head", "body"])
async def test_no_thread_waits_for_a_response_that_drips(
    vault: KeyVaultState, wanted: Callable[[Request], bool], start: bytes
) -> None:
    vault.set("db", "canary")
    dripping = Endless(start, b"x", pause=0.01)
    errors: list[BackendError] = []

    async with backend_of(vault, config=AzureConfig(timeout=0.2)) as backend:
        vault.fault = instead_of(wanted, dripping)
        async with trio.open_nursery() as nursery:
            for _ in range(2 * client.MAX_THREADS):
                nursery.start_soon(failure_of, backend, errors)
        assert backend._client._limiter.borrowed_tokens == 0
    await closed(dripping)

    assert {type(error) for error in errors} == {TimedOut}


@pytest.mark.parametrize("wanted", [is_login, is_read])
async def test_vault_that_is_well_again_is_read_though_its_old_responses_would_drip_for_ever(
    vault: KeyVaultState, wanted: Callable[[Request], bool]
) -> None:
    vault.set("db", "canary")
    errors: list[BackendError] = []

    async with backend_of(vault, config=AzureConfig(timeout=0.2)) as backend:
        vault.fault = instead_of(wanted, Endless(BODY, b"x", pause=0.01))
        async with trio.open_nursery() as nursery:
            for _ in range(client.MAX_THREADS):
                nursery.start_soon(failure_of, backend, errors)
        vault.fault = None
        document = await read_in_the_end(backend)

    assert document.values == {"": "canary"}


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        (is_read, SourceTooLarge, "path 'db': the response is larger than 1 MiB: correct azure-kv.url"),
        (
            is_login,
            Unavailable,
            (
                "login to Azure as managed identity (system-assigned): its endpoint sent a malformed response: "
                "does azure-kv.url name a Key Vault?"
            ),
        ),
    ],
)
async def test_response_without_end_is_cut_off_at_the_largest_size(
    vault: KeyVaultState, wanted: Callable[[Request], bool], kind: type[BackendError], message: str
) -> None:
    flood = Endless(BODY, b"x" * 65536, pause=0)
    vault.fault = instead_of(wanted, flood)

    error = await error_of(vault, DB, AzureConfig(timeout=60))
    await closed(flood)

    assert (type(error), str(error)) == (kind, message)
    assert MAX_BODY < flood.sent < 32 * MAX_BODY  # the sockets of both sides hold some of it


async def test_listing_without_end_is_cut_off_at_the_largest_size(vault: KeyVaultState) -> None:
    flood = Endless(BODY, b"x" * 65536, pause=0)
    vault.fault = instead_of(is_read, flood)

    async with backend_of(vault) as backend:
        with pytest.raises(NotListable, match=r"sent a page that is larger than 1 MiB$"):
            await backend.markers(Folder(""))
    await closed(flood)


@pytest.mark.parametrize("wanted", [is_login, is_read])
async def test_read_that_is_cancelled_ends_its_request_and_its_thread(
    vault: KeyVaultState, wanted: Callable[[Request], bool]
) -> None:
    reached = Event()
    dripping = Endless(BODY, b"x", pause=0.01)

    def drip(request: Request) -> Response | None:
        if not wanted(request):
            return None
        reached.set()
        return dripping.response()

    vault.fault = drip
    async with backend_of(vault) as backend:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.read, DB)
            await trio.to_thread.run_sync(reached.wait)
            nursery.cancel_scope.cancel()
        await closed(dripping)
        assert backend._client._limiter.borrowed_tokens == 0


async def test_read_is_given_up_once_its_requests_took_too_long_together(
    vault: KeyVaultState, mock_clock: MockClock
) -> None:
    """None of them takes longer than it may."""
    vault.principals["app"] = "s"
    token, given_up = trio.lowlevel.current_trio_token(), Event()

    def slow(request: Request) -> None:
        trio.from_thread.run_sync(mock_clock.jump, 3500, trio_token=token)
        if request.token:
            given_up.wait(timeout=20)

    vault.fault = slow
    config = AzureConfig(timeout=3600, tenant_id=TENANT, client_id="app", client_secret="s", authority=vault.url)
    error = await error_of(vault, DB, config)
    given_up.set()

    assert type(error) is TimedOut
    assert str(error) == f"Key Vault {vault.url} did not answer in time"
    assert [request.is_login for request in vault.requests] == [False, True, True, False]


async def test_response_is_not_decompressed_since_its_size_would_not_be_what_it_seems(vault: KeyVaultState) -> None:
    secret = b'{"value": "canary", "id": "https://localhost/secrets/db/1"}'
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    vault.fault = answering(Response(200, gzip.compress(secret), headers))

    error = await error_of(vault, DB)

    assert str(error) == f"Key Vault {vault.url} sent a malformed response: does azure-kv.url name a Key Vault?"


async def test_ca_certificates_may_be_the_files_of_a_folder(
    vault: KeyVaultState, authority_of_key_vault: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("db", "canary")
    (tmp_path / "ca.crt").write_bytes(authority_of_key_vault.certificate.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))

    async with backend_of(vault) as backend:
        assert (await backend.read(DB)).values == {"": "canary"}


async def test_ca_certificates_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no PEM")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))

    with pytest.raises(UsageError, match=rf"^CA certificates for Key Vault: {bundle} can't be used"):
        async with open_azure(AzureConfig(name="shop"), RecordedMetrics()):
            pass


async def test_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://canary@proxy")

    with pytest.raises(UsageError, match=r"^HTTPS_PROXY is no address of an HTTP proxy"):
        async with open_azure(AzureConfig(name="shop"), RecordedMetrics()):
            pass


async def test_proxy_of_the_login_that_is_none(vault: KeyVaultState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://canary@proxy")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://imds.example.com")

    error = await error_of(vault, DB)

    assert type(error) is Unreachable
    assert str(error) == (
        "login to Azure as managed identity (system-assigned): its endpoint can't be reached: "
        "HTTP_PROXY is no address of an HTTP proxy: write it like http://proxy.example.com:3128"
    )


async def test_password_for_the_host_in_a_netrc_does_not_replace_the_token(
    vault: KeyVaultState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("db", "canary")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login user password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async with backend_of(vault) as backend:
        assert (await backend.read(DB)).values == {"": "canary"}
