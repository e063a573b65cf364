from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import version

import httpx
import msgspec
import pytest
import trio
import trio.testing

from secrets_manager.kube.client import KubeClient, WarningHandler, open_client
from secrets_manager.kube.credentials import Cluster
from secrets_manager.kube.errors import (
    ApiError,
    Conflict,
    CredentialsError,
    Expired,
    FieldConflict,
    FieldOwner,
    KubeError,
    MalformedResponse,
    ResponseTooLarge,
    Throttled,
    Unauthorized,
    Unreachable,
    WatchTimedOut,
)
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.page import Page
from secrets_manager.kube.restclient import NO_STATUS
from secrets_manager.net.client import Authorization
from secrets_manager.net.tls import Tls, client_context
from tests.kube.things import THINGS, Thing, thing

MAX_OBJECT_BYTES = 16 * 1024 * 1024

KEY = ObjectKey("ns", "a")
COLLECTION = "/apis/example.com/v1/namespaces/ns/things"
WIRED = {"metadata": {"name": "a", "namespace": "ns", "uid": "u1", "resourceVersion": "1"}, "colour": "red"}
CLUSTER = Cluster(url="https://cluster.example/", namespace="ns", tls=Tls(client_context()))
Call = Callable[[KubeClient], Awaitable[object]]


class Server:
    """Answers every request with `reply`, and keeps the last one."""

    def __init__(self, reply: httpx.Response | Exception) -> None:
        self._reply = reply
        self.request = httpx.Request("GET", "http://none")

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply

    @property
    def asked(self) -> tuple[str, str, dict[str, str]]:
        return self.request.method, self.request.url.path, dict(self.request.url.params)

    @property
    def body(self) -> object:
        return msgspec.json.decode(self.request.content)


@asynccontextmanager
async def client_of(server: Server) -> AsyncGenerator[KubeClient]:
    async with open_client(CLUSTER, transport=httpx.MockTransport(server.answer), timeout=5.0) as client:
        yield client


def ok(document: object) -> httpx.Response:
    return httpx.Response(200, content=msgspec.json.encode(document))


def refused(code: int, **fields: object) -> httpx.Response:
    return httpx.Response(code, content=msgspec.json.encode({"kind": "Status", **fields}))


class Stream(httpx.AsyncByteStream):
    """Chunks, then an error, an end, or silence."""

    def __init__(self, *chunks: bytes, then: Exception | None = None, silent: bool = False) -> None:
        self._chunks = [*chunks]
        self._then = then
        self._silent = silent
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._chunks:
            return self._chunks.pop(0)
        if self._silent:
            await trio.sleep_forever()
        raise self._then or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


