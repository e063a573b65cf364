"""The HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet.

/healthz fails if only a restart helps. /readyz fails until the watches have synced. A namespace that can't be watched
has a line there, but /readyz does not fail while another one can be watched. Neither depends on the backend: an outage
there is no reason to restart the pod or to remove it from the Service.

prometheus_client serves /metrics, as text or OpenMetrics, plain or gzipped.
"""

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve  # pyright: ignore[reportUnknownVariableType]  # its WSGI apps are untyped
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from prometheus_client import (
    CollectorRegistry,
    make_asgi_app,  # pyright: ignore[reportUnknownVariableType]  # a bare Callable
)

from secrets_manager.errors import StartError


class LivenessCheck(Protocol):
    """The source of /healthz."""

    @property
    def failures(self) -> list[str]:
        """Reasons to restart the process, a line each."""
        ...


class ReadinessCheck(Protocol):
    """The source of /readyz."""

    @property
    def unsynced(self) -> list[str]:
        """What has not synced yet, a line each."""
        ...

    @property
    def unwatched(self) -> list[str]:
        """What can't be watched now, a line each."""
        ...


class Response(NamedTuple):
    """A plain-text response."""

    status: int
    body: bytes


def respond(path: str, liveness: LivenessCheck, readiness: ReadinessCheck) -> Response:
    """Return the response to a GET of a path other than /metrics."""
    match path:
        case "/healthz":
            return _check_response(liveness.failures)
        case "/readyz":
            return _check_response(readiness.unsynced, notes=readiness.unwatched)
        case _:
            return Response(404, b"try /metrics, /healthz or /readyz\n")


def _check_response(faults: list[str], *, notes: Sequence[str] = ()) -> Response:
    lines = [*(faults or ["ok"]), *notes]
    return Response(503 if faults else 200, "".join(f"{line}\n" for line in lines).encode())


@contextmanager
def listen(address: str) -> Generator[socket.socket]:
    """Open a listening socket at `host:port`. An empty host means all addresses, IPv6 and IPv4.

    hypercorn gets it bound, so that a port in use is one line of an error.

    Raises:
        StartError: the address can't be used.
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
            return "the port is in use: stop the other process, or choose another port"
        case errno.EACCES:
            return "permission denied: ports below 1024 need a privilege, so choose a higher one"
        case int(number) if number > 0:
            return f"can't listen there: {os.strerror(number)}"
        case _:
            return f"can't listen there: {error.strerror or error}"


async def serve(
    listener: socket.socket,
    registry: CollectorRegistry,
    liveness: LivenessCheck,
    readiness: ReadinessCheck,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started when connections are accepted."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                hypercorn_serve,
                partial(_app, make_asgi_app(registry), partial(respond, liveness=liveness, readiness=readiness)),
                config,
                mode="asgi",
            )
        )
        task_status.started()


AsgiApp = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


async def _app(
    metrics: AsgiApp,
    respond: Callable[[str], Response],
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http" and scope["path"] == "/metrics":
        await metrics(scope, receive, send)
    elif scope["type"] == "http":
        await _send_response(respond(scope["path"]), send)


async def _lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _send_response(response: Response, send: ASGISendCallable) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        }
    )
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
