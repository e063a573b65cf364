"""/metrics, rendered by prometheus_client: as text or OpenMetrics, plain or gzipped.

With ten thousand definitions rendering takes tenths of a second, so it is done in a thread, one at a time. Requests
that wait share the next rendering in the form that they want: it shows a moment after each of them came. So neither
several Prometheus servers nor clients that have gone hold a scrape up for more than one rendering of each form.
"""

import gzip
from typing import NamedTuple

import trio
from prometheus_client.exposition import choose_encoder, gzip_accepted

from secrets_manager.metrics.registry import Registry, Snapshot
from secrets_manager.server.message import Header, Request, Response
from secrets_manager.server.router import Route

OPEN_METRICS = "application/openmetrics-text"


class Form(NamedTuple):
    """How metrics are rendered. There are four of them, whatever versions and escapings clients ask for."""

    media_type: str
    gzipped: bool


def metrics(registry: Registry) -> dict[str, Route]:
    """Return the route of the metrics."""
    return {"/metrics": Route(_Renderer(registry).respond)}


class _Rendered(NamedTuple):
    number: int
    response: Response


class _Renderer:
    """Renders for all who wait. Renderings are numbered, in the order in which they begin."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = trio.Lock()
        self._begun = 0
        self._rendered: dict[Form, _Rendered] = {}
        """The last ones, while there are requests that may share them."""

    async def respond(self, request: Request) -> Response:
        form, first = _form(request), self._begun + 1
        async with self._lock:
            rendered = self._rendered.get(form)
            if rendered is None or rendered.number < first:
                rendered = self._rendered[form] = await self._render(form)
            if not self._lock.statistics().tasks_waiting:
                self._rendered.clear()
        return rendered.response

    async def _render(self, form: Form) -> _Rendered:
        self._begun += 1
        return _Rendered(self._begun, await trio.to_thread.run_sync(_render, self._registry.snapshot(), form))


def _form(request: Request) -> Form:
    """Return the form that the client prefers; the usual one, if what it accepts makes no sense."""
    try:
        _, content_type = choose_encoder(_accepted(request, b"accept"))
    except (TypeError, ValueError):  # the package's, for a version that is none
        content_type = ""
    media_type = OPEN_METRICS if content_type.startswith(OPEN_METRICS) else ""
    return Form(media_type, gzip_accepted(_accepted(request, b"accept-encoding")))


def _render(snapshot: Snapshot, form: Form) -> Response:
    encode, content_type = choose_encoder(form.media_type)
    body, headers = encode(snapshot), list[Header]()
    if form.gzipped:
        body = gzip.compress(body)
        headers.append((b"content-encoding", b"gzip"))
    return Response(200, body, content_type, tuple(headers))


def _accepted(request: Request, name: bytes) -> str:
    return b",".join(request.header(name)).decode("utf-8", "replace")
