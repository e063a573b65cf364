"""What the process tells over HTTP: /metrics for Prometheus, /healthz and /readyz for the kubelet.

/healthz fails where only a restart can help. /readyz fails until the watches have their first full lists. A namespace
that can't be watched has a line there, and is no reason to fail while another one can. Neither asks whether a backend
answers: an outage there is no reason to restart or to leave the Service.

/metrics is what prometheus_client makes of it: text or OpenMetrics, plain or gzip, as it is asked for.
"""

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from prometheus_client import CollectorRegistry, make_asgi_app

from secrets_manager.errors import StartError


class Alive(Protocol):
    """What knows whether the process lives."""

    @property
    def failures(self) -> list[str]:
        """Why a restart is needed, a line each; none while all is well."""
        ...


class Ready(Protocol):
    """What knows whether the process is ready."""

    @property
    def unsynced(self) -> list[str]:
        """What is not ready yet, a line each."""
        ...

    @property
    def unwatched(self) -> list[str]:
        """What can't be watched just now, a line each."""
        ...


class Reply(NamedTuple):
    """An answer in plain text."""

    status: int
    body: bytes


def reply_to(path: str, alive: Alive, ready: Ready) -> Reply:
    """The answer to a GET of this path, which is not /metrics."""
    match path:
        case "/healthz":
            return _verdict(alive.failures)
        case "/readyz":
            return _verdict(ready.unsynced, remarks=ready.unwatched)
        case _:
            return Reply(404, b"try /metrics, /healthz or /readyz\n")


def _verdict(faults: list[str], *, remarks: Sequence[str] = ()) -> Reply:
    lines = [*(faults or ["ok"]), *remarks]
    return Reply(503 if faults else 200, "".join(f"{line}\n" for line in lines).encode())


@contextmanager
def listen(address: str) -> Iterator[socket.socket]:
    """A listening socket at `host:port`; an empty host means all addresses, IPv6 and IPv4.

    Bound by ourselves, not by hypercorn, so that a port that is taken is one plain error at the start.

    Raises: StartError if the address can't be had.
    """
    host, _, port = address.rpartition(":")
    try:
        bound = _bind(host.strip("[]"), int(port))
    except OSError as error:
        raise StartError(f"metrics-addr {address}: {_cause(error)}") from error
    with bound:
        yield bound


def _bind(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _cause(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use: stop what uses it, or choose another port"
        case errno.EACCES:
            return "not allowed to listen there: ports below 1024 need a privilege, so choose a higher one"
        case int(number) if number > 0:
            return f"can't listen there: {os.strerror(number)}"
        case _:
            return f"can't listen there: {error.strerror or error}"


async def serve(
    listener: socket.socket,
    registry: CollectorRegistry,
    alive: Alive,
    ready: Ready,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; started when connections are taken."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                hypercorn_serve,
                partial(_app, make_asgi_app(registry), partial(reply_to, alive=alive, ready=ready)),
                config,
                mode="asgi",
            )
        )
        task_status.started()


Page = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


async def _app(
    metrics: Page,
    reply: Callable[[str], Reply],
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http" and scope["path"] == "/metrics":
        await metrics(scope, receive, send)
    elif scope["type"] == "http":
        await _answer(reply(scope["path"]), send)


async def _lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(reply: Reply, send: ASGISendCallable) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        }
    )
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})
