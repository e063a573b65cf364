"""Deadlines: whatever Vault does, a read ends within two timeouts and the grace of a login."""

import math
import os
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Folder,
    LoginRefused,
    NotListable,
    Source,
    SourceForbidden,
    TimedOut,
)
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import FileCredential, StaticCredential
from secrets_manager.backends.vault.backend import VaultBackend, open_vault
from secrets_manager.backends.vault.client import open_vault_client
from secrets_manager.backends.vault.token_manager import SHUTDOWN_GRACE, TokenManager
from secrets_manager.config import VaultConfig
from tests.backends.vault.harness import backend_of
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import Request, VaultState, VaultTransport

PATH = "secret/data/app"
TIMEOUT = VaultConfig().timeout
SLOW = TIMEOUT - 0.1
MAX_WAIT = 2 * TIMEOUT + SHUTDOWN_GRACE
READS = 20


async def results_of(backend: VaultBackend, reads: int = READS) -> list[tuple[Document | BackendError, float]]:
    """What each of so many reads at a time brought, and after how many seconds."""
    found: list[tuple[Document | BackendError, float]] = []
    began = trio.current_time()

    async def read() -> None:
        result: Document | BackendError
        try:
            result = await backend.read(Source(PATH))
        except BackendError as error:
            result = error
        found.append((result, trio.current_time() - began))

    async with trio.open_nursery() as nursery:
        for _ in range(reads):
            nursery.start_soon(read)
    return found


@pytest.fixture
def vault() -> VaultState:
    state = VaultState()
    state.write_kv(PATH, {"password": "canary"})
    return state


async def test_reads_with_an_invalid_token_and_a_slow_vault(vault: VaultState, autojump_clock: MockClock) -> None:
    """The refusal, the lookup, the login and the second read would take four timeouts."""
    async with backend_of(vault, vault.reader(PATH)) as backend:
        await backend.read(Source(PATH))
        await trio.sleep(10)
        vault.revoke_token(*vault.tokens.alive())
        vault.delay = lambda _: SLOW
        first = await results_of(backend)
        second = await results_of(backend)

    assert max(seconds for _, seconds in first + second) <= MAX_WAIT
    assert {str(result) for result, _ in first} == {
        f"Vault at {vault.url} did not answer in time, with a login that was needed"
    }
    assert all(isinstance(result, TimedOut) and result.store == str(result) for result, _ in first)
    assert all(isinstance(result, Document) for result, _ in second)


@pytest.mark.parametrize("silent", ["auth/", "secret/", ""])
async def test_vault_that_says_nothing(vault: VaultState, autojump_clock: MockClock, silent: str) -> None:
    vault.delay = lambda request: math.inf if request.path.startswith(silent) else SLOW
    async with backend_of(vault, vault.reader(PATH)) as backend:
        for _ in range(3):
            found = await results_of(backend)
            assert all(isinstance(result, TimedOut) for result, _ in found)
            assert max(seconds for _, seconds in found) <= MAX_WAIT


async def test_reads_while_the_upkeep_of_the_token_is_slow(vault: VaultState, autojump_clock: MockClock) -> None:
    """The upkeep is under way with a request about the token at most times, and holds the lock."""
    credentials = vault.reader(PATH)
    vault.change_token_ttl(credentials, 1)
    vault.delay = lambda request: SLOW if request.path.startswith("auth/") else 0.0
    async with backend_of(vault, credentials) as backend, trio.open_nursery() as nursery:
        await nursery.start(backend.maintain)
        for _ in range(20):
            assert max(seconds for _, seconds in await results_of(backend, 5)) <= MAX_WAIT
            await trio.sleep(1.7)
        nursery.cancel_scope.cancel()


async def test_page_of_a_listing_is_bounded_as_a_read_is(vault: VaultState, autojump_clock: MockClock) -> None:
    async with backend_of(vault, vault.reader(PATH, "secret/detailed-metadata/*")) as backend:
        await backend.read(Source(PATH))
        await trio.sleep(10)
        vault.revoke_token(*vault.tokens.alive())
        vault.delay = lambda _: SLOW
        began = trio.current_time()
        with pytest.raises((TimedOut, NotListable)):
            await backend.markers(Folder("secret/data"))

        assert trio.current_time() - began <= MAX_WAIT


async def test_login_that_a_read_did_not_wait_for_serves_the_next_one(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    vault.delay = lambda request: SLOW if request.path != PATH else 0.0
    async with backend_of(vault, vault.reader(PATH)) as backend:
        with trio.move_on_after(SLOW - SHUTDOWN_GRACE / 2):
            await backend.read(Source(PATH))
        began = trio.current_time()
        await backend.read(Source(PATH))

    assert trio.current_time() == began
    assert vault.tokens.logins == 1


async def test_file_whose_end_never_comes_ends_the_login_and_no_other_wait(
    vault: VaultState, tmp_path: Path, autojump_clock: MockClock
) -> None:
    pipe = tmp_path / "secret-id"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    auth = AppRole(
        mount="approle", role_id=StaticCredential("r"), secret_id=FileCredential(str(pipe), "is it mounted?")
    )
    config = VaultConfig(url=vault.url)
    async with open_vault_client(config, transport=VaultTransport(vault)) as client:
        token_manager = TokenManager(client, auth, config, RecordedMetrics(), random=Random(0))
        for _ in range(60):
            began = trio.current_time()
            with pytest.raises(LoginRefused):
                await token_manager.token()
            assert trio.current_time() - began <= TIMEOUT
            await trio.sleep(15)

        assert await trio.to_thread.run_sync(lambda: "another thread") == "another thread"
    os.close(writer)  # lets the thread go that was left behind


async def test_secret_id_that_is_just_being_unwrapped_is_not_lost_when_the_read_ends(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    """To unwrap it a second time is impossible."""
    name = vault.fresh("role")
    credentials = vault.approle(name)
    wrapping = vault.wrapped_secret_id(name)
    config = VaultConfig(url=vault.url, role_id=credentials.role_id, secret_id=wrapping, secret_id_wrapped=True)

    def delay(request: Request) -> float:
        return 4.0 if request.path == "sys/wrapping/unwrap" else 0.0

    vault.delay_of_answer = delay
    async with open_vault(config, RecordedMetrics(), transport=VaultTransport(vault)) as backend:
        with trio.move_on_after(1.0):
            await backend.read(Source(PATH))
        vault.delay_of_answer = lambda _: 0.0
        with pytest.raises(SourceForbidden):
            await backend.read(Source(PATH))

    assert vault.tokens.logins == 1
