"""What a failure tells those who did not make the request: nothing of its path, and none of the server's words."""

import ssl
from datetime import UTC, datetime
from random import Random

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from secrets_manager.backends.base import (
    SOMEHOW,
    BackendError,
    LoginRefused,
    RateLimited,
    Source,
    Unavailable,
)
from secrets_manager.backends.vault.address import address_of
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import Given, InFile, Wrapped
from secrets_manager.backends.vault.client import open_vault_client
from secrets_manager.backends.vault.failures import failure_of
from secrets_manager.backends.vault.keeper import TokenKeeper
from secrets_manager.backends.vault.listing import page_of
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.replies import Reply, Sealed, Standby, read_failure, trouble
from secrets_manager.config import VaultConfig
from secrets_manager.net.errors import HttpError, Translated
from tests.backends.vault.recorded import RecordedMetrics
from tests.backends.vault.stand import backend_of, keeper_of
from tests.doubles.vault import Request, Response, VaultState, VaultTransport
from tests.doubles.vault_tokens import Credentials

PATH = "secret/data/tenant-b/db"
WORDS = f'request path "{PATH}": rate limit quota exceeded'
BODY = msgspec.json.encode({"errors": [WORDS]})
STATUSES = [*range(201, 210), *range(300, 309), 401, 402, *range(406, 432), 472, 473, *range(500, 600)]


def tells(text: str) -> bool:
    """Whether it tells something of the request, or repeats what the server said."""
    return any(word in text for word in ("tenant-b", "secret/", "data/", "request path", "quota"))


def told_to_others(error: BackendError) -> str:
    assert isinstance(error, Unavailable)
    others = error.for_others()
    assert (type(others), others.retry_after) == (type(error), error.retry_after)
    assert str(others) == others.store == str(others.for_others())
    return str(others)


@pytest.mark.parametrize("status", STATUSES)
def test_reply_of_each_status(status: int) -> None:
    reply = Reply(status, BODY, retry_after=3.0)
    errors = [trouble(reply), read_failure(reply, Source(PATH))]
    with pytest.raises(BackendError) as caught:
        page_of(reply, parse_path("secret/data/tenant-b"), now=datetime.now(UTC))

    for error in [*errors, caught.value]:
        if isinstance(error, Unavailable):
            assert not tells(told_to_others(error))
            assert told_to_others(error) != SOMEHOW


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (429, RateLimited, "Vault is overloaded or limits the rate of requests (429)"),
        (503, Sealed, "Vault is sealed or can't serve requests now (503)"),
        (500, Unavailable, "Vault failed to answer (500)"),
        (472, Standby, "Vault is a standby that serves no requests (472): vault.url should name the active node"),
    ],
)
def test_words_are_told_to_the_request_alone(status: int, kind: type[Unavailable], text: str) -> None:
    error = trouble(Reply(status, BODY, retry_after=7.0))

    assert type(error) is kind
    assert WORDS in str(error) or kind is Standby
    assert (told_to_others(error), error.for_others().retry_after) == (text, 7.0)


def test_answer_of_something_else() -> None:
    error = read_failure(Reply(404, b"<html>"), Source(PATH))

    assert PATH in str(error)
    assert told_to_others(error) == "not Vault answered, but something else (404): does vault.url name a Vault?"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout(WORDS),
        httpx.ConnectError(WORDS),
        httpx.ReadError(WORDS),
        httpx.RemoteProtocolError(WORDS),
        httpx.LocalProtocolError(WORDS),
        httpx.ProxyError(WORDS),
        httpx.ProxyError(f"403 {WORDS}"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("cause", [None, ssl.SSLError(1, WORDS), OSError(111, WORDS), OSError(WORDS)])
def test_request_without_an_answer(error: httpx.HTTPError, cause: Exception | None) -> None:
    error.__cause__ = cause
    with pytest.raises(HttpError) as caught, Translated():
        raise error
    failure = failure_of(caught.value, address_of("https://vault.test"), max_body=1)

    if isinstance(failure, Unavailable):
        assert not tells(told_to_others(failure))
        assert told_to_others(failure) == str(failure)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 429, 500, 503])
@pytest.mark.parametrize("of", ["login", "lookup-self"])
async def test_login_that_fails_is_told_of_the_store(autojump_clock: MockClock, status: int, of: str) -> None:
    vault = VaultState()
    credentials = vault.reader(PATH)

    def refuse(request: Request) -> Response | None:
        if request.path.endswith(of):
            return Response(status, BODY, {"Retry-After": "2"})
        return Response(403, b'{"errors":["permission denied"]}') if request.path == PATH else None

    vault.fault = refuse
    errors: list[Unavailable] = []
    async with backend_of(vault, credentials) as backend:
        for path in (PATH, "secret/data/tenant-a/db", PATH):
            try:
                await backend.read(Source(path))
            except BackendError as error:
                errors += [error] if isinstance(error, Unavailable) else []

    assert [each for each in errors if tells(told_to_others(each))] == []
    if of == "login":
        assert len(errors) == 3
        assert len({(type(each), str(each), each.store) for each in errors}) == 1


async def test_login_that_is_refused_tells_the_words_to_those_who_wait_for_it_and_not_to_others() -> None:
    vault = VaultState()
    async with keeper_of(vault, Credentials("none", "none")) as keeper:
        for _ in range(2):
            with pytest.raises(LoginRefused) as caught:
                await keeper.token()

            assert str(caught.value).endswith("vault.approle-path (invalid role or secret ID)")
            assert told_to_others(caught.value).endswith("vault.secret-id and vault.approle-path")


@pytest.mark.parametrize("broken", ["file", "wrapping lookup", "unwrap", "foreign", "no token", "too large"])
async def test_every_other_way_to_fail_at_a_login(broken: str) -> None:
    vault = VaultState()

    def answer(request: Request) -> Response | None:
        match broken, request.path:
            case ("wrapping lookup", "sys/wrapping/lookup") | ("unwrap", "sys/wrapping/unwrap"):
                return Response(400, BODY)
            case ("foreign", "sys/wrapping/lookup"):
                return Response(200, b'{"data":{"creation_path":"' + PATH.encode() + b'"}}')
            case ("unwrap", "sys/wrapping/lookup"):
                return Response(200, b'{"data":{"creation_path":"auth/approle/role/x/secret-id"}}')
            case ("no token", "auth/approle/login"):
                return Response(200, b"{}")
            case ("too large", "auth/approle/login"):
                return Response(200, b"x" * (9 * 1024**2))
            case _:
                return None

    vault.fault = answer
    config = VaultConfig(url=vault.url)
    secret_id = InFile("/none", "somebody write it") if broken == "file" else Given("token")
    wrapped = Wrapped(secret_id, mount="approle") if broken in {"wrapping lookup", "unwrap", "foreign"} else secret_id
    auth = AppRole(mount="approle", role_id=Given("r"), secret_id=wrapped)
    async with open_vault_client(config, transport=VaultTransport(vault)) as client:
        keeper = TokenKeeper(client, auth, config, RecordedMetrics(), random=Random(0))
        errors: list[Unavailable] = []
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await keeper.token()
            errors.append(caught.value)

    assert not tells(told_to_others(errors[0]))
    assert told_to_others(errors[0]) != SOMEHOW
    assert (type(errors[0]), str(errors[0]), errors[0].store) == (type(errors[1]), str(errors[1]), errors[1].store)


def test_failure_that_has_no_text_about_the_store_tells_others_nothing_but_that() -> None:
    error = RateLimited(f"path '{PATH}': too often", retry_after=2.0)

    assert told_to_others(error) == SOMEHOW
