import gc
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from secrets_manager.net.client import HttpClient, Response
from secrets_manager.net.errors import CertificateNotTrusted, ConnectFailed, ConnectionLost, ResponseTooLarge, TimedOut
from secrets_manager.net.tls import Tls, client_context
from secrets_manager.net.transport import Transport

KEEPALIVE_EXPIRY = 60.0

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DEADLINE = 60.0
"""Seconds, on a real clock: more than anything here takes on a busy machine."""


class Peer:
    """A server on loopback that answers each request with `answer`, and counts its open connections."""

    def __init__(self, answer: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        self._answer = answer
        self.url = ""
        self.open = 0
        self.opened = 0
        """In all."""
        self.received: list[bytes] = []
        self._changed = trio.Event()

    async def serve(self, stream: trio.abc.Stream) -> None:
        self._count(+1)
        received = b""
        try:
            async with stream:
                while chunk := await stream.receive_some():
                    self.received.append(bytes(chunk))
                    received += chunk
                    if b"\r\n\r\n" in received:
                        received = b""
                        await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.open += change
        self.opened += change > 0
        self._changed.set()

    async def reaches(self, connections: int) -> None:
        """Wait until so many connections are open."""
        while self.open != connections:
            self._changed = trio.Event()
            with trio.fail_after(DEADLINE):
                await self._changed.wait()


@asynccontextmanager
async def running(
    answer: Callable[[trio.abc.Stream], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Peer]:
    peer = Peer(answer)
    async with trio.open_nursery() as nursery:
        if tls is None:
            (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), peer.serve, 0)
            port = listener.socket.getsockname()[1]
        else:
            (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, host="127.0.0.1"), peer.serve, 0, tls)
            port = listener.transport_listener.socket.getsockname()[1]
        peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
        yield peer
        nursery.cancel_scope.cancel()


async def answer_ok(stream: trio.abc.Stream) -> None:
    await stream.send_all(OK)


