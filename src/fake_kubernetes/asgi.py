"""The in-memory API behind a real socket: an ASGI app, and hypercorn to serve it on loopback.

There is no authentication, so it must never listen on anything but loopback.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qsl

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  # its type of a WSGI app has no parameters
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.requests import Reply, Request
from fake_kubernetes.watches import Watch


class Gateway:
    """The ASGI app of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["type"] == "http":
            answer = self._cluster.handle(await read_request(scope, receive))
            if isinstance(answer, Reply):
                await send_reply(answer, send)
            else:
                await send_watch(answer, receive, send)


async def live(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Say that there is nothing to start or to stop."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


async def read_request(scope: HTTPScope, receive: ASGIReceiveCallable) -> Request:
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message["body"]
        more = message["more_body"]
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
        body=bytes(body),
        content_type=headers.get(b"content-type", "").partition(";")[0],
        accept=headers.get(b"accept", ""),
        user_agent=headers.get(b"user-agent", ""),
    )


async def send_head(status: int, content_type: str, send: ASGISendCallable) -> None:
    headers = [(b"content-type", content_type.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})


async def send_reply(reply: Reply, send: ASGISendCallable) -> None:
    await send_head(reply.status, reply.content_type, send)
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def send_watch(watch: Watch, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Stream a watch until its timeout, its end, or until the client goes."""
    await send_head(200, "application/json", send)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_gone, receive, nursery.cancel_scope)
            nursery.start_soon(send_bookmarks, watch)
            with trio.move_on_after(float("inf") if watch.timeout is None else watch.timeout):
                await send_lines(watch, send)
            nursery.cancel_scope.cancel("the watch is over")
    finally:
        watch.close()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def cancel_when_gone(receive: ASGIReceiveCallable, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel("the client has gone")


async def send_bookmarks(watch: Watch) -> None:
    began = trio.current_time()
    for due in watch.bookmark_times():
        await trio.sleep_until(began + due)
        watch.send_bookmark()


async def send_lines(watch: Watch, send: ASGISendCallable) -> None:
    woken = trio.Event()

    def wake() -> None:
        woken.set()

    watch.wake = wake
    while not watch.ended:
        woken = trio.Event()
        if lines := watch.take():
            await send({"type": "http.response.body", "body": lines, "more_body": True})
        elif not watch.ended:
            await woken.wait()


async def serve_cluster(
    cluster: Cluster,
    *,
    port: int = 0,
    shutdown_trigger: Callable[[], Awaitable[None]] = trio.sleep_forever,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the cluster on loopback until the trigger returns; started with its URL once the port is bound.

    Raises: OSError, in a group, when the port is taken.
    """
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 0.5
    config.loglevel = "ERROR"
    served = partial(serve, Gateway(cluster), config, shutdown_trigger=shutdown_trigger, mode="asgi")
    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(served)
        task_status.started(binds[0])
