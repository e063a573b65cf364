"""The public message of a failure has neither the path of its request nor the server's messages."""

import ssl
from datetime import UTC, datetime
from random import Random

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from secrets_manager.backends.base import (
    UNKNOWN_PROBLEM,
    BackendError,
    LoginRefused,
    RateLimited,
    Source,
    Unavailable,
)
from secrets_manager.backends.vault import responses
from secrets_manager.backends.vault.address import parse_address
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import FileCredential, StaticCredential, WrappedSecretId
from secrets_manager.backends.vault.client import open_vault_client
from secrets_manager.backends.vault.errors import backend_error
from secrets_manager.backends.vault.listing import parse_page
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import Sealed, Standby, read_error, unavailable
from secrets_manager.backends.vault.token_manager import TokenManager
from secrets_manager.config import VaultConfig
from secrets_manager.net.errors import HttpError, Translated
from tests.backends.vault.harness import backend_of, token_manager_of
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import Request, Response, VaultState, VaultTransport
from tests.doubles.vault_tokens import Credentials

PATH = "secret/data/tenant-b/db"
DETAILS = f'request path "{PATH}": rate limit quota exceeded'
BODY = msgspec.json.encode({"errors": [DETAILS]})
STATUSES = [*range(201, 210), *range(300, 309), 401, 402, *range(406, 432), 472, 473, *range(500, 600)]


def leaks(text: str) -> bool:
    """Return whether the text has something of the request or of the server's messages."""
    return any(word in text for word in ("tenant-b", "secret/", "data/", "request path", "quota"))


def public_message(error: BackendError) -> str:
    assert isinstance(error, Unavailable)
    others = error.for_others()
    assert (type(others), others.retry_after) == (type(error), error.retry_after)
    assert str(others) == others.store == str(others.for_others())
    return str(others)


@pytest.mark.parametrize("status", STATUSES)
def test_response_of_each_status(status: int) -> None:
    reply = responses.Response(status, BODY, retry_after=3.0)
    errors = [unavailable(reply), read_error(reply, Source(PATH))]
    with pytest.raises(BackendError) as caught:
        parse_page(reply, parse_path("secret/data/tenant-b"), now=datetime.now(UTC))

    for error in [*errors, caught.value]:
        if isinstance(error, Unavailable):
            assert not leaks(public_message(error))
            assert public_message(error) != UNKNOWN_PROBLEM


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (429, RateLimited, "Vault is overloaded or limits the rate of requests (429)"),
        (503, Sealed, "Vault is sealed or can't serve requests now (503)"),
        (500, Unavailable, "Vault failed to answer (500)"),
        (472, Standby, "Vault is a standby that does not serve requests (472): vault.url should name the active node"),
    ],
)
def test_details_are_shown_to_the_request_only(status: int, kind: type[Unavailable], text: str) -> None:
    error = unavailable(responses.Response(status, BODY, retry_after=7.0))

    assert type(error) is kind
    assert DETAILS in str(error) or kind is Standby
    assert (public_message(error), error.for_others().retry_after) == (text, 7.0)


def test_answer_of_something_else() -> None:
    error = read_error(responses.Response(404, b"<html>"), Source(PATH))

    assert public_message(error) == str(error)
    assert str(error).startswith("Vault returned the unexpected status 404: does vault.url name a Vault")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout(DETAILS),
        httpx.ConnectError(DETAILS),
        httpx.ReadError(DETAILS),
        httpx.RemoteProtocolError(DETAILS),
        httpx.LocalProtocolError(DETAILS),
        httpx.ProxyError(DETAILS),
        httpx.ProxyError(f"403 {DETAILS}"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("cause", [None, ssl.SSLError(1, DETAILS), OSError(111, DETAILS), OSError(DETAILS)])
def test_request_without_an_answer(error: httpx.HTTPError, cause: Exception | None) -> None:
    error.__cause__ = cause
    with pytest.raises(HttpError) as caught, Translated():
        raise error
    failure = backend_error(caught.value, parse_address("https://vault.test"), max_body=1)

    if isinstance(failure, Unavailable):
        assert not leaks(public_message(failure))
        assert public_message(failure) == str(failure)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 429, 500, 503])
@pytest.mark.parametrize("of", ["login", "lookup-self"])
async def test_failed_login_is_about_the_store(autojump_clock: MockClock, status: int, of: str) -> None:
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

    assert [each for each in errors if leaks(public_message(each))] == []
    if of == "login":
        assert len(errors) == 3
        assert len({(type(each), str(each), each.store) for each in errors}) == 1


async def test_refused_login_shows_details_to_its_waiters_only() -> None:
    vault = VaultState()
    async with token_manager_of(vault, Credentials("none", "none")) as token_manager:
        for _ in range(2):
            with pytest.raises(LoginRefused) as caught:
                await token_manager.token()

            assert str(caught.value).endswith("vault.approle-path (invalid role or secret ID)")
            assert public_message(caught.value).endswith("vault.secret-id and vault.approle-path")


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
    secret_id = FileCredential("/none", "is it mounted?") if broken == "file" else StaticCredential("token")
    wrapped = (
        WrappedSecretId(secret_id, mount="approle") if broken in {"wrapping lookup", "unwrap", "foreign"} else secret_id
    )
    auth = AppRole(mount="approle", role_id=StaticCredential("r"), secret_id=wrapped)
    async with open_vault_client(config, transport=VaultTransport(vault)) as client:
        token_manager = TokenManager(client, auth, config, RecordedMetrics(), random=Random(0))
        errors: list[Unavailable] = []
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await token_manager.token()
            errors.append(caught.value)

    assert not leaks(public_message(errors[0]))
    assert public_message(errors[0]) != UNKNOWN_PROBLEM
    assert (type(errors[0]), str(errors[0]), errors[0].store) == (type(errors[1]), str(errors[1]), errors[1].store)


def test_failure_without_a_text_about_the_store_has_a_generic_one() -> None:
    error = RateLimited(f"path '{PATH}': too often", retry_after=2.0)

    assert public_message(error) == UNKNOWN_PROBLEM
