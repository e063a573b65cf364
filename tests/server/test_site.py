"""Which request gets what."""

import logging

import pytest
import trio

from secrets_manager.server.message import Handler, Request, Response, immediate
from secrets_manager.server.site import Route, Site
from tests.server.serving import listening, serving

HELLO = Response(200, b"hello\n")


def saying(response: Response) -> Handler:
    return immediate(lambda _: response)


class Doorman:
    """A gate that denies every request, and records it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def check(self, request: Request) -> Response | None:
        self.asked.append(request.path)
        await trio.lowlevel.checkpoint()
        return Response(403, b"closed\n")


def site(gate: Doorman | None = None) -> Site:
    routes = {"/metrics": Route(saying(HELLO)), "/healthz": Route(saying(Response(200, b"ok\n")), guarded=False)}
    return Site(routes, gate=gate)


async def test_any_other_path_says_what_there_is() -> None:
    assert await site().respond("GET", "/elsewhere") == Response(404, b"try /metrics or /healthz\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
async def test_only_get_and_head_are_allowed(method: str) -> None:
    response = await site().respond(method, "/metrics")

    assert response.status == 405
    assert response.headers == ((b"allow", b"GET, HEAD"),)


async def test_the_gate_is_asked_before_what_is_guarded_and_nothing_else() -> None:
    doorman = Doorman()

    assert (await site(doorman).respond("GET", "/metrics")).status == 403
    assert (await site(doorman).respond("HEAD", "/metrics")).status == 403
    assert (await site(doorman).respond("GET", "/healthz")).status == 200
    assert (await site(doorman).respond("GET", "/elsewhere")).status == 404
    assert doorman.asked == ["/metrics", "/metrics"]


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
    doorman = Doorman()
    async with listening(site(doorman)) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        async with stream:
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            reply = await stream.receive_some()

    assert reply.split()[1] == b"404"
    assert doorman.asked == []


async def test_a_query_is_no_part_of_the_path() -> None:
    async with serving(site()) as client:
        assert (await client.get("/metrics?a=b")).status_code == 200


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with serving(site()) as client:
        got, asked = await client.get("/metrics"), await client.head("/metrics")

    assert asked.status_code == 200
    assert asked.content == b""
    assert asked.headers["content-length"] == got.headers["content-length"] == "6"


async def test_responses_are_not_stored_and_not_guessed_at_and_do_not_name_the_server() -> None:
    async with serving(site()) as client:
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
        response = await Site({"/": Route(broken), "/a": Route(broken)}).respond("GET", "/")

    assert response == Response(500, b"unexpected error: see the log\n")
    assert "what a bug says" in caplog.text


def test_a_request_does_not_show_its_headers() -> None:
    request = Request("/metrics", headers=((b"authorization", b"Bearer canary-1"),))

    assert repr(request) == "Request(/metrics)"
