"""A bad client does not affect other clients, and its connection is closed after a bounded time."""

import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.net.file_stamps import CHECK_INTERVAL
from secrets_manager.net.serving import ServingCertificate
from secrets_manager.server.message import Response, immediate
from secrets_manager.server.router import Route, Router
from tests.kube.certificates import Authority
from tests.server.serving import listening, serving

HANDSHAKE_TIMEOUT = 5.0
HEAD_TIMEOUT = 5.0
MAX_CONNECTIONS = 32
MAX_HEAD = 16 * 1024
SEND_TIMEOUT = 30.0

LARGE = b"x" * 32 * 1024 * 1024
"""More than the buffers of a connection hold."""
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


ROUTER = Router(
    {
        "/": Route(immediate(lambda _: Response(200, b"hello\n"))),
        "/large": Route(immediate(lambda _: Response(200, LARGE))),
    }
)


@asynccontextmanager
async def connected(address: tuple[str, int], sent: bytes = b"") -> AsyncGenerator[trio.SocketStream]:
    stream = await trio.open_tcp_stream(*address)
    async with stream:
        await stream.send_all(sent)
        yield stream


async def whole(stream: trio.SocketStream) -> bytes:
    """All that comes until the connection ends, however it ends."""
    received = b""
    try:
        async for chunk in stream:
            received += chunk
    except trio.BrokenResourceError:
        pass
    return received


@pytest.mark.parametrize(
    "sent", [b"", b"GET", GET, GET + b"X-Slow: yes\r\n"], ids=["nothing", "word", "line", "header"]
)
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes, autojump_clock: MockClock) -> None:
    async with listening(ROUTER) as address, connected(address, sent) as stream:
        began = trio.current_time()
        await whole(stream)
        assert trio.current_time() - began == pytest.approx(HEAD_TIMEOUT, abs=1)


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with (
        listening(ROUTER) as address,
        connected(address, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx") as stream,
    ):
        assert (await whole(stream)).startswith(b"HTTP/1.1 200")


async def test_an_idle_connection_ends(autojump_clock: MockClock) -> None:
    async with listening(ROUTER) as address, connected(address, GET + b"\r\n") as stream:
        assert (await whole(stream)).endswith(b"hello\n")
        assert trio.current_time() == pytest.approx(HEAD_TIMEOUT, abs=1)


async def test_a_head_that_is_too_large_is_refused() -> None:
    head = GET + b"X-Large: " + b"x" * MAX_HEAD
    async with listening(ROUTER) as address, connected(address, head) as stream:
        assert (await whole(stream)).startswith(b"HTTP/1.1 431")


async def test_a_client_that_does_not_receive_is_dropped(autojump_clock: MockClock) -> None:
    async with listening(ROUTER) as address, connected(address, GET.replace(b"/", b"/large", 1) + b"\r\n") as stream:
        await trio.sleep(SEND_TIMEOUT + 1)
        assert len(await whole(stream)) < len(LARGE)


async def test_the_oldest_connections_give_way_to_new_ones(mock_clock: MockClock) -> None:
    """No time passes, so none of them ends by itself."""
    async with listening(ROUTER) as address, AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connected(address, GET)) for _ in range(MAX_CONNECTIONS + 5)]
        async with httpx.AsyncClient(base_url=f"http://{address[0]}:{address[1]}", trust_env=False) as client:
            assert (await client.get("/")).status_code == 200
        assert [has_ended(stream) for stream in idle] == [True] * 6 + [False] * (MAX_CONNECTIONS - 1)
        await idle[-1].send_all(b"\r\n")
        assert (await idle[-1].receive_some()).startswith(b"HTTP/1.1 200")


def has_ended(stream: trio.SocketStream) -> bool:
    """Whether the server has closed the connection, which was not sent anything."""
    with socket.socket(fileno=os.dup(stream.socket.fileno())) as same:
        same.setblocking(False)
        try:
            return same.recv(1) == b""
        except BlockingIOError:
            return False


