"""The handlers of the page and of the JSON: one of them is made at a time, in pieces with a checkpoint before each."""

import msgspec
import trio

from secrets_manager.server.message import Header, Request, Response
from secrets_manager.server.router import Route
from secrets_manager.statuspage.collect import Collector
from secrets_manager.statuspage.page import render
from secrets_manager.statuspage.query import parse_query
from secrets_manager.statuspage.style import STYLE_HASH

PATH, JSON_PATH = "/", "/status.json"

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src '{STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
)


def status_page(collector: Collector) -> dict[str, Route]:
    """Return the routes of the status page."""
    turn = trio.Lock()

    async def page(request: Request) -> Response:
        query = parse_query(request.query)
        pieces: list[str] = []
        async with turn:
            for piece in render(await collector.collect(query), query):
                await trio.lowlevel.checkpoint()
                pieces.append(piece)
            return Response(200, "".join(pieces).encode(), "text/html; charset=utf-8", HEADERS)

    async def json(request: Request) -> Response:
        async with turn:
            report = await collector.collect(parse_query(request.query))
            return Response(200, msgspec.json.encode(report) + b"\n", "application/json")

    return {PATH: Route(page), JSON_PATH: Route(json)}
