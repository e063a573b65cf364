"""The token, and tasks that wait for one, while Vault is down or refuses."""

from functools import partial

import httpx
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import LoginRefused, Unavailable
from secrets_manager.backends.vault.token import Token
from secrets_manager.backends.vault.token_manager import REVOKED_SOON, TokenManager
from tests.backends.vault.harness import Timed, token_manager_of
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import Request, Response, VaultState

HOUR = 3600.0
LOGIN = "auth/approle/login"


@pytest.fixture
def vault() -> VaultState:
    return VaultState()


async def replacement(token_manager: TokenManager, refused: Token, *, by_policy: bool = False) -> Token | None:
    """As a read asks that was refused just now."""
    return await token_manager.replacement(refused, refused_at=trio.current_time(), by_policy=by_policy)


def down(request: Request) -> None:
    raise httpx.ConnectError("connection refused")


class TestOutage:
    async def test_manager_starts_without_vault_and_logs_in_once_it_is_up(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        metrics = RecordedMetrics()
        vault.fault = down

        async with (
            token_manager_of(vault, vault.approle("app"), metrics) as token_manager,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(token_manager.keep_valid)
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

        async with token_manager_of(vault, credentials) as token_manager:
            for _ in range(100):
                with pytest.raises(Unavailable) as caught:
                    await token_manager.token()
                texts.add(str(caught.value))

            refused = vault.count("POST", LOGIN)
            vault.allow_secret_id(credentials)
            await trio.sleep(1)
            token = await token_manager.token()

        assert refused == 1
        assert len(texts) == 1
        assert "invalid role or secret ID" in texts.pop()
        assert token.secret in vault.tokens.alive()

    async def test_a_login_waits_for_the_retry_after(self, vault: VaultState, autojump_clock: MockClock) -> None:
        def throttle(request: Request) -> Response:
            return Response(429, b'{"errors":["rate limit quota exceeded"]}', {"Retry-After": "12"})

        credentials = vault.approle("app")
        async with token_manager_of(vault, credentials) as token_manager:
            vault.fault = throttle
            with pytest.raises(Unavailable) as caught:
                await token_manager.token()
            vault.fault = None
            await trio.sleep(11.9)
            with pytest.raises(Unavailable):
                await token_manager.token()
            await trio.sleep(0.1)
            await token_manager.token()

        assert caught.value.retry_after == 12.0

    async def test_token_outlives_an_outage_shorter_than_what_is_left_of_it(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with (
            token_manager_of(vault, vault.approle("app", token_ttl=900)) as token_manager,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(token_manager.keep_valid)
            await trio.sleep(590)
            vault.fault = down
            await trio.sleep(300)
            token = await token_manager.token()
            vault.fault = None
            await trio.sleep(9)
            logins = vault.tokens.logins
            alive = (await token_manager.token()).secret in vault.tokens.alive()
            nursery.cancel_scope.cancel()

        assert token.remaining(trio.current_time()) < 20
        assert alive
        assert logins <= 2

    async def test_revoked_token_is_replaced_at_the_next_poll(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed, metrics = Timed(vault), RecordedMetrics()

        async with (
            token_manager_of(vault, vault.approle("app"), metrics) as token_manager,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(token_manager.keep_valid)
            await trio.sleep(20)
            vault.revoke_token((await token_manager.token()).secret)
            await trio.sleep(20)
            nursery.cancel_scope.cancel()

        assert timed.logins == [0.0, 30.0]
        assert metrics.renewal_errors == [("lookup-self", "refused")]

    async def test_refused_logins_stay_few_while_the_old_token_still_works(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials = vault.approle("app", token_ttl=900, token_type="batch")
        timed = Timed(vault)

        async with token_manager_of(vault, credentials) as token_manager, trio.open_nursery() as nursery:
            nursery.start_soon(token_manager.keep_valid)
            await trio.sleep(1)
            vault.revoke_secret_id(credentials)
            await trio.sleep(880)
            token = await token_manager.token()
            nursery.cancel_scope.cancel()

        assert token.secret == "b.canary-token-0001"
        assert 300 / 15 <= len(timed.logins) <= 300 / 7.5 + 5

    async def test_invalid_token_is_dropped_even_without_a_new_one(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials, metrics = vault.approle("app"), RecordedMetrics()

        async with token_manager_of(vault, credentials, metrics) as token_manager, trio.open_nursery() as nursery:
            nursery.start_soon(token_manager.keep_valid)
            await trio.sleep(1)
            vault.revoke_secret_id(credentials)
            vault.revoke_token((await token_manager.token()).secret)
            await trio.sleep(20)
            with pytest.raises(Unavailable, match="the AppRole login was refused"):
                await token_manager.token()
            assert metrics.token_ttl() == 0.0
            nursery.cancel_scope.cancel()


class TestRefusedRead:
    async def test_many_reads_with_an_invalid_token_make_one_lookup_and_one_login(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        successors: list[Token | None] = []

        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            dead = await token_manager.token()
            await trio.sleep(10)
            vault.revoke_token(dead.secret)

            async def ask() -> None:
                successors.append(await replacement(token_manager, dead))

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask)

            assert {replacement and replacement.secret for replacement in successors} == {
                (await token_manager.token()).secret
            }
        assert vault.count("GET", "auth/token/lookup-self") == 1
        assert vault.tokens.logins == 2

    async def test_valid_token_has_no_replacement_and_is_not_looked_up_for_each_read(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            token = await token_manager.token()
            successors = []
            for _ in range(100):
                await trio.sleep(0.2)
                successors.append(await replacement(token_manager, token, by_policy=True))

        assert successors == [None] * 100
        assert 3 <= vault.count("GET", "auth/token/lookup-self") <= 4
        assert vault.tokens.logins == 1

    async def test_token_revoked_right_after_a_lookup_is_replaced_at_once(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            dead = await token_manager.token()
            alive = await replacement(token_manager, dead)
            await trio.sleep(1)
            vault.revoke_token(dead.secret)
            token = await replacement(token_manager, dead)

        assert alive is None
        assert token
        assert token.secret != dead.secret

    async def test_token_whose_uses_are_used_up_is_replaced_though_the_refusal_hints_at_a_policy(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app", token_num_uses=1)) as token_manager:
            used_up = await token_manager.token()
            await replacement(token_manager, used_up, by_policy=True)  # the lookup is its only use
            token = await replacement(token_manager, used_up, by_policy=True)

        assert token
        assert token.secret != used_up.secret

    async def test_tokens_of_a_single_use_are_replaced_one_after_the_other(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app", token_num_uses=1)) as token_manager:
            used_up = await token_manager.token()
            for _ in range(5):
                vault.tokens.use(used_up.secret)
                token = await replacement(token_manager, used_up)
                assert token
                assert token.secret != used_up.secret
                used_up = token

    async def test_valid_token_and_its_successor_may_be_revoked_and_are_replaced_at_once(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            dead = await token_manager.token()
            assert await replacement(token_manager, dead) is None
            for _ in range(2):
                vault.revoke_token(dead.secret)
                token = await replacement(token_manager, dead)
                assert token
                assert token.secret != dead.secret
                dead = token

    async def test_reads_refused_before_a_successful_lookup_make_no_more_lookups(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        """However strange Vault's words are for what a policy forbids."""
        vault.delay = lambda _: 0.1
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            token = await token_manager.token()
            await trio.sleep(10)
            refused_at = trio.current_time()
            await trio.sleep(0.1)
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(
                        partial(token_manager.replacement, token, refused_at=refused_at, by_policy=False)
                    )

        assert vault.count("GET", "auth/token/lookup-self") == 1

    async def test_who_was_refused_with_an_older_token_gets_the_present_one(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            dead = await token_manager.token()
            await trio.sleep(10)
            vault.revoke_token(dead.secret)
            first, second = await replacement(token_manager, dead), await replacement(token_manager, dead)

        assert first == second != dead
        assert vault.tokens.logins == 2

    async def test_token_that_a_reader_got_is_kept_too_however_short_it_lives(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials = vault.approle("app")
        timed = Timed(vault)

        async with (
            token_manager_of(vault, credentials, token_polling_period=120) as token_manager,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(token_manager.keep_valid)
            await trio.sleep(10)
            dead = await token_manager.token()
            vault.revoke_token(dead.secret)
            vault.change_token_ttl(credentials, 6)
            await replacement(token_manager, dead)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()

        assert timed.logins == [0.0, 10.0]
        assert timed.renewals == [10.0]

    async def test_lookups_that_fail_stay_few_too(self, vault: VaultState, autojump_clock: MockClock) -> None:
        def fail(request: Request) -> Response | None:
            return Response(500) if request.path == "auth/token/lookup-self" else None

        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            token = await token_manager.token()
            await trio.sleep(10)
            vault.fault = fail
            for _ in range(100):
                with pytest.raises(Unavailable, match="Vault failed to answer"):
                    await replacement(token_manager, token)

        assert vault.count("GET", "auth/token/lookup-self") == 1

    async def test_lookup_that_something_else_than_a_vault_answers_fails_and_says_so(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            token = await token_manager.token()
            await trio.sleep(10)
            vault.fault = lambda _: Response(200, b"{}")
            with pytest.raises(Unavailable) as caught:
                await replacement(token_manager, token)

        assert str(caught.value) == "the response to lookup-self is malformed: does vault.url name a Vault?"

    async def test_five_tokens_that_vault_issues_and_refuses_are_the_last_for_a_while(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        def refuse(request: Request) -> Response | None:
            return Response(403, b'{"errors":["permission denied"]}') if request.path != LOGIN else None

        vault.fault = refuse
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            first = await token_manager.token()
            refused = first
            for _ in range(4):
                token = await replacement(token_manager, refused)
                assert token
                refused = token
            with pytest.raises(LoginRefused) as caught:
                await replacement(token_manager, refused)

        assert str(caught.value) == REVOKED_SOON
        assert vault.tokens.logins == 5

    async def test_tokens_that_are_revoked_again_and_again_cost_a_login_in_two_seconds(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        """Each is accepted before: others revoke what works, or Vault loses it."""
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            failures: set[str] = set()
            for _ in range(600):
                try:
                    token = await token_manager.token()
                    assert await replacement(token_manager, token) is None
                    vault.revoke_token(token.secret)
                    await replacement(token_manager, token)
                except LoginRefused as error:
                    failures.add(str(error))
                await trio.sleep(0.5)

        assert failures == {REVOKED_SOON}
        assert 150 <= vault.tokens.logins <= 175
