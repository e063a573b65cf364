"""/metrics, rendered by prometheus_client: as text or OpenMetrics, plain or gzipped.

With ten thousand definitions rendering takes tenths of a second, so it is done in a thread, one request at a time.
"""

import gzip

import trio
from prometheus_client.exposition import choose_encoder, gzip_accepted

from secrets_manager.metrics.registry import Registry, Snapshot
from secrets_manager.server.message import Header, Request, Response
from secrets_manager.server.router import Route


def metrics(registry: Registry) -> dict[str, Route]:
    """Return the route of the metrics."""
    lock = trio.Lock()

    async def handle(request: Request) -> Response:
        async with lock:
            return await trio.to_thread.run_sync(_render, registry.snapshot(), request)

    return {"/metrics": Route(handle)}


def _render(snapshot: Snapshot, request: Request) -> Response:
    """Render in the form that the client prefers."""
    encode, content_type = choose_encoder(_accepted(request, b"accept"))
    body, headers = encode(snapshot), list[Header]()
    if gzip_accepted(_accepted(request, b"accept-encoding")):
        body = gzip.compress(body)
        headers.append((b"content-encoding", b"gzip"))
    return Response(200, body, content_type, tuple(headers))


def _accepted(request: Request, name: bytes) -> str:
    return b",".join(request.header(name)).decode("utf-8", "replace")