async def test_bytes_that_are_no_http_end_their_connection_alone() -> None:
    async with listening(ROUTER) as address:
        for noise in (b"\x16\x03\x01\x00", b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff" * 100 + b"\r\n\r\n"):
            async with connected(address, noise) as stream:
                await stream.send_eof()
                await whole(stream)
        async with connected(address) as stream:  # a reset, not an end
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        async with connected(address, GET + b"\r\n") as stream:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_http_2_is_refused() -> None:
    async with (
        listening(ROUTER) as (host, port),
        httpx.AsyncClient(base_url=f"http://{host}:{port}", http1=False, http2=True, trust_env=False) as client,
    ):
        response = await client.get("/large")

    assert (response.http_version, response.status_code, response.text) == ("HTTP/2", 505, "use HTTP/1.1\n")


async def test_a_websocket_is_refused() -> None:
    upgrade = (
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with listening(ROUTER) as address, connected(address, upgrade) as stream:
        assert (await whole(stream)).startswith(b"HTTP/1.1 403")


WEBSOCKET = GET + (
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
H2C = GET + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: "


@pytest.mark.parametrize(
    "sent",
    [
        H2C + b"A\r\n\r\n",
        H2C + b"////\r\n\r\n",
        WEBSOCKET + b"\x81\x85acdhellobcdhello",
        WEBSOCKET + b"\x81\x85abcdhelho",
    ],
    ids=["no base64", "no settings", "no frame", "no text"],
)
async def test_bytes_that_break_an_upgrade_end_their_connection_and_are_not_the_servers_fault(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="secrets_manager")
    async with listening(ROUTER) as address:
        async with connected(address, sent) as stream:
            await whole(stream)
        async with connected(address, GET + b"\r\n") as stream:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")

    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.DEBUG, "protocol error of a client")
    ]


async def test_an_unexpected_error_of_a_connection_is_logged_and_ends_it_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> ssl.SSLContext:
        raise ZeroDivisionError("a bug")

    async with listening(ROUTER, tls=fail) as address, connected(address) as stream:
        assert await whole(stream) == b""

    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "unexpected error of a connection")
    ]


@pytest.fixture
async def certificate(tmp_path: Path) -> ServingCertificate:
    return await serving_certificate(Authority(tmp_path), tmp_path)


async def serving_certificate(authority: Authority, folder: Path) -> ServingCertificate:
    cert, key = authority.issue("server", alternative="IP:127.0.0.1")
    certificate = ServingCertificate(str(cert), str(key))
    await certificate.load()
    return certificate


def trusting(folder: Path, name: str = "authority") -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / f"{name}.crt")


async def test_with_a_certificate_tls_is_served_and_nothing_else(
    certificate: ServingCertificate, tmp_path: Path
) -> None:
    async with serving(ROUTER, tls=certificate.context, trust=trusting(tmp_path)) as client:
        assert (await client.get("/")).text == "hello\n"
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(str(client.base_url).replace("https", "http"))
        assert (await client.get("/")).text == "hello\n"


async def test_old_versions_of_tls_are_refused(certificate: ServingCertificate, tmp_path: Path) -> None:
    old = trusting(tmp_path)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(ROUTER, tls=certificate.context, trust=old) as client:
        assert (await client.get("/")).status_code == 200
    assert certificate.context().minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_handshake_that_does_not_come_ends_the_connection(
    certificate: ServingCertificate, mock_clock: MockClock
) -> None:
    async with listening(ROUTER, tls=certificate.context) as address, connected(address, b"\x16") as stream:
        mock_clock.autojump_threshold = 0  # not before: it does not wait for the thread that reads the certificate
        began = trio.current_time()
        await whole(stream)
        assert trio.current_time() - began == pytest.approx(HANDSHAKE_TIMEOUT, abs=1)


async def test_handshakes_give_way_too(certificate: ServingCertificate, tmp_path: Path) -> None:
    async with serving(ROUTER, tls=certificate.context, trust=trusting(tmp_path)) as client, AsyncExitStack() as stack:
        address = client.base_url.host, client.base_url.port or 0
        for _ in range(MAX_CONNECTIONS + 5):
            await stack.enter_async_context(connected(address, b"\x16"))
        assert (await client.get("/")).status_code == 200


async def test_a_changed_certificate_counts_from_the_next_connection_on(tmp_path: Path, mock_clock: MockClock) -> None:
    certificate = await serving_certificate(Authority(tmp_path), tmp_path)
    old = trusting(tmp_path)
    other = Authority(tmp_path, name="other")
    async with (
        serving(ROUTER, tls=certificate.context, trust=old) as client,
        httpx.AsyncClient(verify=trusting(tmp_path, "other"), base_url=client.base_url, trust_env=False) as later,
        trio.open_nursery() as nursery,
    ):
        assert (await client.get("/")).status_code == 200
        nursery.start_soon(certificate.keep_fresh)
        before = certificate.context()
        other.issue("server", alternative="IP:127.0.0.1")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(CHECK_INTERVAL)
        while certificate.context() is before:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await later.get("/")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_a_certificate_with_the_key_of_another_changes_nothing(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = await serving_certificate(Authority(tmp_path), tmp_path)
    before = certificate.context()
    _, key = Authority(tmp_path).issue("elsewhere")
    key.rename(tmp_path / "server.key")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificate.keep_fresh)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(CHECK_INTERVAL)
        while "changed certificate can't be used" not in caplog.text:
            await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert certificate.context() is before


async def test_a_certificate_that_stays_is_not_read_again(tmp_path: Path, mock_clock: MockClock) -> None:
    certificate = await serving_certificate(Authority(tmp_path), tmp_path)
    before = certificate.context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificate.keep_fresh)
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.05)
            mock_clock.jump(CHECK_INTERVAL)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    assert certificate.context() is before
