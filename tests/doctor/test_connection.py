"""Faults between the client and Vault are distinguished, with real sockets: DNS, connection, TLS and proxy."""

import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from secrets_manager.config import VaultConfig
from secrets_manager.doctor import connection
from secrets_manager.doctor.finding import Finding, State
from secrets_manager.errors import UsageError
from tests.doubles.kube_transport import virtual_time
from tests.kube.certificates import Authority
from tests.real.http_proxy import HttpProxy, http_proxy
from tests.real.program import free_port

HEALTH = b'{"initialized": true, "sealed": false, "standby": false, "version": "2.7.2"}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(HEALTH), HEALTH)
PASSWORD = "canary-hunter2"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    with http_proxy() as made:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@{made.address}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield made


@asynccontextmanager
async def vault_with(certificate: Path, key: Path) -> AsyncGenerator[str]:
    """A server that says what a healthy Vault says. Yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(stream: trio.abc.Stream) -> None:
        try:
            await stream.receive_some(65536)
            await stream.send_all(RESPONSE)
        except trio.BrokenResourceError:
            pass
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1", https_compatible=True)
        )
        port: int = listeners[0].transport_listener.socket.getsockname()[1]
        yield f"https://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


async def found(config: VaultConfig) -> Finding:
    """The finding about the connection."""
    result = await connection.check(config, virtual_time, transport=None)
    return result.findings[0]


async def test_a_trusted_server_is_reached(authority: Authority) -> None:
    async with vault_with(*authority.issue("vault", alternative="IP:127.0.0.1")) as url:
        finding = await found(VaultConfig(url=url, ca_cert=str(authority.certificate)))

    assert (finding.state, finding.message) == (State.OK, f"Vault at {url} answers")


async def test_a_wrong_authority_is_reported(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, name="other")
    async with vault_with(*authority.issue("vault", alternative="IP:127.0.0.1")) as url:
        finding = await found(VaultConfig(url=url, ca_cert=str(other.certificate)))

    assert "has a certificate that is not trusted" in finding.message
    assert "--vault.ca-cert" in finding.fix


async def test_a_wrong_host_name_is_reported(authority: Authority) -> None:
    async with vault_with(*authority.issue("vault", alternative="IP:127.0.0.2")) as url:
        finding = await found(VaultConfig(url=url, ca_cert=str(authority.certificate)))

    assert "has a certificate that is not trusted" in finding.message
    assert "--vault.tls-server-name" in finding.fix


async def test_a_server_without_tls_is_reported() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        finding = await found(VaultConfig(url=f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}"))
        nursery.cancel_scope.cancel()

    assert "can't be reached by TLS" in finding.message
    assert "does it speak http there?" in finding.fix


async def test_a_refused_connection_is_reported() -> None:
    url = f"https://127.0.0.1:{free_port()}"

    finding = await found(VaultConfig(url=url))

    assert finding.message == f"Vault at {url} can't be reached: Connection refused"
    assert "host and port" in finding.fix


async def test_a_proxy_that_refuses_is_reported_without_its_password(proxy: HttpProxy) -> None:
    proxy.answers["*"] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"

    finding = await found(VaultConfig(url="https://vault.test:8200"))

    assert finding.message == (
        f"the proxy http://{proxy.address} did not connect us to Vault at https://vault.test:8200 (403)"
    )
    assert "NO_PROXY" in finding.fix


async def test_a_proxy_that_can_not_be_reached_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)

    finding = await found(VaultConfig(url="https://vault.test:8200"))

    assert finding.message.startswith("the proxy http://127.0.0.1:")
    assert finding.message.endswith("can't be reached: Connection refused")
    assert PASSWORD not in finding.message + finding.fix


async def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ca\.pem can't be read"):
        await found(VaultConfig(url="https://vault.test", ca_cert=str(tmp_path / "ca.pem")))
