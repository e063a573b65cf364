import gc
import socket
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
import trio.testing

from secrets_manager.net.exchange import Answer, Request, Server
from secrets_manager.net.streams import ReplyTooLarge, gather, read_whole, streaming
from secrets_manager.net.tls import client_context
from secrets_manager.net.transport import Authorization, Borrowed, Caller, Spread, describe, open_lane, open_pool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PATIENCE = 60.0
"""Seconds, on a real clock: more than anything here takes on a busy machine."""


class Peer:
    """A server on loopback that answers each request with `answer`, and counts its open connections."""

    def __init__(self, answer: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        self._answer = answer
        self.url = ""
        self.open = 0
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
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.open += change
        self._changed.set()

    async def reaches(self, connections: int) -> None:
        """Wait until so many connections are open."""
        while self.open != connections:
            self._changed = trio.Event()
            with trio.fail_after(PATIENCE):
                await self._changed.wait()


@asynccontextmanager
async def running(
    answer: Callable[[trio.abc.Stream], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
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


async def answer_soon(stream: trio.abc.Stream) -> None:
    await trio.sleep(0.003)
    await stream.send_all(OK)


async def answer_never(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def answer_endlessly(stream: trio.abc.Stream) -> None:
    await stream.send_all(STREAM)
    while True:
        await stream.send_all(b"3\r\nabc\r\n")
        await trio.sleep(0.001)


def spread(*, tls: ssl.SSLContext | None = None, within: float = PATIENCE, max_body: int = 1000) -> Spread:
    context = tls or ssl.create_default_context()
    return Spread(lambda: open_lane(tls=context), within=within, max_body=max_body)


def one_pool() -> httpx.AsyncHTTPTransport:
    return open_pool(tls=ssl.create_default_context())


def client_of(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport, timeout=PATIENCE, trust_env=False)


@asynccontextmanager
async def caller_of(
    spread: Spread, *, url: str = "http://x/", auth: Authorization | None = None
) -> AsyncIterator[Caller]:
    async with aclosing(spread):
        yield Caller(spread, base_url=url, headers=(), timeout=PATIENCE, auth=auth)


def through(answer: Callable[[httpx.Request], httpx.Response]) -> Spread:
    return Spread(lambda: Borrowed(httpx.MockTransport(answer)))


class Gate:
    """Makes lanes that hold each request until `opened`."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.lanes: list[Lane] = []

    def make(self) -> "Lane":
        self.lanes.append(Lane(self.opened))
        return self.lanes[-1]


class Lane:
    def __init__(self, opened: trio.Event) -> None:
        self.opened = opened
        self.busy = 0
        self.busiest = 0
        self.requests = 0
        self.closed = False

    async def exchange(self, request: Request, *, at_most: int) -> Answer:
        self.requests += 1
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        try:
            await self.opened.wait()
        finally:
            self.busy -= 1
        return Answer(200, [], b"{}")

    async def aclose(self) -> None:
        self.closed = True


async def test_every_request_has_a_lane_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    gate = Gate()
    async with caller_of(Spread(gate.make)) as caller, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(caller.call, "GET", "/")
        await trio.testing.wait_all_tasks_blocked()

        assert [lane.busiest for lane in gate.lanes] == [1] * 10
        gate.opened.set()


async def test_lanes_that_are_idle_are_taken_before_another_is_opened(autojump_clock: trio.testing.MockClock) -> None:
    gate = Gate()
    gate.opened.set()
    async with caller_of(Spread(gate.make)) as caller:
        for _ in range(10):
            await caller.call("GET", "/")

    assert len(gate.lanes) == 1
    assert gate.lanes[0].closed


async def test_the_lane_that_was_used_last_is_taken_first(autojump_clock: trio.testing.MockClock) -> None:
    gate = Gate()
    async with caller_of(Spread(gate.make)) as caller:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(caller.call, "GET", "/")
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        for _ in range(4):
            await caller.call("GET", "/")

    assert sorted(lane.requests for lane in gate.lanes) == [1, 5]


async def test_connections_that_a_burst_has_left_are_closed_after_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = Gate()
    async with caller_of(Spread(gate.make)) as caller:
        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(caller.call, "GET", "/")
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        for _ in range(59):
            await trio.sleep(1)
            await caller.call("GET", "/")
        assert not any(lane.closed for lane in gate.lanes)

        for _ in range(120):
            await trio.sleep(1)
            await caller.call("GET", "/")

        assert len(gate.lanes) == 64
        assert [lane.requests for lane in gate.lanes if not lane.closed] == [180]


async def test_a_lane_whose_connection_was_closed_for_its_age_is_not_used_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = Gate()
    gate.opened.set()
    async with caller_of(Spread(gate.make)) as caller:
        for _ in range(2):
            await caller.call("GET", "/")
            await trio.sleep(60)
            await caller.call("GET", "/")

    assert [(lane.requests, lane.closed) for lane in gate.lanes] == [(1, True), (2, True), (1, True)]


async def test_timeout_of_the_caller_goes_with_each_request() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=request.extensions["timeout"])

    async with caller_of(through(answer)) as caller:
        told = msgspec.json.decode((await caller.call("GET", "/")).body, type=dict[str, float])

    assert (told["connect"], told["read"], told["write"]) == (PATIENCE, PATIENCE, PATIENCE)


async def test_connection_keeps_the_timeout_of_its_caller() -> None:
    answers = iter((answer_ok, answer_never))

    async def answer_once(stream: trio.abc.Stream) -> None:
        await next(answers)(stream)

    async with running(answer_once) as peer, aclosing(spread()) as lanes:
        patient, other = (Caller(lanes, base_url=peer.url, headers=(), timeout=each) for each in (PATIENCE, 0.1))
        await patient.call("GET", "/")
        with pytest.raises(httpx.ReadTimeout) as caught:
            await other.call("GET", "/")

    assert "no whole reply" not in str(caught.value)


async def test_transport_that_is_lent_is_closed_with_its_lane() -> None:
    class Lent(httpx.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    lent = Lent(lambda _: httpx.Response(200))
    async with caller_of(Spread(lambda: Borrowed(lent))) as caller:
        await caller.call("GET", "/")
        assert not lent.closed

    assert lent.closed


class SecondTry(Authorization):
    """Knows what was refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    async def present(self) -> str:
        return "Bearer first"

    async def renewed(self, refused: str) -> str:
        self.refused.append(refused)
        return "Bearer second"


@pytest.mark.parametrize("accepted", ["Bearer first", "Bearer second", "Bearer third"])
async def test_request_that_is_refused_is_sent_once_more_with_what_is_renewed(accepted: str) -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["Authorization"], request.headers.get("Connection", "")))
        return httpx.Response(200 if seen[-1][0] == accepted else 401)

    for_a_caller, for_a_client = SecondTry(), SecondTry()
    async with caller_of(through(answer), auth=for_a_caller) as caller:
        status = (await caller.call("GET", "/")).status
    by_caller, seen = seen, []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=for_a_client) as client:
        assert (await client.get("http://x/")).status_code == status

    first, second = ("Bearer first", ""), ("Bearer second", "close")
    assert by_caller == ([first] if accepted == "Bearer first" else [first, second])
    assert [told for told, _ in seen] == [told for told, _ in by_caller]
    assert for_a_caller.refused == for_a_client.refused == ["Bearer first"] * (len(by_caller) - 1)
    assert status == (401 if accepted == "Bearer third" else 200)


def test_neither_a_request_nor_an_answer_shows_what_is_in_it() -> None:
    request = Request(Server(b"https", b"x", None), "GET", b"/secret", [(b"X-Vault-Token", b"canary")], b"canary", {})

    assert repr(request) == "Request(GET)"
    assert repr(Answer(200, [(b"X-Token", b"canary")], b"canary")) == "Answer(200, 6 bytes)"


async def test_reply_is_returned_whole_and_uncompressed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, headers={"A": "b"}, content=request.headers["Accept-Encoding"])

    async with caller_of(through(answer)) as caller:
        reply = await caller.call("GET", "/")

    assert (reply.status, reply.headers["a"], reply.body) == (201, "b", b"identity")