async def answer_never(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def answer_endlessly(stream: trio.abc.Stream) -> None:
    await stream.send_all(STREAM)
    while True:
        await stream.send_all(b"3\r\nabc\r\n")
        await trio.sleep(0.001)


@asynccontextmanager
async def client_of(
    peer: Peer, *, tls: ssl.SSLContext | None = None, read_timeout: float | None = None, max_body: int = 1000
) -> AsyncGenerator[HttpClient]:
    transport = Transport(tls=tls or client_context(verify=False))
    async with aclosing(
        HttpClient(transport, base_url=peer.url, timeout=read_timeout, deadline=DEADLINE, max_body=max_body)
    ) as client:
        yield client


class Gate:
    """Lets a server answer no request before `opened`."""

    def __init__(self) -> None:
        self.opened = trio.Event()

    async def answer(self, stream: trio.abc.Stream) -> None:
        await self.opened.wait()
        await stream.send_all(OK)


async def burst(client: HttpClient, gate: Gate, peer: Peer, requests: int) -> None:
    """Send so many requests at once."""
    async with trio.open_nursery() as nursery:
        for _ in range(requests):
            nursery.start_soon(client.request, "GET", "/")
        await peer.reaches(requests)
        gate.opened.set()


async def test_every_request_has_a_connection_of_its_own_and_none_waits() -> None:
    gate = Gate()
    async with running(gate.answer) as peer, client_of(peer) as client:
        await burst(client, gate, peer, 120)  # httpx's own limit is 100


async def test_idle_connection_is_used_before_another_is_opened() -> None:
    async with running(answer_ok) as peer, client_of(peer) as client:
        for _ in range(10):
            await client.request("GET", "/")

        assert peer.opened == 1
    assert peer.open == 0


async def test_connections_that_a_burst_has_left_are_closed_after_a_minute(mock_clock: trio.testing.MockClock) -> None:
    gate = Gate()
    async with running(gate.answer) as peer, client_of(peer) as client:
        await burst(client, gate, peer, 20)
        for _ in range(59):
            mock_clock.jump(1)
            await client.request("GET", "/")
        assert (peer.opened, peer.open) == (20, 20)

        mock_clock.jump(1)
        await client.request("GET", "/")
        await peer.reaches(1)

        assert peer.opened == 20


async def test_connection_that_was_idle_for_too_long_is_not_used_again(mock_clock: trio.testing.MockClock) -> None:
    async with running(answer_ok) as peer, client_of(peer) as client:
        await client.request("GET", "/")
        mock_clock.jump(KEEPALIVE_EXPIRY)
        await client.request("GET", "/")

        assert peer.opened == 2


async def test_connection_that_the_server_has_closed_is_not_used_again() -> None:
    async def answer_and_close(stream: trio.abc.Stream) -> None:
        await stream.send_all(OK)
        await stream.aclose()

    async with running(answer_and_close) as peer, client_of(peer) as client:
        for _ in range(3):
            assert (await client.request("GET", "/")).status == 200
            await peer.reaches(0)


async def test_connection_to_one_server_serves_no_request_to_another() -> None:
    transport = Transport(tls=client_context(verify=False))
    async with running(answer_ok) as one, running(answer_ok) as other, aclosing(transport):
        for peer in (one, other, one):
            assert (await HttpClient(transport, base_url=peer.url).request("GET", "/")).body == b"{}"

        assert (one.opened, other.opened) == (2, 1)


async def test_timeout_is_of_each_wait_for_bytes() -> None:
    async with running(answer_never) as peer, client_of(peer, read_timeout=0.1) as client:
        with pytest.raises(TimedOut, match=r"nothing came for 0\.1 s"):
            await client.request("GET", "/")


async def test_server_that_takes_no_data_is_a_timeout() -> None:
    async def take_nothing(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with running(take_nothing) as peer, client_of(peer, read_timeout=0.1) as client:
        with pytest.raises(TimedOut, match="takes no data"):
            await client.request("POST", "/", content=b"x" * 50_000_000)


async def test_refusal_of_a_body_that_is_not_taken_is_read() -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with running(refuse) as peer, client_of(peer) as client:
        assert (await client.request("POST", "/", content=b"x" * 100)).status == 413


async def test_response_past_the_limit_is_refused_and_its_connection_closed() -> None:
    async with running(answer_endlessly) as peer, client_of(peer, max_body=100) as client:
        with pytest.raises(ResponseTooLarge, match="longer than 100 bytes"):
            await client.request("GET", "/")
        await peer.reaches(0)


async def test_a_connection_that_breaks_is_distinguished_from_one_that_is_refused() -> None:
    async def break_off(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{")
        await stream.aclose()

    async with running(break_off) as peer, client_of(peer) as client:
        with pytest.raises(ConnectionLost):
            await client.request("GET", "/")
    async with client_of(peer) as client:
        with pytest.raises(ConnectFailed, match="refused"):
            await client.request("GET", "/")


@pytest.mark.parametrize("host", ["vault..svc", "x" * 64])
async def test_a_host_that_can_not_be_is_one_that_can_not_be_reached(host: str) -> None:
    async with aclosing(HttpClient(Transport(tls=client_context()), base_url=f"https://{host}")) as client:
        with pytest.raises(ConnectFailed):
            await client.request("GET", "/")


async def test_a_server_name_that_can_not_be_is_one_that_can_not_be_reached() -> None:
    tls = Tls(client_context(), server_name=".example.com")
    async with (
        running(answer_never) as peer,
        aclosing(HttpClient(Transport(tls=tls), base_url=peer.url.replace("http", "https"))) as client,
    ):
        with pytest.raises(ConnectFailed):
            await client.request("GET", "/")


async def test_stream_left_in_its_middle_closes_its_connection() -> None:
    async with running(answer_endlessly) as peer, client_of(peer) as client:
        async with client.stream("GET", "/", silence=DEADLINE) as response:
            assert await anext(response.chunks)
        await peer.reaches(0)


async def test_stream_that_was_read_to_its_end_leaves_its_connection_to_the_next_request() -> None:
    async with running(answer_ok) as peer, client_of(peer) as client:
        for _ in range(2):
            async with client.stream("GET", "/", silence=DEADLINE) as response:
                assert b"".join([chunk async for chunk in response.chunks]) == b"{}"

        assert peer.opened == 1


async def test_silence_in_a_stream_is_a_timeout() -> None:
    async def fall_silent(stream: trio.abc.Stream) -> None:
        await stream.send_all(STREAM + b"3\r\nabc\r\n")
        await trio.sleep_forever()

    async with (
        running(fall_silent) as peer,
        client_of(peer) as client,
        client.stream("GET", "/", silence=0.1) as response,
    ):
        assert await anext(response.chunks) == b"abc"
        with pytest.raises(TimedOut, match=r"nothing came for 0\.1 s"):
            await anext(response.chunks)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=peer", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", tmp_path / "peer.pem", "-out", tmp_path / "peer.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    with (tmp_path / "peer.pem").open("a") as file:
        file.write((tmp_path / "peer.crt").read_text())
    return tmp_path / "peer.pem"


class CancelAt(trio.abc.Instrument):
    """Cancels a scope just before the task's n-th step: the cancellation strikes at the checkpoint after it."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._task = trio.lowlevel.current_task()
        self._left = step
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(step: int, call: Callable[[], Awaitable[Response]]) -> bool:
    """Whether the call was struck, and not done before."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


@pytest.mark.parametrize(("warm", "waits"), [(False, 3), (True, 1)], ids=["new connection", "kept connection"])
async def test_request_cancelled_at_any_point_leaves_no_connection_behind(
    *, warm: bool, waits: int, certificate: Path
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trust = client_context(ca_file=str(certificate))
    step = 0
    struck = True
    async with running(answer_ok, tls=server) as peer:
        while struck:
            step += 1
            async with client_of(peer, tls=trust) as client:
                if warm:
                    await client.request("GET", "/")

                async def call(client: HttpClient = client) -> Response:
                    return await client.request("GET", "/")

                struck = await cancelled_at(step, call)

                if struck:
                    await trio.testing.wait_all_tasks_blocked()
                    gc.collect()
                    await peer.reaches(0)
                assert (await client.request("GET", "/")).status == 200
    assert step > waits


async def test_request_is_one_record_of_tls(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trust = client_context(ca_file=str(certificate))
    async with running(answer_ok, tls=server) as peer, client_of(peer, tls=trust) as client:
        await client.request("POST", "/", content=b"body")

    assert [(one[:6], one[-8:]) for one in peer.received] == [(b"POST /", b"\r\n\r\nbody")]


async def test_closed_connection_leaves_no_tls_to_the_garbage_collector(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trust = client_context(ca_file=str(certificate))
    async with running(answer_ok, tls=server) as peer:
        gc.collect()
        gc.disable()
        try:
            async with client_of(peer, tls=trust) as client:
                await client.request("GET", "/")
            await peer.reaches(0)

            ours = [each for each in gc.get_objects() if isinstance(each, ssl.SSLObject) and not each.server_side]
        finally:
            gc.enable()

    assert ours == []


async def test_an_untrusted_certificate_is_reported_in_the_words_of_tls(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with running(answer_ok, tls=server) as peer, client_of(peer, tls=client_context()) as client:
        with pytest.raises(CertificateNotTrusted, match="self-signed"):
            await client.request("GET", "/")
        await peer.reaches(0)
