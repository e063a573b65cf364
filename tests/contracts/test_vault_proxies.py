"""A real OpenBao that only an HTTP proxy can reach."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from secrets_manager.backends import Source, Unreachable
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.backends.vault.client import open_vault_client
from secrets_manager.backends.vault.health import get_health
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError
from tests.backends.vault.recorded import RecordedMetrics
from tests.kube.certificates import Authority
from tests.real.http_proxy import HttpProxy, http_proxy
from tests.real.openbao import OpenBao, running_openbao
from tests.real.program import free_port

STANDBY, PATH = "http://standby.test:8200", "secret/data/app"
LISTENER = """
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = "{certificate}"
  tls_key_file = "{key}"
}}
"""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    with http_proxy() as made:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://user:hunter2@{made.address}")
        yield made


def reply(status: str, *headers: str, body: str = "") -> str:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body])


def elsewhere(bao: OpenBao) -> str:
    return f"vault.test:{urlsplit(bao.url).port}"


async def version(config: VaultConfig) -> str:
    async with open_vault_client(config) as client:
        server = await get_health(client)
    return server.version if server else ""


async def failure(url: str) -> str:
    async with open_vault(VaultConfig(url=url, role_id="r", secret_id="s"), RecordedMetrics()) as backend:
        with pytest.raises(Unreachable) as caught:
            await backend.read(Source(PATH))
    return str(caught.value)


async def test_http_goes_through_the_proxy_with_its_credentials(openbao: OpenBao, proxy: HttpProxy) -> None:
    place = elsewhere(openbao)

    assert await version(VaultConfig(url=f"http://{place}")) == "2.7.2"
    assert proxy.asked == [f"GET http://{place}/v1/sys/health"]
    assert proxy.credentials == {"Proxy-Authorization: Basic dXNlcjpodW50ZXIy"}


@pytest.mark.real
async def test_https_goes_through_a_tunnel(tmp_path: Path, proxy: HttpProxy) -> None:
    authority, port = Authority(tmp_path), free_port()
    certificate, key = authority.issue("server", alternative="DNS:vault.test")
    listener = LISTENER.format(port=port, cluster_port=free_port(), certificate=certificate, key=key)
    config = VaultConfig(url=f"https://vault.test:{port}", ca_cert=str(authority.certificate))

    with running_openbao(tmp_path, configuration=listener):
        assert await version(config) == "2.7.2"

    assert proxy.asked == [f"CONNECT vault.test:{port}"]


async def test_active_node_is_reached_by_the_road_to_itself(openbao: OpenBao, proxy: HttpProxy) -> None:
    """The standby that `vault.url` names is behind the proxy, and the node that it names is not."""
    read, leader = f"GET {STANDBY}/v1/{PATH}", f"GET {STANDBY}/v1/sys/leader"
    proxy.answers[read] = reply("307 Temporary Redirect", f"Location: {openbao.url}/v1/{PATH}")
    proxy.answers[leader] = reply("200 OK", body=f'{{"leader_address":"{openbao.url}"}}')

    async with open_vault_client(VaultConfig(url=STANDBY)) as client:
        replies = [await client.request("GET", PATH, token=openbao.root_token) for _ in range(2)]

    assert [each.status for each in replies] == [404, 404]
    assert proxy.asked == [read, leader]


async def test_server_that_needs_no_proxy_is_reached_without(
    openbao: OpenBao, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", ".test")
    place = elsewhere(openbao)

    assert await failure(f"http://{place}") == (f"Vault at http://{place} can't be reached (its name is not known)")
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "refusal", "expected"),
    [
        (
            "https://vault.test",
            "407 Authenticate",
            "Vault at https://vault.test can't be reached: a proxy refused (407): check HTTPS_PROXY and NO_PROXY",
        ),
        (
            "https://vault.test",
            "502 s.canary",
            "Vault at https://vault.test can't be reached: a proxy refused (502): check HTTPS_PROXY and NO_PROXY",
        ),
        (
            "http://vault.test",
            "407 Authenticate",
            "Vault at http://vault.test can't be reached: a proxy refused (407): check HTTP_PROXY and NO_PROXY",
        ),
    ],
)
async def test_refusal_of_a_proxy(url: str, refusal: str, expected: str, proxy: HttpProxy) -> None:
    proxy.answers["*"] = reply(refusal)

    assert await failure(url) == expected


@pytest.mark.parametrize(
    "proxy",
    ["socks5://user:hunter2@proxy:1080", "http://user:hunter2@:3128", "http://[hunter2", "http://hunter2:3128\n"],
)
async def test_proxy_that_is_none_ends_it_at_once(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(UsageError) as caught:
        await version(VaultConfig(url="https://vault.test:8200"))

    assert str(caught.value) == (
        "HTTPS_PROXY is no address of an HTTP proxy: write it like http://proxy.example.com:3128"
    )