async def test_compressed_reply_is_refused() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"bomb"))

    async with caller_of(through(answer)) as caller:
        with pytest.raises(httpx.DecodingError, match="compressed"):
            await caller.call("GET", "/")


@pytest.mark.parametrize(("encoding", "taken"), [(b"gzip", False), (b"identity", True)])
async def test_compressed_reply_is_refused_by_a_connection_too(encoding: bytes, *, taken: bool) -> None:
    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(OK.replace(b"\r\n\r\n", b"\r\ncontent-encoding: " + encoding + b"\r\n\r\n"))

    async with running(answer) as peer, caller_of(spread(), url=peer.url) as caller:
        if taken:
            assert (await caller.call("GET", "/")).body == b"{}"
            return
        with pytest.raises(httpx.DecodingError, match="compressed"):
            await caller.call("GET", "/")
        await peer.reaches(0)


async def test_exchange_that_takes_too_long_is_a_timeout_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    gate = Gate()
    transport = Spread(gate.make, within=7.0)
    async with caller_of(transport) as caller:
        with pytest.raises(httpx.ReadTimeout, match="no whole reply within 7 s"):
            await caller.call("GET", "/")

    assert trio.current_time() == pytest.approx(7.0)
    assert [lane.closed for lane in gate.lanes] == [True]


