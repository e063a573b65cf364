"""Redirects of a standby, which send the token to their target."""

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from secrets_manager.backends.base import TimedOut, Unreachable
from secrets_manager.backends.vault.address import Address, parse_address
from secrets_manager.backends.vault.client import VaultClient, open_vault_client
from secrets_manager.backends.vault.responses import Response
from secrets_manager.config import VaultConfig
from secrets_manager.net.proxy import proxy_for

STANDBY, ACTIVE, NEXT = "https://one.test:8200", "https://two.test:8200", "https://three.test:8200"
PATH = "secret/data/app"


class Cluster:
    """Two nodes, of which the second leads. `requests` are those that carried a token."""

    def __init__(self, *, location: str = f"{ACTIVE}/v1/{PATH}", announced: str = ACTIVE, status: int = 307) -> None:
        self.requests: list[str] = []
        self.active_fails: Callable[[], httpx.Response] | None = None
        self._location, self._announced, self._status = location, announced, status

    def answer(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        if request.url.path == "/v1/sys/leader":
            assert "X-Vault-Token" not in request.headers
            return httpx.Response(200, content=msgspec.json.encode({"leader_address": self._announced}))
        self.requests.append(url.partition("/v1/")[0])
        if url.startswith(STANDBY):
            return httpx.Response(self._status, headers={"Location": self._location})
        return self.active_fails() if self.active_fails else httpx.Response(200, content=b"{}")


@asynccontextmanager
async def client_of(cluster: Cluster, *, url: str = STANDBY) -> AsyncGenerator[VaultClient]:
    config = VaultConfig(url=url)
    async with open_vault_client(config, transport=httpx.MockTransport(cluster.answer)) as client:
        yield client


async def read(client: VaultClient) -> Response:
    return await client.request("GET", PATH, token="s.canary")


async def test_node_that_the_cluster_announces_is_asked_and_from_then_on_first() -> None:
    cluster = Cluster()

    async with client_of(cluster) as client:
        replies = [await read(client) for _ in range(3)]

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert cluster.requests == [STANDBY, ACTIVE, ACTIVE, ACTIVE]


async def test_query_of_the_request_may_stand_in_the_redirect() -> None:
    cluster = Cluster(location=f"{ACTIVE}/v1/{PATH}?version=3", status=308)

    async with client_of(cluster) as client:
        assert (await read(client)).status == 200


def refused() -> httpx.Response:
    raise httpx.ConnectError("refused")


def untrusted() -> httpx.Response:
    raise httpx.ConnectError("untrusted") from ssl.SSLCertVerificationError(1, "expired")


@pytest.mark.parametrize("fails", [refused, untrusted, lambda: httpx.Response(473), lambda: httpx.Response(503)])
async def test_node_that_leads_no_more_is_left_for_the_configured_one(fails: Callable[[], httpx.Response]) -> None:
    cluster = Cluster()

    async with client_of(cluster) as client:
        await read(client)
        cluster.active_fails = fails
        before = len(cluster.requests)
        cluster._status = 200
        reply = await read(client)

    assert reply.status == 200
    assert cluster.requests[before:] == [ACTIVE, STANDBY]


async def test_node_that_hangs_is_left_for_the_configured_one_by_the_next_request() -> None:
    def hang() -> httpx.Response:
        raise httpx.ReadTimeout("nothing came")

    cluster = Cluster()
    async with client_of(cluster) as client:
        await read(client)
        cluster.active_fails, cluster._status = hang, 200
        with pytest.raises(TimedOut):
            await read(client)
        before = len(cluster.requests)
        reply = await read(client)

    assert (reply.status, cluster.requests[before:]) == (200, [STANDBY])


async def test_node_that_hangs_from_the_first_redirect_on_is_not_asked_first() -> None:
    def hang() -> httpx.Response:
        raise httpx.ReadTimeout("nothing came")

    cluster = Cluster()
    cluster.active_fails = hang
    async with client_of(cluster) as client:
        with pytest.raises(TimedOut):
            await read(client)
        cluster._status = 200
        reply = await read(client)

    assert (reply.status, cluster.requests) == (200, [STANDBY, ACTIVE, STANDBY])


async def test_late_failure_of_a_node_that_led_does_not_forget_the_one_that_leads_now() -> None:
    cluster, leads, silent = Cluster(), True, trio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/slow":
            await silent.wait()
            raise httpx.ReadTimeout("nothing came")
        reply = cluster.answer(request)
        return reply if leads or not str(request.url).startswith(ACTIVE) else httpx.Response(473)

    async def read_slowly() -> None:
        with pytest.raises(TimedOut):
            await client.request("GET", "slow", token="s.canary")

    async with open_vault_client(VaultConfig(url=STANDBY), transport=httpx.MockTransport(answer)) as client:
        await read(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly)
            await wait_all_tasks_blocked()
            leads, cluster._location, cluster._announced = False, f"{NEXT}/v1/{PATH}", NEXT
            await read(client)
            silent.set()
        before = len(cluster.requests)
        await read(client)

    assert cluster.requests[before:] == [NEXT]


async def test_redirect_of_a_path_may_leave_bare_what_the_request_encodes() -> None:
    """Go writes the path of a URL so."""
    cluster = Cluster(location=f"{ACTIVE}/v1/secret/data/jo@example.com,a+b")

    async with client_of(cluster) as client:
        reply = await client.request("GET", "secret/data/jo%40example.com%2Ca%2Bb", token="s.canary")

    assert (reply.status, cluster.requests) == (200, [STANDBY, ACTIVE])


async def test_node_behind_a_proxy_that_can_not_be_is_unreachable() -> None:
    cluster = Cluster()

    def open_transport(to: Address) -> httpx.AsyncBaseTransport:
        if to.url.host == "two.test":
            proxy_for(str(to.url), environ={"HTTPS_PROXY": "socks5://proxy.test:1080"})
        return httpx.MockTransport(cluster.answer)

    client = VaultClient(parse_address(STANDBY), open_transport, deadline=5)
    with pytest.raises(Unreachable, match=r"https://two\.test:8200 can't be reached: HTTPS_PROXY is no address"):
        await read(client)


@pytest.mark.parametrize(
    ("location", "announced", "status"),
    [
        ("https://evil.test:8200/v1/secret/data/app", ACTIVE, 307),
        ("https://two.test:8201/v1/secret/data/app", ACTIVE, 307),
        ("http://two.test:8200/v1/secret/data/app", "http://two.test:8200", 307),
        ("http://one.test:8200/v1/secret/data/app", ACTIVE, 307),
        (f"{ACTIVE}/v1/secret/data/other", ACTIVE, 307),
        (f"{ACTIVE}/v1/secret/data/app/more", ACTIVE, 307),
        (f"{ACTIVE}/v1/sys/seal", ACTIVE, 307),
        ("https://user:pw@two.test:8200/v1/secret/data/app", ACTIVE, 307),
        ("//two.test:8200/v1/secret/data/app", ACTIVE, 307),
        ("/v1/secret/data/app", ACTIVE, 307),
        ("unix:///run/evil.sock/v1/secret/data/app", ACTIVE, 307),
        ("", ACTIVE, 307),
        (f"{ACTIVE}/v1/{PATH}", "", 307),
        (f"{ACTIVE}/v1/{PATH}", "https://user:pw@two.test:8200", 307),
        (f"{ACTIVE}/v1/{PATH}", ACTIVE, 301),
        (f"{ACTIVE}/v1/{PATH}", ACTIVE, 302),
    ],
)
async def test_no_other_redirect_gets_the_token(location: str, announced: str, status: int) -> None:
    cluster = Cluster(location=location, announced=announced, status=status)

    async with client_of(cluster) as client:
        reply = await read(client)

    assert reply.status == status
    assert cluster.requests == [STANDBY]


async def test_redirect_to_the_configured_server_itself_is_followed_once() -> None:
    """As a load balancer gives it that keeps the path and adds something to the query."""
    cluster = Cluster(location=f"{STANDBY}/v1/{PATH}?again", announced="")

    async with client_of(cluster) as client:
        reply = await read(client)

    assert reply.status == 307
    assert cluster.requests == [STANDBY, STANDBY]