async def test_list_asks_for_a_page_and_decodes_it() -> None:
    server = Server(ok({"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [WIRED]}))
    async with client_of(server) as client:
        page = await client.list_page(THINGS, namespace="ns", label_selector="l=1", limit=7, continue_token="t")

    assert page == Page([thing("a", version=1)], "9", "more", [])
    assert server.asked == ("GET", COLLECTION, {"limit": "7", "labelSelector": "l=1", "continue": "t"})


async def test_reply_longer_than_any_object_can_be_is_too_large() -> None:
    whole = b'{"metadata": {"resourceVersion": "9"}}'
    for body, fits in ((whole.ljust(MAX_OBJECT_BYTES), True), (whole.ljust(MAX_OBJECT_BYTES + 1), False)):
        async with client_of(Server(httpx.Response(200, stream=Stream(body)))) as client:
            with nullcontext() if fits else pytest.raises(ResponseTooLarge, match="the response is longer than"):
                await client.list_page(THINGS)


async def test_list_of_all_namespaces_sends_no_empty_parameters() -> None:
    server = Server(ok({"metadata": {"resourceVersion": "9"}, "items": None}))
    async with client_of(server) as client:
        page = await client.list_page(THINGS)

    assert page == Page([], "9", "", [])
    assert server.asked == ("GET", "/apis/example.com/v1/things", {"limit": "500"})


async def test_item_that_cannot_be_decoded_is_named_and_costs_only_itself() -> None:
    bad = {"metadata": {"name": "b", "namespace": "ns"}, "colour": 5}
    server = Server(ok({"metadata": {"resourceVersion": "9"}, "items": [bad, WIRED]}))
    async with client_of(server) as client:
        page = await client.list_page(THINGS)

    assert page == Page([thing("a", version=1)], "9", "", [ObjectKey("ns", "b")])


async def test_long_list_lets_others_have_their_turn(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(ok({"metadata": {"resourceVersion": "9"}, "items": [WIRED] * 500}))
    checkpoints = 0
    checkpoints_at_item: list[int] = []

    async def other() -> None:
        nonlocal checkpoints
        while True:
            await trio.lowlevel.checkpoint()
            checkpoints += 1

    def decode(raw: bytes | msgspec.Raw) -> Thing:
        checkpoints_at_item.append(checkpoints)
        return THINGS.decode(raw)

    async with client_of(server) as client, trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await client.list_page(THINGS._replace(decode=decode))
        nursery.cancel_scope.cancel()

    assert checkpoints_at_item[-1] - checkpoints_at_item[0] >= 5


WRITE = {"fieldManager": "secrets-manager"}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda c: c.get(THINGS, KEY), ("GET", f"{COLLECTION}/a", {})),
        (lambda c: c.create(THINGS, "ns", thing("a", version=1)), ("POST", COLLECTION, WRITE)),
        (lambda c: c.patch(THINGS, KEY, {"colour": "red"}), ("PATCH", f"{COLLECTION}/a", WRITE)),
        (lambda c: c.patch(THINGS, KEY, {}, subresource="status"), ("PATCH", f"{COLLECTION}/a/status", WRITE)),
    ],
    ids=["get", "create", "patch", "patch status"],
)
async def test_call_asks_and_returns_what_the_server_has_now(
    call: Call, expected: tuple[str, str, dict[str, str]]
) -> None:
    server = Server(ok(WIRED))
    async with client_of(server) as client:
        assert await call(client) == thing("a", version=1)

    assert server.asked == expected


@pytest.mark.parametrize(
    "write",
    [
        lambda c, on_warning: c.create(THINGS, "ns", thing("a", version=1), on_warning=on_warning),
        lambda c, on_warning: c.patch(THINGS, KEY, {"colour": "red"}, on_warning=on_warning),
    ],
    ids=["create", "patch"],
)
async def test_write_passes_on_warnings(
    write: Callable[[KubeClient, WarningHandler], Awaitable[Thing]],
) -> None:
    headers = [("Warning", '299 - "one"'), ("warning", '299 - "two"')]
    server = Server(httpx.Response(200, content=msgspec.json.encode(WIRED), headers=headers))
    warnings: list[str] = []
    async with client_of(server) as client:
        assert await write(client, warnings.append) == thing("a", version=1)

    assert warnings == ["one", "two"]


@pytest.mark.parametrize(
    ("call", "content_type", "body"),
    [
        (lambda c: c.create(THINGS, "ns", thing("a", version=1)), "application/json", WIRED),
        (lambda c: c.patch(THINGS, KEY, {"colour": None}), "application/merge-patch+json", {"colour": None}),
    ],
    ids=["create", "patch"],
)
async def test_write_sends_json(call: Call, content_type: str, body: object) -> None:
    server = Server(ok(WIRED))
    async with client_of(server) as client:
        await call(client)

    assert (server.request.headers["Content-Type"], server.body) == (content_type, body)


@pytest.mark.parametrize(
    ("version", "preconditions"), [("", {"uid": "u1"}), ("5", {"uid": "u1", "resourceVersion": "5"})]
)
async def test_delete_is_of_that_very_object(version: str, preconditions: dict[str, str]) -> None:
    server = Server(ok({"kind": "Status", "status": "Success"}))
    async with client_of(server) as client:
        await client.delete(THINGS, KEY, uid="u1", resource_version=version)

    assert server.asked == ("DELETE", f"{COLLECTION}/a", {})
    assert server.body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": preconditions,
        "propagationPolicy": "Background",
    }


async def read_watch(client: KubeClient) -> list[bytes]:
    chunks: list[bytes] = []
    await read_watch_into(client, chunks)
    return chunks