async def test_lane_of_a_cancelled_request_is_closed_and_no_other(autojump_clock: trio.testing.MockClock) -> None:
    gate = Gate()
    async with caller_of(Spread(gate.make)) as caller, trio.open_nursery() as nursery:
        nursery.start_soon(caller.call, "GET", "/")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await caller.call("GET", "/")
        nursery.start_soon(caller.call, "GET", "/")
        await trio.testing.wait_all_tasks_blocked()

        assert [(lane.busy, lane.closed) for lane in gate.lanes] == [(1, False), (0, True), (1, False)]
        gate.opened.set()


async def test_reply_past_the_limit_is_refused_and_its_connection_dropped() -> None:
    async with running(answer_endlessly) as peer, caller_of(spread(max_body=100), url=peer.url) as caller:
        with pytest.raises(ReplyTooLarge, match="longer than 100 bytes"):
            await caller.call("GET", "/")
        await peer.reaches(0)


async def test_reply_of_the_limit_is_taken() -> None:
    reply = await read_whole(httpx.Response(200, content=b"x" * 100), at_most=100)

    assert len(reply) == 100


async def test_a_reply_is_held_once_while_it_is_gathered() -> None:
    size, chunk = 16 * 1024 * 1024, b"x" * 65_536

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // len(chunk)):
            await trio.lowlevel.checkpoint()
            yield chunk

    tracemalloc.start()
    try:
        body = await gather(chunks(), at_most=size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(body) == size
    assert peak < 1.25 * size


async def test_request_given_up_while_its_body_is_sent_abandons_no_generator() -> None:
    async def never(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with running(never) as peer, caller_of(spread(), url=peer.url) as caller:
        with trio.move_on_after(0.1):
            await caller.call("POST", "/", content=b"x" * 50_000_000)
        gc.collect()  # would warn of async generators that were left alone


async def test_stream_left_in_its_middle_closes_its_connection_and_abandons_no_generator() -> None:
    async with running(answer_endlessly) as peer, client_of(one_pool()) as client:
        response = await client.send(client.build_request("GET", peer.url), stream=True)
        async with streaming(response) as chunks:
            await anext(chunks)
        gc.collect()  # would warn of async generators that were left alone
        await peer.reaches(0)


async def test_requests_given_up_under_load_take_no_slot_with_them() -> None:
    """With a limit on the connections of httpx's pool, this churn takes most of its slots for ever."""
    lane = one_pool()
    async with running(answer_soon) as peer, client_of(lane) as client:

        async def give_up(after: float) -> None:
            with trio.move_on_after(after):
                await client.get(peer.url)

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(give_up, 0.001 + 0.0007 * (number % 11))

        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(lane._pool)


async def test_request_never_waits_for_a_slot() -> None:
    async with running(answer_never) as peer, client_of(one_pool()) as client, trio.open_nursery() as nursery:
        for _ in range(120):  # httpx's own limit is 100
            nursery.start_soon(client.get, peer.url)
        await peer.reaches(120)
        nursery.cancel_scope.cancel()


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


async def cancelled_at(step: int, call: Callable[[], Awaitable[Answer]]) -> bool:
    """Whether the call was struck, and not done before."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "kept connection"])
async def test_request_cancelled_at_any_point_leaves_no_connection_behind(*, warm: bool, certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trust = client_context(ca_file=str(certificate))
    step = 0
    struck = True
    async with running(answer_ok, tls=server) as peer:
        while struck:
            step += 1
            transport = spread(tls=trust)
            async with caller_of(transport, url=peer.url) as caller:
                if warm:
                    await caller.call("GET", "/")

                async def call(caller: Caller = caller) -> Answer:
                    return await caller.call("GET", "/")

                struck = await cancelled_at(step, call)

                if struck:
                    await trio.testing.wait_all_tasks_blocked()
                    gc.collect()
                    await peer.reaches(0)
                assert (await caller.call("GET", "/")).status == 200
    assert step > 3


async def test_request_is_one_record_of_tls(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trust = client_context(ca_file=str(certificate))
    async with running(answer_ok, tls=server) as peer, caller_of(spread(tls=trust), url=peer.url) as caller:
        await caller.call("POST", "/", content=b"body")

    assert [(one[:6], one[-8:]) for one in peer.received] == [(b"POST /", b"\r\n\r\nbody")]


async def test_refused_certificate_is_described_in_the_words_of_tls(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with running(answer_ok, tls=server) as peer, caller_of(spread(), url=peer.url) as caller:
        with pytest.raises(httpx.ConnectError) as caught:
            await caller.call("GET", "/")

    assert "ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED]" in describe(caught.value)


async def test_refused_connection_is_described_by_httpx() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with caller_of(spread(), url=f"http://127.0.0.1:{unused.getsockname()[1]}/") as caller:
            with pytest.raises(httpx.ConnectError) as caught:
                await caller.call("GET", "/")

    assert describe(caught.value).startswith("ConnectError: all attempts to connect to 127.0.0.1:")


def test_headers_are_not_described() -> None:
    assert describe(httpx.LocalProtocolError("Illegal header value b'hunter2'")) == "LocalProtocolError"
