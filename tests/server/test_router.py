"""Which request gets what."""

import logging

import pytest
import trio

from secrets_manager.server.message import Handler, Request, Response, immediate
from secrets_manager.server.router import Route, Router
from tests.server.serving import listening, serving

HELLO = Response(200, b"hello\n")


def saying(response: Response) -> Handler:
    return immediate(lambda _: response)


class DenyingGate:
    """A gate that denies every request, and records it."""

    def __init__(self) -> None:
        self.checked: list[str] = []

    async def check(self, request: Request) -> Response | None:
        self.checked.append(request.path)
        await trio.lowlevel.checkpoint()
        return Response(403, b"closed\n")


def router(gate: DenyingGate | None = None) -> Router:
    routes = {"/metrics": Route(saying(HELLO)), "/healthz": Route(saying(Response(200, b"ok\n")), guarded=False)}
    return Router(routes, gate=gate)


async def test_another_path_is_404_with_a_list_of_paths() -> None:
    assert await router().respond("GET", "/elsewhere") == Response(404, b"try /metrics or /healthz\n")


async def test_a_single_path_is_a_list_too() -> None:
    response = await Router({"/metrics": Route(saying(HELLO))}).respond("GET", "/")

    assert response.body == b"try /metrics\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
async def test_only_get_and_head_are_allowed(method: str) -> None:
    response = await router().respond(method, "/metrics")

    assert response.status == 405
    assert response.headers == ((b"allow", b"GET, HEAD"),)


async def test_the_gate_checks_guarded_routes_alone() -> None:
    gate = DenyingGate()

    assert (await router(gate).respond("GET", "/metrics")).status == 403
    assert (await router(gate).respond("HEAD", "/metrics")).status == 403
    assert (await router(gate).respond("GET", "/healthz")).status == 200
    assert (await router(gate).respond("GET", "/elsewhere")).status == 404
    assert gate.checked == ["/metrics", "/metrics"]


@pytest.mark.parametrize(
    "target",
    [
        "//metrics",
        "/metrics/",
        "/./metrics",
        "/healthz/../metrics",
        "/%6detrics",
        "/%6Detrics",
        "/%2e/metrics",
        "/healthz/%2e%2e/metrics",
        "/metrics%00",
        "/metrics%3f",
        "/METRICS",
        "http://elsewhere/metrics",
        "*",
    ],
)
async def test_another_spelling_of_a_path_is_another_path(target: str) -> None:
    """On the wire, since clients straighten paths."""
    gate = DenyingGate()
    async with listening(router(gate)) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        async with stream:
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            reply = await stream.receive_some()

    assert reply.split()[1] == b"404"
    assert gate.checked == []


async def test_a_query_is_no_part_of_the_path() -> None:
    async with serving(router()) as client:
        assert (await client.get("/metrics?a=b")).status_code == 200


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with serving(router()) as client:
        got, head = await client.get("/metrics"), await client.head("/metrics")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"] == "6"


async def test_responses_are_not_stored_and_not_guessed_at_and_do_not_name_the_server() -> None:
    async with serving(router()) as client:
        headers = (await client.get("/metrics")).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


async def test_an_unexpected_exception_is_a_500_and_its_text_is_in_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Request) -> Response:
        raise ZeroDivisionError("what a bug says")

    broken = immediate(fail)
    with caplog.at_level(logging.ERROR):
        response = await Router({"/": Route(broken), "/a": Route(broken)}).respond("GET", "/")

    assert response == Response(500, b"unexpected error: see the log\n")
    assert "what a bug says" in caplog.text


def test_a_request_does_not_show_its_headers() -> None:
    request = Request("/metrics", headers=((b"authorization", b"Bearer canary-1"),))

    assert repr(request) == "Request(/metrics)"
