"""The in-memory Kubernetes API as an httpx transport: no sockets, so it works in virtual time.

A watch is a live byte stream. httpx leaves timeouts to its transport, so this one keeps the read timeout itself.
"""

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import trio

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.requests import Reply, Request
from fake_kubernetes.watches import Watch
from secrets_manager.kube import credentials as kube
from secrets_manager.net.tls import Tls, client_context
from secrets_manager.templates import certificates, language
from tests.real.kube_api import KubeApi, Query

AS_OF = "as_of"
"""A request's extension: the revision that a stale read is answered from."""

DOUBLE = kube.Cluster(url="http://kube", namespace="default", tls=Tls(client_context(verify=False)))
"""What a client is opened for, that has a double at the other end: `open_client(DOUBLE, transport=transport)`."""

ADMINISTRATOR = "administrator"
"""The field manager of a test's own writes."""

START = datetime(2026, 1, 1, tzinfo=UTC)

PRELOADED = (language, certificates)
"""What templates import in a thread when it is first needed. Virtual time would go on for hours meanwhile."""


def virtual_time() -> datetime:
    """Tell the time of day that belongs to trio's clock, for `Cluster(now=virtual_time)`; outside a run its start."""
    try:
        return START + timedelta(seconds=trio.current_time())
    except RuntimeError:
        return START


def administrator(cluster: Cluster) -> KubeApi:
    """Give a test the same synchronous client as for a real cluster; it bypasses all faults."""

    def send(method: str, path: str, query: Query, body: bytes, content_type: str) -> tuple[int, bytes]:
        asked = {name: str(value) for name, value in query.items()}
        answer = cluster.handle(Request(method, path, asked, body, content_type, user_agent=ADMINISTRATOR))
        assert isinstance(answer, Reply), "this client does not watch"
        return answer.status, answer.body

    return KubeApi(send)


def translated(request: httpx.Request, body: bytes) -> Request:
    return Request(
        method=request.method,
        path=request.url.path,
        query=dict(request.url.params),
        body=body,
        content_type=request.headers.get("content-type", "").partition(";")[0],
        accept=request.headers.get("accept", ""),
        user_agent=request.headers.get("user-agent", ""),
    )


def whole(reply: Reply) -> httpx.Response:
    return httpx.Response(reply.status, content=reply.body, headers={"Content-Type": reply.content_type})


class KubeTransport(httpx.AsyncBaseTransport):
    """Answers from the cluster. Every request lets other tasks run before and after the cluster has acted."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        revision = request.extensions.get(AS_OF)
        as_of = revision if isinstance(revision, int) else None
        answer = self._cluster.handle(translated(request, await request.aread()), as_of=as_of)
        await trio.lowlevel.checkpoint()
        if isinstance(answer, Reply):
            return whole(answer)
        stream = WatchStream(answer, read_timeout=read_timeout(request))
        return httpx.Response(200, stream=stream, headers={"Content-Type": "application/json"})


class WatchStream(httpx.AsyncByteStream):
    """The body of a watch, until its own timeout, the cluster's end, or the reader's.

    It is its own iterator, since an async generator can't be left in the middle without a warning.
    """

    def __init__(self, watch: Watch, *, read_timeout: float) -> None:
        self._watch = watch
        self._read_timeout = read_timeout
        self._began = trio.current_time()
        self._ends_at = math.inf if watch.timeout is None else self._began + watch.timeout
        self._bookmarks = watch.bookmark_times()
        self._next_bookmark = self._began + next(self._bookmarks, math.inf)
        self._woken = trio.Event()
        watch.wake = self._wake

    def _wake(self) -> None:
        self._woken.set()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            self._woken = trio.Event()
            if lines := self._watch.take():
                return lines
            if self._watch.ended or not await self._more():
                raise StopAsyncIteration

    async def _more(self) -> bool:
        """Wait for an event or a bookmark; False when the server's own time is up.

        Raises: httpx.ReadTimeout when the reader's is.
        """
        give_up_at = trio.current_time() + self._read_timeout
        with trio.move_on_at(min(give_up_at, self._ends_at, self._next_bookmark)):
            await self._woken.wait()
            return True
        if self._next_bookmark <= trio.current_time():
            self._next_bookmark = self._began + next(self._bookmarks, math.inf)
            self._watch.send_bookmark()
            return True
        if self._ends_at <= give_up_at:
            return False
        raise httpx.ReadTimeout("the watch was silent for too long")

    async def aclose(self) -> None:
        self._watch.close()
        self._wake()


def read_timeout(request: httpx.Request) -> float:
    timeout = request.extensions.get("timeout")
    seconds = timeout.get("read") if isinstance(timeout, dict) else None
    return seconds if isinstance(seconds, int | float) else math.inf
