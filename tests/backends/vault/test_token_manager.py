"""The lifecycle of a token in virtual time, from login to revocation."""

import math

import httpx
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import Login
from secrets_manager.backends.vault.token import Token
from secrets_manager.backends.vault.token_manager import TokenManager
from tests.backends.vault.harness import Timed, gaps_of, keep_for, token_manager_of
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import Request, Response, VaultState

HOUR = 3600.0
LOGIN = "auth/approle/login"


@pytest.fixture
def vault() -> VaultState:
    return VaultState()


def down(request: Request) -> None:
    raise httpx.ConnectError("connection refused")


class TestFirstLogin:
    async def test_many_who_wait_for_a_token_make_one_login(self, vault: VaultState) -> None:
        tokens: list[Token] = []

        async def take(token_manager: TokenManager) -> None:
            tokens.append(await token_manager.token())

        async with token_manager_of(vault, vault.approle("app")) as token_manager, trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(take, token_manager)

        assert len({token.secret for token in tokens}) == 1
        assert vault.count("POST", LOGIN) == 1

    async def test_one_who_gives_up_waiting_leaves_it_to_the_others(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        vault.delay = lambda _: 2
        async with token_manager_of(vault, vault.approle("app")) as token_manager, trio.open_nursery() as nursery:

            async def impatient() -> None:
                with trio.move_on_after(1):
                    await token_manager.token()

            nursery.start_soon(impatient)
            await trio.testing.wait_all_tasks_blocked()
            token = await token_manager.token()

        assert token.secret in vault.tokens.alive()

    async def test_token_that_has_expired_is_valid_for_no_one(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        async with token_manager_of(vault, vault.approle("app", token_ttl=60)) as token_manager:
            expired = await token_manager.token()
            assert token_manager.login == Login(True, expired.expires_at)
            await trio.sleep(60)
            assert token_manager.login == Login(False, -math.inf)
            token = await token_manager.token()

        assert token.secret != expired.secret
        assert token.secret in vault.tokens.alive()

    async def test_manager_logs_in_without_reads(self, vault: VaultState, autojump_clock: MockClock) -> None:
        async with token_manager_of(vault, vault.approle("app", token_ttl=3600)) as token_manager:
            await keep_for(token_manager, 1)

        assert vault.tokens.logins == 1

    async def test_metric_shows_the_ttl_at_each_moment(self, vault: VaultState, autojump_clock: MockClock) -> None:
        metrics = RecordedMetrics()

        async with (
            token_manager_of(vault, vault.approle("app", token_ttl=3600), metrics) as token_manager,
            trio.open_nursery() as nursery,
        ):
            shown = [metrics.token_ttl()]
            nursery.start_soon(token_manager.keep_valid)
            for _ in range(3):
                await trio.sleep(4)
                shown.append(metrics.token_ttl())
            nursery.cancel_scope.cancel()

        assert shown == [0.0, 3596.0, 3592.0, 3588.0]


class TestRenewal:
    async def test_long_token_is_renewed_at_two_thirds_of_its_time(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_ttl=3600)) as token_manager:
            await keep_for(token_manager, 2 * HOUR)

        assert timed.renewals == [2400.0, 4800.0, 7200.0][: len(timed.renewals)]
        assert len(timed.renewals) >= 2
        assert timed.logins == [0.0]

    async def test_renewal_shows_as_a_lookup_does_that_the_token_is_valid(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)

        async with (
            token_manager_of(vault, vault.approle("app", token_period=120)) as token_manager,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(token_manager.keep_valid)
            await trio.sleep(16)
            token = await token_manager.token()
            other = await token_manager.replacement(token, refused_at=trio.current_time(), by_policy=True)
            nursery.cancel_scope.cancel()

        assert (timed.renewals, timed.lookups) == ([15.0], [])
        assert other is None

    async def test_requests_are_counted_by_their_operations(self, vault: VaultState, autojump_clock: MockClock) -> None:
        metrics = RecordedMetrics()

        async with token_manager_of(vault, vault.approle("app", token_ttl=900), metrics) as token_manager:
            await keep_for(token_manager, 610)

        assert list(dict.fromkeys(metrics.requests)) == [
            ("login", "200"),
            ("lookup-self", "200"),
            ("renew-self", "200"),
            ("revoke-self", "204"),
        ]

    async def test_renewal_asks_for_the_increment_but_never_for_less_than_the_token_had(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        for ttl, increment in ((100, 600.0), (3600, 600.0)):
            async with token_manager_of(
                vault, vault.approle("app", token_ttl=ttl), renew_ttl_increment=increment
            ) as token_manager:
                await keep_for(token_manager, HOUR)

        asked = [request.body["increment"] for request in vault.requests if request.path == "auth/token/renew-self"]
        assert (asked[0], asked[-1]) == (600, 3600)

    async def test_token_with_less_than_max_token_ttl_is_renewed_at_each_polling_period_and_no_more(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_period=120)) as token_manager:
            await keep_for(token_manager, 61)

        assert timed.renewals == [15.0, 30.0, 45.0, 60.0]

    async def test_token_that_would_expire_before_the_next_poll_is_polled_earlier(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_period=9)) as token_manager:
            await keep_for(token_manager, 20)

        assert timed.renewals == [6.0, 12.0, 18.0]
        assert timed.logins == [0.0]

    async def test_near_its_max_ttl_the_token_is_replaced_while_it_still_works(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        credentials = vault.approle("app", token_ttl=60, token_max_ttl=100)

        async with token_manager_of(vault, credentials) as token_manager:
            gaps = await gaps_of(token_manager, vault, seconds=1000)

        assert gaps == 0
        assert 10 <= vault.tokens.logins <= 20

    async def test_batch_token_is_replaced_at_two_thirds_of_its_time(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed, metrics = Timed(vault), RecordedMetrics()

        async with token_manager_of(
            vault, vault.approle("app", token_ttl=90, token_type="batch"), metrics
        ) as token_manager:
            await keep_for(token_manager, 130)

        assert timed.logins == [0.0, 60.0, 120.0]
        assert timed.renewals == []
        assert metrics.renewal_errors == []

    async def test_refused_renewal_leads_to_a_login_while_the_token_still_works(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        def refuse(request: Request) -> Response | None:
            return Response(403, b'{"errors":["permission denied"]}') if "renew" in request.path else None

        vault.fault = refuse
        timed, metrics = Timed(vault), RecordedMetrics()

        async with token_manager_of(vault, vault.approle("app", token_ttl=90), metrics) as token_manager:
            gaps = await gaps_of(token_manager, vault, seconds=100)

        assert gaps == 0
        assert timed.logins == [0.0, 60.0]
        assert metrics.renewal_errors == [("renew-self", "refused")] * 2

    async def test_renewal_that_something_else_than_a_vault_answers_is_repeated_while_there_is_time_and_said(
        self, vault: VaultState, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        vault.fault = lambda request: Response(200, b"{}") if "renew" in request.path else None
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_ttl=90)) as token_manager:
            await keep_for(token_manager, 59)

        assert len(timed.renewals) >= 2
        assert timed.logins == [0.0]
        assert {record.__dict__["fields"]["error"] for record in caplog.records if record.levelname == "WARNING"} == {
            "the response to renew-self is malformed: does vault.url name a Vault?"
        }

    async def test_renewal_that_fails_with_the_server_leads_to_a_login_in_the_last_third(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        """As it does when the role was deleted and recreated: Vault answers 500 until the token ends."""

        def fail(request: Request) -> Response | None:
            return Response(500, b'{"errors":["no such role"]}') if "renew" in request.path else None

        vault.fault = fail
        timed, metrics = Timed(vault), RecordedMetrics()

        async with token_manager_of(vault, vault.approle("app", token_ttl=30), metrics) as token_manager:
            gaps = await gaps_of(token_manager, vault, seconds=100)

        assert gaps == 0
        assert [int(time) for time in timed.logins] == [0, 20, 40, 60, 80]
        assert set(metrics.renewal_errors) == {("renew-self", "Unavailable")}

    async def test_token_that_was_replaced_is_revoked(self, vault: VaultState, autojump_clock: MockClock) -> None:
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_ttl=60, token_max_ttl=100)) as token_manager:
            await keep_for(token_manager, 95)
            alive = vault.tokens.alive()

        assert timed.revocations == [*timed.logins[1:], 95.0]
        assert len(timed.logins) >= 2
        assert alive == []

    @pytest.mark.parametrize("uses", [1, 2])
    async def test_token_of_limited_uses_is_not_looked_up(
        self, uses: int, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_num_uses=uses)) as token_manager:
            await keep_for(token_manager, 1000)

        assert (timed.logins, timed.lookups) == ([0.0], [])

    async def test_token_without_lookup_self_is_kept_by_its_granted_ttl(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)

        async with token_manager_of(vault, vault.approle("app", token_ttl=900, default_policy=False)) as token_manager:
            await keep_for(token_manager, 1500)

        assert timed.logins == [0.0, 600.0, 1200.0]

    async def test_no_polling_period_makes_a_busy_loop(self, vault: VaultState, autojump_clock: MockClock) -> None:
        async with token_manager_of(vault, vault.approle("app", token_ttl=1), token_polling_period=0) as token_manager:
            await keep_for(token_manager, 60)

        assert len(vault.requests) <= 60 * 2 * 3


class TestFarewell:
    async def test_token_is_revoked_when_the_manager_stops(self, vault: VaultState, autojump_clock: MockClock) -> None:
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            await keep_for(token_manager, 5)

        assert vault.tokens.alive() == []

    @pytest.mark.parametrize("asks", ["reader", "token_manager"])
    async def test_token_that_was_on_its_way_is_revoked(
        self, asks: str, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        vault.delay_of_answer = lambda request: 0.5 if request.path == LOGIN else 0
        timed = Timed(vault)
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            if asks == "reader":
                with trio.move_on_after(0.2):
                    await token_manager.token()
            await keep_for(token_manager, 0.2)

        assert len(timed.logins) == 1
        assert vault.tokens.alive() == []

    async def test_token_of_other_policies_that_was_on_its_way_is_revoked(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        timed = Timed(vault)
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            token = await token_manager.token()
            await trio.sleep(120)
            vault.delay_of_answer = lambda request: 0.5 if request.path == LOGIN else 0
            with trio.move_on_after(0.2):
                await token_manager.replacement(token, refused_at=trio.current_time(), by_policy=True)
            await keep_for(token_manager, 1)

        assert len(timed.logins) == 2
        assert vault.tokens.alive() == []

    async def test_silent_vault_holds_up_the_stop_for_one_second_at_most(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        vault.delay = lambda request: math.inf if request.path.endswith("revoke-self") else 0
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            started = trio.current_time()
            await keep_for(token_manager, 5)

        assert trio.current_time() - started == pytest.approx(6.0)

    async def test_silent_vault_holds_up_a_stop_before_the_first_login_for_one_second_at_most(
        self, vault: VaultState, autojump_clock: MockClock
    ) -> None:
        vault.delay = lambda _: math.inf
        async with token_manager_of(vault, vault.approle("app")) as token_manager:
            started = trio.current_time()
            await keep_for(token_manager, 2)

        assert trio.current_time() - started == pytest.approx(3.0)