async def read_watch_into(client: KubeClient, chunks: list[bytes], *, then: Exception | None = None) -> None:
    async with client.watch(THINGS, resource_version="9", timeout_seconds=300.0) as stream:
        async for chunk in stream:
            chunks.append(chunk)
            if then is not None:
                raise then


CALLS: list[Call] = [
    lambda c: c.list_page(THINGS),
    lambda c: c.get(THINGS, KEY),
    lambda c: c.create(THINGS, "ns", thing("a", version=1)),
    lambda c: c.patch(THINGS, KEY, {}),
    lambda c: c.delete(THINGS, KEY, uid="u1"),
    read_watch,
]
each_call = pytest.mark.parametrize("call", CALLS, ids=["list", "get", "create", "patch", "delete", "watch"])


@each_call
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ReadTimeout(""), Unreachable),
        (httpx.RemoteProtocolError("cut"), Unreachable),
        (httpx.LocalProtocolError("illegal header value 'Bearer hunter2'"), Unreachable),
        (httpx.InvalidURL("hunter2"), Unreachable),
        (CredentialsError("no plugin"), CredentialsError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_failure_of_the_transport_is_translated(call: Call, raised: Exception, expected: type[KubeError]) -> None:
    async with client_of(Server(raised)) as client:
        with pytest.raises(expected) as caught:
            await call(client)

    assert type(caught.value) is expected
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


@each_call
async def test_refusal_is_reported_with_its_request(call: Call) -> None:
    async with client_of(Server(refused(401, reason="Unauthorized", message="who?"))) as client:
        with pytest.raises(Unauthorized, match=r"/apis/example\.com/v1/.*: 401 Unauthorized: who\?"):
            await call(client)


@each_call
async def test_redirect_is_not_followed(call: Call) -> None:
    async with client_of(Server(httpx.Response(302, headers={"Location": "https://evil.example/"}))) as client:
        with pytest.raises(ApiError, match="302 Found"):
            await call(client)


@pytest.mark.parametrize("call", CALLS[:4], ids=["list", "get", "create", "patch"])
@pytest.mark.parametrize(
    "body", [b"", b"hunter2", b'{"metadata":"hunter2"}', b"[]", b'{"metadata":{"name":"hunter2\xff"}}']
)
async def test_answer_that_is_no_object_is_malformed_and_not_repeated(call: Call, body: bytes) -> None:
    async with client_of(Server(httpx.Response(200, stream=Stream(body)))) as client:
        with pytest.raises(MalformedResponse) as caught:
            await call(client)

    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"
    assert "/apis/example.com/v1/" in str(caught.value)


async def test_item_without_a_name_spoils_the_list() -> None:
    server = Server(ok({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {}}]}))
    async with client_of(server) as client:
        with pytest.raises(MalformedResponse):
            await client.list_page(THINGS)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7), ({}, 1), ({"Retry-After": "32"}, 32), ({"Retry-After": "3600"}, 32)],
    ids=str,
)
async def test_server_that_sheds_load_is_left_alone_for_its_time_by_all_calls_but_those_apart(
    headers: dict[str, str], seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    shed = httpx.Response(429, content=b"Too many requests, please try again later.", headers=headers)
    asked: list[float] = []
    began = trio.current_time()

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(trio.current_time() - began)
        return shed if len(asked) == 1 else ok(WIRED)

    async with open_client(CLUSTER, transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(Throttled):
            await client.get(THINGS, KEY)
        await client.with_own_throttle().get(THINGS, KEY)
        await client.get(THINGS, KEY)
        await client.get(THINGS, KEY)

    assert asked == [0, 0, seconds, seconds + 0.02]


async def test_those_that_a_server_has_made_wait_do_not_go_all_at_once(autojump_clock: trio.testing.MockClock) -> None:
    shed = httpx.Response(429, content=b"Too many requests, please try again later.", headers={"Retry-After": "7"})
    asked: list[float] = []
    began = trio.current_time()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(trio.current_time() - began)
        return shed if len(asked) == 1 else ok(WIRED)

    async def call_after(seconds: float, client: KubeClient) -> None:
        await trio.sleep(seconds)
        await client.get(THINGS, KEY)

    async def watch(client: KubeClient) -> None:
        async with client.watch(THINGS, resource_version="9", timeout_seconds=300.0):
            pass

    async with open_client(CLUSTER, transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(Throttled):
            await client.get(THINGS, KEY)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call_after, 1, client)  # held
                nursery.start_soon(watch, client)
                nursery.start_soon(call_after, 7, client)  # come again themselves when the time is over

    assert len(asked) == 31
    assert min(asked[1:]) == 7
    assert len([at for at in asked if 7 <= at < 7.1]) <= 6
    assert max(asked) < 8


async def test_a_watch_that_is_shed_makes_the_others_wait_too(autojump_clock: trio.testing.MockClock) -> None:
    replies = [httpx.Response(429, content=b"Too many requests.", headers={"Retry-After": "7"}), ok(WIRED)]
    began = trio.current_time()

    async with open_client(CLUSTER, transport=httpx.MockTransport(lambda _: replies.pop(0))) as client:
        with pytest.raises(Throttled):
            await read_watch(client)
        await client.get(THINGS, KEY)

    assert trio.current_time() - began == 7


async def test_a_server_that_sheds_load_again_makes_those_wait_that_have_not_gone_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[float] = []
    began = trio.current_time()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(trio.current_time() - began)
        if len(asked) in (1, 3):
            return httpx.Response(429, content=b"Too many requests.", headers={"Retry-After": "7"})
        return ok(WIRED)

    async def call(client: KubeClient) -> None:
        with suppress(Throttled):
            await client.get(THINGS, KEY)

    async with open_client(CLUSTER, transport=httpx.MockTransport(answer)) as client:
        await call(client)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(call, client)

    assert asked == pytest.approx([0, 7, 7.02, 14.02, 14.04])


@pytest.mark.parametrize("reason", ["TooManyRequests", ""], ids=["with a reason", "as a webhook denies"])
async def test_throttling_of_one_object_holds_no_other_call(
    reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    replies = [refused(429, reason=reason, details={"retryAfterSeconds": 9}), ok(WIRED)]
    began = trio.current_time()

    async with open_client(CLUSTER, transport=httpx.MockTransport(lambda _: replies.pop(0))) as client:
        with pytest.raises(Throttled):
            await client.get(THINGS, KEY)
        await client.get(THINGS, KEY)

    assert trio.current_time() == began


async def test_conflict_carries_its_code_and_reason() -> None:
    async with client_of(Server(refused(409, reason="Conflict"))) as client:
        with pytest.raises(Conflict) as caught:
            await client.patch(THINGS, KEY, thing("a", version=1))

    assert (caught.value.code, caught.value.reason) == (409, "Conflict")


async def test_watch_asks_for_bookmarks_and_streams_chunks_as_they_come() -> None:
    stream = Stream(b"on", b"e\ntwo\n")
    server = Server(httpx.Response(200, stream=stream))
    async with (
        client_of(server) as client,
        client.watch(THINGS, namespace="ns", label_selector="l", resource_version="9", timeout_seconds=300.0) as chunks,
    ):
        assert [chunk async for chunk in chunks] == [b"on", b"e\ntwo\n"]

    assert stream.closed
    assert server.asked == (
        "GET",
        COLLECTION,
        {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
            "resourceVersion": "9",
            "labelSelector": "l",
        },
    )
    assert server.request.extensions["timeout"] == {"connect": 5.0, "read": 90.0, "write": 5.0, "pool": 5.0}


@pytest.mark.parametrize(
    ("url", "proxy", "where"),
    [
        ("https://u:hunter2@kube.example:6443/k8s/", "", "https://kube.example:6443/k8s"),
        (
            "https://kube.example",
            "http://u:hunter2@proxy:3128",
            "https://kube.example through the proxy http://proxy:3128",
        ),
    ],
)
async def test_failed_connection_is_named_without_passwords(url: str, proxy: str, where: str) -> None:
    cluster = Cluster(url=url, namespace="ns", tls=Tls(client_context()), proxy=proxy)
    transport = httpx.MockTransport(Server(httpx.ConnectError("")).answer)

    async with open_client(cluster, transport=transport) as client:
        with pytest.raises(Unreachable) as raised:
            await client.read("/version")

    assert str(raised.value) == f"GET /version at {where}: no connection"


async def test_watch_that_breaks_in_its_middle_is_unreachable() -> None:
    stream = Stream(b"one\n", then=httpx.ReadError("cut"))
    got: list[bytes] = []
    async with client_of(Server(httpx.Response(200, stream=stream))) as client:
        with pytest.raises(
            Unreachable,
            match=r"watch of /apis/example\.com/v1/things at https://cluster\.example: the connection broke off",
        ) as caught:
            await read_watch_into(client, got)

    assert not isinstance(caught.value, WatchTimedOut)
    assert got == [b"one\n"]
    assert stream.closed


async def test_watch_that_brings_nothing_for_too_long_is_silent() -> None:
    stream = Stream(b"one\n", then=httpx.ReadTimeout(""))
    got: list[bytes] = []
    async with client_of(Server(httpx.Response(200, stream=stream))) as client:
        with pytest.raises(WatchTimedOut, match=r"watch of /apis/example\.com/v1/things: no data for 90 s"):
            await read_watch_into(client, got)

    assert got == [b"one\n"]
    assert stream.closed


async def test_watch_may_be_left_in_its_middle() -> None:
    stream = Stream(b"one\n", silent=True)
    async with client_of(Server(httpx.Response(200, stream=stream))) as client:
        with pytest.raises(Expired, match="too old"):
            await read_watch_into(client, [], then=Expired("too old", code=410))

    assert stream.closed


async def test_watch_may_be_cancelled_while_it_is_silent(autojump_clock: trio.testing.MockClock) -> None:
    stream = Stream(b"one\n", silent=True)
    async with client_of(Server(httpx.Response(200, stream=stream))) as client:
        with trio.move_on_after(100) as scope:
            await read_watch(client)

    assert scope.cancelled_caught
    assert stream.closed


async def test_refusal_of_a_watch_that_does_not_end_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    endless = Stream(b'{"kind": "Status", ', silent=True)
    async with client_of(Server(httpx.Response(403, stream=endless))) as client:
        with trio.fail_after(60), pytest.raises(Unreachable, match="no whole response within 10 s"):
            await read_watch(client)

    assert endless.closed


async def test_watch_that_is_not_answered_in_time_is_unreachable(autojump_clock: trio.testing.MockClock) -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        return await trio.sleep_forever()

    async with open_client(CLUSTER, transport=httpx.MockTransport(never), timeout=7.0) as client:
        with pytest.raises(Unreachable, match=r"no response within 7 s"):
            await read_watch(client)

    assert trio.current_time() == pytest.approx(7.0)


async def test_watch_from_a_version_too_old_is_expired() -> None:
    async with client_of(Server(refused(410, reason="Expired"))) as client:
        with pytest.raises(Expired):
            await read_watch(client)


@pytest.mark.parametrize(
    ("reply", "codes"),
    [
        (httpx.Response(200, content=msgspec.json.encode(WIRED)), [("GET", "200")]),
        (refused(404), [("GET", "404")]),
        (httpx.ConnectError("refused"), [("GET", NO_STATUS)]),
        (httpx.Response(200, headers={"Content-Encoding": "gzip"}), [("GET", NO_STATUS)]),
    ],
)
async def test_each_call_is_counted_once_with_its_answer(
    reply: httpx.Response | Exception, codes: list[tuple[str, str]]
) -> None:
    counted: list[tuple[str, str]] = []
    async with open_client(
        CLUSTER, transport=httpx.MockTransport(Server(reply).answer), count=lambda *each: counted.append(each)
    ) as client:
        with suppress(KubeError):
            await client.get(THINGS, KEY)
        first = counted.copy()
        with suppress(KubeError):
            await client.with_own_throttle().delete(THINGS, KEY, uid="u1")

    assert first == codes
    assert counted[len(codes) :] == [("DELETE", code) for _, code in codes]


@pytest.mark.parametrize(
    ("reply", "codes"),
    [
        (httpx.Response(200, stream=Stream(b"one\n")), ["200"]),
        (httpx.Response(200, stream=Stream(b"one\n", then=httpx.ReadError("reset"))), ["200"]),
        (refused(410, reason="Expired"), ["410"]),
        (httpx.Response(403, stream=Stream(then=httpx.ReadError("reset"))), [NO_STATUS]),
        (httpx.ConnectError("refused"), [NO_STATUS]),
    ],
)
async def test_each_watch_is_counted_once_by_the_head_of_its_answer(
    reply: httpx.Response | Exception, codes: list[str]
) -> None:
    counted: list[tuple[str, str]] = []
    async with open_client(
        CLUSTER, transport=httpx.MockTransport(Server(reply).answer), count=lambda *each: counted.append(each)
    ) as client:
        with suppress(KubeError):
            await read_watch(client)

    assert counted == [("GET", code) for code in codes]


@pytest.mark.parametrize("call", CALLS[1:2] + CALLS[-1:], ids=["get", "watch"])
async def test_each_request_asks_to_be_taken_for_whom_the_login_says(call: Call) -> None:
    headers = (("Impersonate-User", "jané"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    server = Server(ok(WIRED))
    cluster = msgspec.structs.replace(CLUSTER, impersonation=headers)
    async with open_client(cluster, transport=httpx.MockTransport(server.answer)) as client:
        await call(client)

    sent = [(name.decode().title(), value.decode()) for name, value in server.request.headers.raw]
    assert [each for each in sent if each[0].startswith("Impersonate")] == [*headers]


class Basic(Authorization):
    async def present(self) -> str:
        return "Basic bWU6cHc="

    async def renewed(self, refused: str) -> str:
        return refused


async def test_opened_client_speaks_as_itself_to_a_cluster_behind_a_path() -> None:
    received = b""

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal received
        async with stream:
            received = await stream.receive_some()
            body = msgspec.json.encode(WIRED)
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/k8s/one"
        cluster = Cluster(url=url, namespace="ns", tls=Tls(client_context()), auth=Basic())
        async with open_client(cluster) as client:
            got: Thing = await client.get(THINGS, KEY)
        nursery.cancel_scope.cancel()

    head, *headers = received.decode().split("\r\n")
    assert got == thing("a", version=1)
    assert head == "GET /k8s/one/apis/example.com/v1/namespaces/ns/things/a HTTP/1.1"
    assert {
        f"Host: {url.removeprefix('http://').partition('/')[0]}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        f"User-Agent: secrets-manager/{version('secrets-manager')}",
    } <= set(headers)
    assert "Authorization: Basic bWU6cHc=" in headers


APPLIED: dict[str, object] = {"apiVersion": "example.com/v1", "kind": "Thing", "colour": "red"}


@pytest.mark.parametrize(("force", "asked"), [(False, {}), (True, {"force": "true"})])
async def test_an_apply_is_by_its_own_field_manager(*, force: bool, asked: dict[str, str]) -> None:
    server = Server(ok(WIRED))
    async with client_of(server) as client:
        got = await client.apply(THINGS, KEY, APPLIED, field_manager="me", force=force)
    assert got == thing("a", version=1)
    assert server.asked == ("PATCH", f"{COLLECTION}/a", {"fieldManager": "me", **asked})
    assert (server.request.headers["Content-Type"], server.body) == ("application/apply-patch+yaml", APPLIED)


async def test_an_apply_that_others_are_in_the_way_of() -> None:
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "them" using v1', "field": ".colour"}
    server = Server(refused(409, reason="Conflict", details={"causes": [cause]}))
    async with client_of(server) as client:
        with pytest.raises(FieldConflict) as caught:
            await client.apply(THINGS, KEY, APPLIED, field_manager="me")
    assert caught.value.owners == (FieldOwner(".colour", "them"),)


async def test_metadata_alone_is_asked_for_by_the_form_of_the_response() -> None:
    form = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
    things = THINGS._replace(metadata_only=True)
    server = Server(ok(WIRED))
    seen: list[str] = []
    async with client_of(server) as client:
        await client.get(things, KEY)
        seen.append(server.request.headers["Accept"])
    server = Server(ok({"metadata": {"resourceVersion": "1"}, "items": [WIRED]}))
    async with client_of(server) as client:
        await client.list_page(things)
        seen.append(server.request.headers["Accept"])
        async with client.watch(things, resource_version="1", timeout_seconds=1):
            seen.append(server.request.headers["Accept"])
        await client.list_page(THINGS)
        seen.append(server.request.headers["Accept"])
    assert seen == [form.format(""), form.format("List"), form.format(""), "application/json"]
