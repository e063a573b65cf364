"""A token keeps the policies of its login; changes of the role take effect at the next one."""

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import Document, Source, SourceForbidden
from secrets_manager.backends.vault.backend import VaultBackend
from tests.backends.vault.harness import Timed, backend_of
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import VaultState

HOUR = 3600
PATH, OTHER = "secret/data/app", "secret/data/other"


@pytest.fixture
def vault() -> VaultState:
    state = VaultState()
    for path in (PATH, OTHER):
        state.write_kv(path, {"k": "v"})
    state.policy("app", PATH)
    state.policy("other", OTHER)
    return state


async def read_for(backend: VaultBackend, path: str, seconds: int) -> list[int]:
    """Read it each second; returns when it was forbidden."""
    start, forbidden = trio.current_time(), list[int]()
    while trio.current_time() - start < seconds:
        try:
            await backend.read(Source(path))
        except SourceForbidden:
            forbidden.append(round(trio.current_time() - start))
        await trio.sleep(1)
    return forbidden


async def test_role_that_gets_a_policy_is_noticed_within_a_minute(vault: VaultState, autojump_clock: MockClock) -> None:
    credentials, timed = vault.approle("app", policies=("app",)), Timed(vault)

    async with backend_of(vault, credentials) as backend:
        await backend.read(Source(PATH))
        await trio.sleep(70)
        vault.change_policies("app", "app", "other")
        forbidden = await read_for(backend, OTHER, 100)

    assert forbidden == []
    assert timed.logins == [0.0, 70.0]
    assert timed.revocations == [70.0]


async def test_path_that_stays_forbidden_costs_a_login_a_minute_and_then_one_in_ten(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    credentials, timed = vault.approle("app", policies=("app",)), Timed(vault)

    async with backend_of(vault, credentials) as backend:
        first = await backend._token_manager.token()
        forbidden = await read_for(backend, OTHER, HOUR - 10)
        last = await backend._token_manager.token()

    assert len(forbidden) == HOUR - 10
    assert timed.logins[:6] == [0.0, 60.0, 120.0, 240.0, 480.0, 960.0]
    assert len(timed.logins) == 10
    assert timed.revocations == timed.logins[1:]
    assert first.secret == last.secret


async def test_path_that_is_forbidden_again_is_retried_at_once(vault: VaultState, autojump_clock: MockClock) -> None:
    credentials, timed = vault.approle("app", policies=("app",)), Timed(vault)

    async with backend_of(vault, credentials) as backend:
        await read_for(backend, OTHER, HOUR // 2)
        await trio.sleep(HOUR // 2)
        vault.change_policies("app", "app", "other")
        forbidden = await read_for(backend, OTHER, 100)

    assert forbidden == []
    assert timed.logins[-1] == HOUR


async def test_login_that_fails_leaves_the_token_at_work(vault: VaultState, autojump_clock: MockClock) -> None:
    credentials, metrics = vault.approle("app", policies=("app",)), RecordedMetrics()

    async with backend_of(vault, credentials, metrics) as backend:
        await backend.read(Source(PATH))
        vault.revoke_secret_id(credentials)
        forbidden = await read_for(backend, OTHER, 130)
        document = await backend.read(Source(PATH))

    assert len(forbidden) == 130
    assert isinstance(document, Document)
    assert metrics.login_errors == ["LoginRefused"] * 2
