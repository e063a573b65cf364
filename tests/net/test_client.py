import tracemalloc
from collections.abc import AsyncIterator, Callable

import httpx
import msgspec
import pytest
import trio
import trio.testing

from secrets_manager.net.client import Authorization, HttpClient, Response
from secrets_manager.net.errors import HttpError, MalformedResponse, ResponseTooLarge, TimedOut

Answer = Callable[[httpx.Request], httpx.Response]


def client_of(
    answer: Answer, *, url: str = "http://x/", authorization: Authorization | None = None, max_body: int = 1000
) -> HttpClient:
    return HttpClient(
        httpx.MockTransport(answer), base_url=url, timeout=7.0, max_body=max_body, authorization=authorization
    )


@pytest.mark.parametrize("url", ["http://x/base", "http://x/base/", "http://me:pw@x/base"])
async def test_path_follows_that_of_the_base_url(url: str) -> None:
    client = client_of(lambda request: httpx.Response(200, text=str(request.url)), url=url)

    assert (await client.request("GET", "/a%2520b", query={"q": "c d"})).body == b"http://x/base/a%2520b?q=c+d"


async def test_timeout_goes_with_each_request() -> None:
    client = client_of(lambda request: httpx.Response(200, json=request.extensions["timeout"]))
    sent = msgspec.json.decode((await client.request("GET", "/")).body, type=dict[str, float])

    assert sent == {"connect": 7.0, "read": 7.0, "write": 7.0, "pool": 7.0}


async def test_response_is_returned_whole_and_uncompressed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, headers={"A": "b"}, content=request.headers["Accept-Encoding"])

    response = await client_of(answer).request("GET", "/")

    assert (response.status, response.headers["a"], response.body) == (201, "b", b"identity")


@pytest.mark.parametrize(("coding", "taken"), [("gzip", False), ("identity", True)])
async def test_compressed_response_is_refused(coding: str, *, taken: bool) -> None:
    client = client_of(lambda _: httpx.Response(200, headers={"Content-Encoding": coding}, stream=Chunks(b"bomb", 1)))
    if taken:
        assert (await client.request("GET", "/")).body == b"bomb"
        return
    with pytest.raises(MalformedResponse, match="compressed"):
        await client.request("GET", "/")


class Chunks(httpx.AsyncByteStream):
    """A body of so many equal chunks."""

    def __init__(self, chunk: bytes, count: int) -> None:
        self._chunk = chunk
        self._left = count

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return self._chunk


@pytest.mark.parametrize(("size", "taken"), [(100, True), (101, False)])
async def test_body_has_a_bound(size: int, *, taken: bool) -> None:
    client = client_of(lambda _: httpx.Response(200, stream=Chunks(b"x", size)), max_body=100)
    if taken:
        assert len((await client.request("GET", "/")).body) == 100
        return
    with pytest.raises(ResponseTooLarge, match="longer than 100 bytes"):
        await client.request("GET", "/")


async def test_body_is_held_once_while_it_comes() -> None:
    size, chunk = 16 * 1024 * 1024, b"x" * 65_536
    client = client_of(lambda _: httpx.Response(200, stream=Chunks(chunk, size // len(chunk))), max_body=size)
    tracemalloc.start()
    try:
        body = (await client.request("GET", "/")).body
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(body) == size
    assert peak < 1.25 * size


class SecondTry(Authorization):
    """Knows what was refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    async def present(self) -> str:
        return "Bearer first"

    async def renewed(self, refused: str) -> str:
        self.refused.append(refused)
        return "Bearer second"


class Servers(httpx.MockTransport):
    """Counts how often idle connections were closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("accepted", ["Bearer first", "Bearer second", "Bearer third"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_request_that_is_refused_is_sent_once_more_as_another_by_another_connection(
    accepted: str, *, streamed: bool
) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200 if seen[-1] == accepted else 401)

    authorization, servers = SecondTry(), Servers(answer)
    client = HttpClient(servers, base_url="http://x", authorization=authorization)
    if streamed:
        async with client.stream("GET", "/", silence=1.0) as response:
            status = response.status
    else:
        status = (await client.request("GET", "/")).status

    assert seen == ["Bearer first"] if accepted == "Bearer first" else ["Bearer first", "Bearer second"]
    assert authorization.refused == ["Bearer first"] * (len(seen) - 1)
    assert servers.closed == len(seen) - 1
    assert status == (401 if accepted == "Bearer third" else 200)


def drip_slowly(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=Dripping())


async def test_exchange_that_takes_too_long_is_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    client = HttpClient(httpx.MockTransport(drip_slowly), base_url="http://x", timeout=5.0, deadline=7.0)
    with pytest.raises(TimedOut, match="no whole response within 7 s"):
        await client.request("GET", "/")

    assert trio.current_time() == pytest.approx(7.0)


class Dripping(httpx.AsyncByteStream):
    """Sends a byte a second."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(1.0)
        return b"x"


async def test_stream_whose_head_does_not_come_is_a_timeout_and_its_body_may_take_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        return await trio.sleep_forever()

    with pytest.raises(TimedOut, match="no response within 7 s"):
        async with HttpClient(httpx.MockTransport(never), base_url="http://x", timeout=7.0).stream(
            "GET", "/", silence=90
        ):
            raise AssertionError
    async with HttpClient(httpx.MockTransport(drip_slowly), base_url="http://x", timeout=7.0).stream(
        "GET", "/", silence=90
    ) as response:
        with pytest.raises(ResponseTooLarge):
            await response.read(max_body=20)

    assert trio.current_time() == pytest.approx(7.0 + 21.0)


@pytest.mark.parametrize("path", ["/a\r\nHost: other", "/\x00", "/" + "x" * 100_000])
async def test_url_that_can_not_be_sent_is_an_error_that_quotes_nothing(path: str) -> None:
    with pytest.raises(HttpError) as caught:
        await client_of(lambda _: httpx.Response(200)).request("GET", path + "canary")

    assert "canary" not in str(caught.value)


def test_neither_a_response_nor_a_client_shows_what_may_be_secret() -> None:
    client = client_of(lambda _: httpx.Response(200), url="http://me:canary@x/")

    assert repr(client) == "HttpClient(http://x)"
    assert repr(Response(200, httpx.Headers({"X-Token": "canary"}), b"canary")) == "Response(200, 6 bytes)"
