"""One request: what is sent, and the error of each failure."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import BackendError, SourceTooLarge, TimedOut, TlsFailed, Unavailable, Unreachable
from secrets_manager.backends.vault.client import VaultClient, open_vault_client
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError
from tests.real.program import free_port

MAX_BODY = 8 * 1024 * 1024
MAX_RETRY_AFTER = 60.0

Answer = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def client_of(answer: Answer, *, url: str = "http://vault.test:8200") -> AsyncGenerator[VaultClient]:
    config = VaultConfig(url=url)
    async with open_vault_client(config, transport=httpx.MockTransport(answer)) as client:
        yield client


async def failure(answer: Answer) -> tuple[type[BackendError], str]:
    async with client_of(answer) as client:
        with pytest.raises(BackendError) as caught:
            await client.request("GET", "secret/data/app", token="s.canary")
    return type(caught.value), str(caught.value)


def raising(error: Exception) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("url", "expected"), [("https://vault.test", None), ("https://me:p%40w@vault.test/", "Basic bWU6cEB3")]
)
async def test_user_and_password_in_the_url_are_sent_as_a_header(url: str, expected: str | None) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"{}")

    async with client_of(answer, url=url) as client:
        await client.request("GET", "secret/data/app")

    assert [request.headers.get("Authorization") for request in seen] == [expected]
    assert [str(request.url) for request in seen] == ["https://vault.test/v1/secret/data/app"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://vault.test:8200", "http://vault.test:8200/v1/secret/data/a%2520b?version=3"),
        ("https://vault.test/", "https://vault.test/v1/secret/data/a%2520b?version=3"),
        ("https://proxy.test/vault", "https://proxy.test/vault/v1/secret/data/a%2520b?version=3"),
    ],
)
async def test_url_of_a_read(url: str, expected: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"{}")

    async with client_of(answer, url=url) as client:
        await client.request("GET", "secret/data/a%2520b", token="s.token", params={"version": "3"})

    assert [str(request.url) for request in seen] == [expected]
    headers = seen[0].headers
    assert (headers["X-Vault-Token"], headers["X-Vault-Request"], headers["Accept-Encoding"]) == (
        "s.token",
        "true",
        "identity",
    )


async def test_login_is_sent_without_a_token() -> None:
    seen: list[tuple[bytes, bool]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.content, "X-Vault-Token" in request.headers))
        return httpx.Response(200, content=b"{}")

    async with client_of(answer) as client:
        await client.request("POST", "auth/approle/login", body={"role_id": "r"})

    assert seen == [(b'{"role_id":"r"}', False)]


async def test_retry_after_of_a_response() -> None:
    async with client_of(lambda _: httpx.Response(429, content=b"x", headers={"Retry-After": "3"})) as client:
        reply = await client.request("GET", "x")

    assert (reply.status, reply.body, reply.retry_after) == (429, b"x", 3.0)


async def test_retry_after_is_bounded() -> None:
    async with client_of(lambda _: httpx.Response(429, headers={"Retry-After": "9" * 400})) as client:
        reply = await client.request("GET", "x")

    assert reply.retry_after == MAX_RETRY_AFTER


async def test_refusal_that_repeats_the_token_loses_its_body() -> None:
    async with client_of(lambda _: httpx.Response(500, content=b'{"errors":["bad s.canary"]}')) as client:
        repeated = await client.request("GET", "x", token="s.canary")
        other = await client.request("GET", "x", token="s.other")

    assert (repeated.body, other.body) == (b'{"errors":[]}', b'{"errors":["bad s.canary"]}')


async def test_silent_server_is_given_up_in_time(autojump_clock: MockClock) -> None:
    async def silent(request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with open_vault_client(
        VaultConfig(url="http://vault.test", timeout=5), transport=httpx.MockTransport(silent)
    ) as client:
        start = trio.current_time()
        with pytest.raises(TimedOut) as caught:
            await client.request("GET", "x")

    assert trio.current_time() - start == pytest.approx(5.0)
    assert str(caught.value) == "Vault at http://vault.test did not answer in time"


async def test_endless_answer_is_cut() -> None:
    class Endless(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            await trio.lowlevel.checkpoint()
            return b"x" * 65536

    kind, text = await failure(lambda _: httpx.Response(200, stream=Endless()))

    assert kind is SourceTooLarge
    assert (
        text
        == f"Vault's response is larger than {MAX_BODY // 1024**2} MiB: correct the path, or make the secret smaller"
    )


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (httpx.ConnectError("canary"), Unreachable, "can't be reached"),
        (httpx.ConnectTimeout("canary"), TimedOut, "did not answer in time"),
        (httpx.ReadError("canary"), Unreachable, "closed the connection before its response was complete"),
        (httpx.RemoteProtocolError("canary"), Unreachable, "closed the connection before its response was complete"),
        (
            httpx.LocalProtocolError("Illegal header value b's.canary'"),
            Unavailable,
            "can't be asked: the request can't be sent (LocalProtocolError)",
        ),
        (
            httpx.ProxyError("canary"),
            Unreachable,
            "can't be reached: a proxy refused: check HTTP_PROXY and NO_PROXY",
        ),
    ],
)
async def test_words_of_the_http_library_are_not_repeated(
    error: httpx.HTTPError, kind: type[BackendError], expected: str
) -> None:
    assert await failure(raising(error)) == (kind, f"Vault at http://vault.test:8200 {expected}")


class Breaking:
    """Breaks the connection for so many requests, and answers those that follow."""

    def __init__(self, breaks: int, error: Exception) -> None:
        self.requests: list[str] = []
        self._breaks = breaks
        self._error = error

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request.method)
        if len(self.requests) <= self._breaks:
            raise self._error
        return httpx.Response(200, content=b"{}")


@pytest.mark.parametrize(
    "error", [httpx.ReadError("reset"), httpx.WriteError("pipe"), httpx.RemoteProtocolError("closed")]
)
async def test_read_whose_connection_breaks_off_is_sent_once_more(error: Exception) -> None:
    once, twice = Breaking(1, error), Breaking(2, error)

    async with client_of(once) as client:
        reply = await client.request("GET", "secret/data/app")
    async with client_of(twice) as client:
        with pytest.raises(Unreachable):
            await client.request("GET", "secret/data/app")

    assert (reply.status, once.requests, twice.requests) == (200, ["GET"] * 2, ["GET"] * 2)


class Stale(httpx.AsyncBaseTransport):
    """Its idle connections are dead, until they are closed."""

    def __init__(self) -> None:
        self.requests = 0
        self.dead = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        self.requests += 1
        if self.dead:
            raise httpx.ReadError("reset")
        return httpx.Response(200, content=b"{}")

    async def aclose(self) -> None:
        self.dead = False


async def test_broken_idle_connection_closes_the_other_idle_connections() -> None:
    stale = Stale()
    async with open_vault_client(VaultConfig(url="http://vault.test"), transport=stale) as client:
        reply = await client.request("GET", "secret/data/app")

    assert (reply.status, stale.requests) == (200, 2)


@pytest.mark.parametrize(
    ("method", "error"),
    [("POST", httpx.ReadError("reset")), ("GET", httpx.ConnectError("refused")), ("GET", httpx.ReadTimeout("late"))],
)
async def test_nothing_else_is_sent_twice(method: str, error: Exception) -> None:
    breaking = Breaking(1, error)

    async with client_of(breaking) as client:
        with pytest.raises(Unavailable):
            await client.request(method, "x")

    assert breaking.requests == [method]


async def test_namespace_goes_with_every_request_but_those_about_the_cluster() -> None:
    seen: dict[str, str | None] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen[request.url.path] = request.headers.get("X-Vault-Namespace")
        return httpx.Response(200, content=b"{}")

    config = VaultConfig(url="http://vault.test", namespace="/team/shop/")
    async with open_vault_client(config, transport=httpx.MockTransport(answer)) as client:
        for path in ("secret/data/app", "auth/approle/login", "sys/health"):
            await client.request("GET", path)

    assert seen == {
        "/v1/secret/data/app": "team/shop",
        "/v1/auth/approle/login": "team/shop",
        "/v1/sys/health": None,
    }


async def test_each_request_is_counted_by_its_operation_and_how_it_ended() -> None:
    counted: list[tuple[str, str]] = []
    answers: list[Answer] = [
        lambda _: httpx.Response(200),
        lambda _: httpx.Response(503),
        raising(httpx.ConnectError("refused")),
        raising(httpx.ReadTimeout("late")),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        return answers.pop(0)(request)

    def record(operation: str, status: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        counted.append((operation, status))

    config = VaultConfig(url="http://vault.test")
    async with open_vault_client(config, transport=httpx.MockTransport(answer), record=record) as client:
        for operation in ("login", "read", "read", "list"):
            with suppress(Unavailable):
                await client.request("POST", "x", operation=operation)

    assert counted == [("login", "200"), ("read", "503"), ("read", "Unreachable"), ("list", "TimedOut")]


async def test_connection_refused() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    async with open_vault_client(VaultConfig(url=url)) as client:
        with pytest.raises(Unavailable) as caught:
            await client.request("GET", "x")

    assert (type(caught.value), str(caught.value)) == (
        Unreachable,
        f"Vault at {url} can't be reached (Connection refused)",
    )


async def test_unknown_host() -> None:
    async with open_vault_client(VaultConfig(url="http://no-such-host.invalid")) as client:
        with pytest.raises(Unavailable, match="can't be reached"):
            await client.request("GET", "x")


async def test_https_where_the_server_speaks_http() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        port = listeners[0].socket.getsockname()[1]
        async with open_vault_client(VaultConfig(url=f"https://127.0.0.1:{port}")) as client:
            with pytest.raises(TlsFailed, match="can't be reached by TLS"):
                await client.request("GET", "x")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "vault:8200",
        "ftp://vault",
        "https://",
        "http://[",
        "http://vault:-1",
        "https://vault/?x=1",
        "https://vault..svc:8200",
        f"https://{'x' * 64}.test",
        "unix://x",
        "unix:///x/",
    ],
)
async def test_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match=r"vault\.url is not an address of Vault"):
        async with open_vault_client(VaultConfig(url=url)):
            pass


async def test_server_name_that_is_none() -> None:
    with pytest.raises(UsageError, match=r"vault\.tls-server-name is not the name of a host"):
        async with open_vault_client(VaultConfig(url="https://vault.test", tls_server_name=".example.com")):
            pass


async def test_password_in_the_address_is_not_shown() -> None:
    async with client_of(lambda _: httpx.Response(200), url="https://user:canary@vault.test:8200/") as client:
        assert (client.address, repr(client)) == ("https://vault.test:8200", "VaultClient(https://vault.test:8200)")
