"""What becomes of the token, and of those who wait for one, when Vault is down or refuses."""

from functools import partial

import httpx
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import Unavailable
from secrets_manager.backends.vault.keeper import TokenKeeper
from secrets_manager.backends.vault.token import Token
from tests.backends.vault.recorded import RecordedMetrics
from tests.backends.vault.stand import Timed, keeper_of
from tests.doubles.vault import Request, Response, VaultState

HOUR = 3600.0
LOGIN = "auth/approle/login"


@pytest.fixture
def vault() -> VaultState:
    return VaultState()


async def successor(keeper: TokenKeeper, refused: Token, *, by_policy: bool = False) -> Token | None:
    """As a read asks that was refused just now."""
    return await keeper.successor(refused, refused_at=trio.current_time(), by_policy=by_policy)


def down(request: Request) -> None:
    raise httpx.ConnectError("connection refused")


class TestOutage:
    async def test_keeper_starts_without_vault_and_logs_in_once_it_is_there(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        metrics = RecordedMetrics()
        vault.fault = down

        async with keeper_of(vault, vault.approle("app"), metrics) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep_token_valid)
            await trio.sleep(120)
            attempts = len(metrics.login_errors)
            vault.fault = None
            await trio.sleep(15)
            logins = vault.tokens.logins
            nursery.cancel_scope.cancel()

        assert 8 <= attempts <= 20
        assert logins == 1

    async def test_until_the_backoff_is_over_readers_get_the_failure_without_a_request(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials = vault.approle("app")
        vault.revoke_secret_id(credentials)
        texts: set[str] = set()

        async with keeper_of(vault, credentials) as keeper:
            for _ in range(100):
                with pytest.raises(Unavailable) as caught:
                    await keeper.token()
                texts.add(str(caught.value))

            refused = vault.count("POST", LOGIN)
            vault.allow_secret_id(credentials)
            await trio.sleep(1)
            token = await keeper.token()

        assert refused == 1
        assert len(texts) == 1
        assert "invalid role or secret ID" in texts.pop()
        assert token.secret in vault.tokens.alive()

    async def test_vault_that_asks_for_patience_gets_it(self, vault: VaultState, autojump_clock: MockClock) -> None:
        def throttle(request: Request) -> Response:
            return Response(429, b'{"errors":["rate limit quota exceeded"]}', {"Retry-After": "12"})

        credentials = vault.approle("app")
        async with keeper_of(vault, credentials) as keeper:
            vault.fault = throttle
            with pytest.raises(Unavailable) as caught:
                await keeper.token()
            vault.fault = None
            await trio.sleep(11.9)
            with pytest.raises(Unavailable):
                await keeper.token()
            await trio.sleep(0.1)
            await keeper.token()

        assert caught.value.retry_after == 12.0

    async def test_token_outlives_an_outage_shorter_than_what_is_left_of_it(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with keeper_of(vault, vault.approle("app", token_ttl=900)) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep_token_valid)
            await trio.sleep(590)
            vault.fault = down
            await trio.sleep(300)
            token = await keeper.token()
            vault.fault = None
            await trio.sleep(9)
            logins = vault.tokens.logins
            alive = (await keeper.token()).secret in vault.tokens.alive()
            nursery.cancel_scope.cancel()

        assert token.left(trio.current_time()) < 20
        assert alive
        assert logins <= 2

    async def test_token_revoked_by_somebody_is_replaced_at_the_next_poll(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed, metrics = Timed(vault), RecordedMetrics()

        async with keeper_of(vault, vault.approle("app"), metrics) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep_token_valid)
            await trio.sleep(20)
            vault.revoke_token((await keeper.token()).secret)
            await trio.sleep(20)
            nursery.cancel_scope.cancel()

        assert timed.logins == [0.0, 30.0]
        assert metrics.renewal_errors == [("lookup-self", "refused")]

    async def test_refused_logins_stay_few_while_the_old_token_still_works(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials = vault.approle("app", token_ttl=900, token_type="batch")
        timed = Timed(vault)

        async with keeper_of(vault, credentials) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep_token_valid)
            await trio.sleep(1)
            vault.revoke_secret_id(credentials)
            await trio.sleep(880)
            token = await keeper.token()
            nursery.cancel_scope.cancel()

        assert token.secret == "b.canary-token-0001"
        assert 300 / 15 <= len(timed.logins) <= 300 / 7.5 + 5

    async def test_dead_token_is_forgotten_though_there_is_no_new_one(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials, metrics = vault.approle("app"), RecordedMetrics()

        async with keeper_of(vault, credentials, metrics) as keeper, trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep_token_valid)
            await trio.sleep(1)
            vault.revoke_secret_id(credentials)
            vault.revoke_token((await keeper.token()).secret)
            await trio.sleep(20)
            with pytest.raises(Unavailable, match="the AppRole login was refused"):
                await keeper.token()
            nursery.cancel_scope.cancel()

        assert metrics.ttls[-1] == 0.0


class TestRefusedRead:
    async def test_many_reads_with_a_dead_token_make_one_lookup_and_one_login(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        successors: list[Token | None] = []

        async with keeper_of(vault, vault.approle("app")) as keeper:
            dead = await keeper.token()
            await trio.sleep(10)
            vault.revoke_token(dead.secret)

            async def ask() -> None:
                successors.append(await successor(keeper, dead))

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask)

            assert {successor and successor.secret for successor in successors} == {(await keeper.token()).secret}
        assert vault.count("GET", "auth/token/lookup-self") == 1
        assert vault.tokens.logins == 2

    async def test_live_token_has_no_successor_and_is_not_looked_at_for_each_read(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with keeper_of(vault, vault.approle("app")) as keeper:
            token = await keeper.token()
            successors = []
            for _ in range(100):
                await trio.sleep(0.2)
                successors.append(await successor(keeper, token, by_policy=True))

        assert successors == [None] * 100
        assert 3 <= vault.count("GET", "auth/token/lookup-self") <= 4
        assert vault.tokens.logins == 1

    async def test_token_that_dies_as_soon_as_it_was_seen_alive_is_replaced_at_once(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with keeper_of(vault, vault.approle("app")) as keeper:
            dead = await keeper.token()
            alive = await successor(keeper, dead)
            await trio.sleep(1)
            vault.revoke_token(dead.secret)
            token = await successor(keeper, dead)

        assert alive is None
        assert token
        assert token.secret != dead.secret

    async def test_reads_that_were_refused_before_the_token_was_seen_alive_make_no_more_looks(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        """However strange Vault's words are for what a policy forbids."""
        vault.delay = lambda _: 0.1
        async with keeper_of(vault, vault.approle("app")) as keeper:
            token = await keeper.token()
            await trio.sleep(10)
            refused_at = trio.current_time()
            await trio.sleep(0.1)
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(partial(keeper.successor, token, refused_at=refused_at, by_policy=False))

        assert vault.count("GET", "auth/token/lookup-self") == 1

    async def test_who_was_refused_with_an_older_token_gets_the_present_one(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with keeper_of(vault, vault.approle("app")) as keeper:
            dead = await keeper.token()
            await trio.sleep(10)
            vault.revoke_token(dead.secret)
            first, second = await successor(keeper, dead), await successor(keeper, dead)

        assert first == second != dead
        assert vault.tokens.logins == 2

    async def test_token_that_a_reader_got_is_kept_too_however_short_it_lives(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials = vault.approle("app")
        timed = Timed(vault)

        async with (
            keeper_of(vault, credentials, token_polling_period=120) as keeper,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(keeper.keep_token_valid)
            await trio.sleep(10)
            dead = await keeper.token()
            vault.revoke_token(dead.secret)
            vault.change_token_ttl(credentials, 6)
            await successor(keeper, dead)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()

        assert timed.logins == [0.0, 10.0]
        assert timed.renewals == [10.0]

    async def test_lookups_that_fail_stay_few_too(self, vault: VaultState, autojump_clock: MockClock) -> None:
        def fail(request: Request) -> Response | None:
            return Response(500) if request.path == "auth/token/lookup-self" else None

        async with keeper_of(vault, vault.approle("app")) as keeper:
            token = await keeper.token()
            await trio.sleep(10)
            vault.fault = fail
            for _ in range(100):
                with pytest.raises(Unavailable, match="Vault failed to answer"):
                    await successor(keeper, token)

        assert vault.count("GET", "auth/token/lookup-self") == 1
