"""/metrics, served by prometheus_client: as text or OpenMetrics, plain or gzipped."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypedDict

import trio
from prometheus_client import (
    CollectorRegistry,
    make_asgi_app,  # pyright: ignore[reportUnknownVariableType]  # a bare Callable
)

from secrets_manager.server.message import Header, Request, Response
from secrets_manager.server.site import Route


class _Start(TypedDict):
    """The event of ASGI that begins a response."""

    type: Literal["http.response.start"]
    status: int
    headers: list[Header]


class _Body(TypedDict):
    """The event of ASGI with a whole body, of a request or a response."""

    type: Literal["http.request", "http.response.body"]
    body: bytes


_Receive = Callable[[], Awaitable[_Body]]
_Send = Callable[[_Start | _Body], Awaitable[None]]
_App = Callable[[Mapping[str, object], _Receive, _Send], Awaitable[None]]


def metrics(registry: CollectorRegistry) -> dict[str, Route]:
    """Return the route of the metrics."""
    app: _App = make_asgi_app(registry)  # pyright: ignore[reportUnknownVariableType]  # as above

    async def handle(request: Request) -> Response:
        status, body, headers = 500, b"", dict[bytes, bytes]()

        async def send(event: _Start | _Body) -> None:
            nonlocal status, body
            await trio.lowlevel.checkpoint()
            if event["type"] == "http.response.start":
                status = event["status"]
                headers.update((name.lower(), value) for name, value in event["headers"])
            else:
                body = event["body"]

        await app({"type": "http", "query_string": request.query, "headers": request.headers}, _no_body, send)
        content_type = headers.pop(b"content-type").decode()
        return Response(status, body, content_type, tuple(headers.items()))

    return {"/metrics": Route(handle)}


async def _no_body() -> _Body:
    """The body of a GET is not waited for: a client could send it slowly."""
    await trio.lowlevel.checkpoint()
    return {"type": "http.request", "body": b""}
