"""Which requests pass the gate, and which reviews they cost."""

import gc
import logging

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.access.gate import TokenGate
from secrets_manager.access.reviews import ReviewFailed, User
from secrets_manager.server.message import Request

ACCEPTED_TTL = 60.0
REFUSED_TTL = 10.0
RETRY_INTERVAL = 1.0
UNKNOWN_BURST = 20
UNKNOWN_RATE = 5.0

PROMETHEUS, STRANGER = "canary-token-of-prometheus", "canary-token-of-a-stranger"


class ApiServer:
    """Knows two tokens, one of which has a right to one path. A review takes a tenth of a second."""

    def __init__(self) -> None:
        self.users = {PROMETHEUS: User(username="prometheus"), STRANGER: User(username="stranger")}
        self.rights = {("prometheus", "/metrics")}
        self.failure: ReviewFailed | None = None
        self.authentications: list[str] = []
        self.authorizations: list[tuple[str, str]] = []

    async def authenticate(self, token: str) -> User | None:
        self.authentications.append(token)
        await self._take_time()
        return self.users.get(token)

    async def authorize(self, user: User, path: str) -> bool:
        self.authorizations.append((user.username, path))
        await self._take_time()
        return (user.username, path) in self.rights

    async def _take_time(self) -> None:
        await trio.sleep(0.1)
        if self.failure is not None:
            raise self.failure.copy()


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def gate(api: ApiServer) -> TokenGate:
    return TokenGate(api, key=b"k" * 64)


def request(authorization: str = "", *, path: str = "/metrics") -> Request:
    return Request(path, headers=((b"authorization", authorization.encode()),) if authorization else ())


def bearing(token: str, *, path: str = "/metrics") -> Request:
    return request(f"Bearer {token}", path=path)


async def status(gate: TokenGate, request: Request) -> int:
    refusal = await gate.check(request)
    return 200 if refusal is None else refusal.status


async def test_a_token_gets_what_its_user_may_get(api: ApiServer, gate: TokenGate, autojump_clock: MockClock) -> None:
    assert await status(gate, bearing(PROMETHEUS)) == 200
    assert await status(gate, bearing(PROMETHEUS, path="/status.json")) == 403
    assert await status(gate, bearing(STRANGER)) == 403
    assert await status(gate, bearing("unknown")) == 401
    assert api.authorizations == [("prometheus", "/metrics"), ("prometheus", "/status.json"), ("stranger", "/metrics")]


async def test_the_refusal_of_a_token_says_how_to_send_one(gate: TokenGate) -> None:
    refusal = await gate.check(request())

    assert refusal is not None
    assert refusal.headers == ((b"www-authenticate", b"Bearer"),)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic YWxhZGRpbjpvcGVuc2VzYW1l", PROMETHEUS, f"Bearer{PROMETHEUS}"]
)
async def test_without_a_bearer_token_nothing_is_asked(api: ApiServer, gate: TokenGate, authorization: str) -> None:
    assert await status(gate, request(authorization)) == 401
    assert api.authentications == []


async def test_two_authorizations_are_none(api: ApiServer, gate: TokenGate) -> None:
    header = (b"authorization", f"Bearer {PROMETHEUS}".encode())

    assert await status(gate, Request("/metrics", headers=(header, header))) == 401
    assert api.authentications == []


@pytest.mark.parametrize("authorization", [f"bearer {PROMETHEUS}", f"BEARER   {PROMETHEUS} "])
async def test_the_scheme_may_have_any_case_and_spaces(
    gate: TokenGate, authorization: str, autojump_clock: MockClock
) -> None:
    assert await status(gate, request(authorization)) == 200


