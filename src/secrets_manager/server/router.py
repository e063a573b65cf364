"""What is served at an address: handlers by exact path, for GET and HEAD.

A path is looked up as it was sent, undecoded: `//metrics`, `/metrics/` and `/%6detrics` are other paths, and nothing
is served there. The gate checks the path of the route that was found: what is authorized is what is served.
"""

import logging
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from secrets_manager.server.message import Handler, Header, Request, Response

log = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")
_COMMON_HEADERS: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Route(NamedTuple):
    """A handler, and whether the gate checks its requests."""

    handle: Handler
    guarded: bool = True


class Gate(Protocol):
    """Authorizes requests."""

    async def check(self, request: Request) -> Response | None:
        """Return None if the request may pass, else the refusal."""
        ...


class Router:
    """The routes of one address. Without a gate no request is checked."""

    def __init__(self, routes: Mapping[str, Route], *, gate: Gate | None = None) -> None:
        self._routes = routes
        self._gate = gate
        *first, last = routes
        self._hint = f"try {', '.join(first)}{' or ' if first else ''}{last}\n".encode()

    async def respond(
        self, method: str, path: str, *, query: bytes = b"", headers: tuple[Header, ...] = ()
    ) -> Response:
        """Return the response to a request. An unexpected exception is logged, and is a 500."""
        route = self._routes.get(path)
        if route is None:
            return Response(404, self._hint)
        if method not in METHODS:
            return Response(405, b"use GET\n", headers=((b"allow", ", ".join(METHODS).encode()),))
        request = Request(path, query=query, headers=headers)
        try:
            refusal = await self._gate.check(request) if self._gate is not None and route.guarded else None
            return await route.handle(request) if refusal is None else refusal
        except Exception:  # it fails this request only
            log.exception("unexpected error of a request", extra={"fields": {"path": path}})
            return Response(500, b"unexpected error: see the log\n")

    async def app(self, scope: Scope, _: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve ASGI. Anything but HTTP/1 is refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        if scope["type"] != "http":
            return
        if scope["http_version"] == "2":  # a client that gives no window would hold its response for ever
            await _send(Response(505, b"use HTTP/1.1\n"), send)
            return
        headers = tuple((bytes(name).lower(), bytes(value)) for name, value in scope["headers"])
        path = scope["raw_path"].decode("ascii", "replace")
        await _send(await self.respond(scope["method"], path, query=scope["query_string"], headers=headers), send)


async def _send(response: Response, send: ASGISendCallable) -> None:
    start = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *_COMMON_HEADERS,
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": start, "trailers": False})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