async def test_a_scrape_every_second_costs_a_review_of_each_kind_a_minute(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    for _ in range(int(5 * ACCEPTED_TTL)):
        assert await status(gate, bearing(PROMETHEUS)) == 200
        await trio.sleep(1)

    assert len(api.authentications) <= 6
    assert len(api.authorizations) <= 6


async def test_a_revoked_token_and_a_removed_right_end_within_a_minute(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    assert await status(gate, bearing(PROMETHEUS)) == 200
    api.rights.clear()
    await trio.sleep(ACCEPTED_TTL)
    assert await status(gate, bearing(PROMETHEUS)) == 403
    api.users.clear()
    await trio.sleep(ACCEPTED_TTL)
    assert await status(gate, bearing(PROMETHEUS)) == 401


async def test_a_new_right_counts_within_seconds(api: ApiServer, gate: TokenGate, autojump_clock: MockClock) -> None:
    assert await status(gate, bearing(STRANGER)) == 403
    api.rights.add(("stranger", "/metrics"))
    await trio.sleep(REFUSED_TTL)
    assert await status(gate, bearing(STRANGER)) == 200


async def test_a_bad_token_that_comes_again_and_again_is_reviewed_now_and_then(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    for _ in range(1_000):
        assert await status(gate, bearing("bad")) == 401
        await trio.sleep(0.1)

    assert len(api.authentications) <= 100 / REFUSED_TTL + 1


async def test_a_flood_of_bad_tokens_is_bounded_and_keeps_no_good_one_out(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    assert await status(gate, bearing(PROMETHEUS)) == 200
    seconds, answers = int(3 * ACCEPTED_TTL), set[int]()
    for second in range(seconds):
        for number in range(100):
            with trio.move_on_after(0.01):
                answers.add(await status(gate, bearing(f"bad {second} {number}")))
                await trio.sleep_forever()
        assert await status(gate, bearing(PROMETHEUS)) == 200

    assert answers == {429}, "each of the others is still under way"
    reviewed = [token for token in api.authentications if token.startswith("bad")]
    assert len(reviewed) <= UNKNOWN_BURST + UNKNOWN_RATE * trio.current_time()


async def test_too_many_unknown_tokens_get_a_retry_after(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    answers = list[int]()

    async def ask(number: int) -> None:
        answers.append(await status(gate, bearing(f"bad {number}")))

    async with trio.open_nursery() as nursery:
        for number in range(UNKNOWN_BURST + 10):
            nursery.start_soon(ask, number)

    assert sorted(answers) == [401] * UNKNOWN_BURST + [429] * 10


async def test_while_the_api_server_is_down_what_is_cached_counts_until_it_expires(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    assert await status(gate, bearing(PROMETHEUS)) == 200
    api.failure = ReviewFailed("down")
    await trio.sleep(ACCEPTED_TTL - 1)
    assert await status(gate, bearing(PROMETHEUS)) == 200
    await trio.sleep(1)
    assert await status(gate, bearing(PROMETHEUS)) == 503
    assert await status(gate, bearing("unknown")) == 503

    api.failure = None
    await trio.sleep(RETRY_INTERVAL)
    assert await status(gate, bearing(PROMETHEUS)) == 200


async def test_an_api_server_that_is_down_is_asked_once_a_second(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    api.failure = ReviewFailed("down")
    for _ in range(1_000):
        assert await status(gate, bearing(PROMETHEUS)) == 503
        await trio.sleep(0.01)

    assert len(api.authentications) <= trio.current_time() / RETRY_INTERVAL + 1


async def test_the_retry_after_of_the_api_server_is_honoured(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock
) -> None:
    api.failure = ReviewFailed("throttled", retry_after=9)
    refusal = await gate.check(bearing(PROMETHEUS))
    await trio.sleep(8.9)
    await gate.check(bearing(PROMETHEUS))

    assert refusal is not None
    assert refusal.headers == ((b"retry-after", b"9"),)
    assert len(api.authentications) == 1


async def test_an_outage_is_logged_once_and_so_is_its_end(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.failure = ReviewFailed("down")
    for _ in range(5):
        await status(gate, bearing(PROMETHEUS))
        await trio.sleep(RETRY_INTERVAL)
    api.failure = None
    await status(gate, bearing(PROMETHEUS))

    assert [record.getMessage() for record in caplog.records] == [
        "tokens can't be checked",
        "tokens can be checked again",
    ]


async def test_tokens_are_kept_nowhere(
    api: ApiServer, gate: TokenGate, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        await gate.check(bearing(token, path=path)) for token in (PROMETHEUS, STRANGER) for path in ("/", "/metrics")
    ]
    api.failure = ReviewFailed("down")
    answers.append(await gate.check(bearing("canary-token-3")))

    assert "canary" not in f"{answers} {gate!r} {caplog.text}"
    assert "canary" not in str(reachable(gate._users, gate._rights, gate._failure))


def reachable(*roots: object) -> list[object]:
    """The texts and bytes that can be reached from objects, a few steps far."""
    found, seen, new = list[object](), set[int](), [*roots]
    while new:
        one = new.pop()
        if id(one) in seen or isinstance(one, type) or "module" in type(one).__name__:
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes):
            found.append(one)
        elif not callable(one):
            new += gc.get_referents(one)
    return found
