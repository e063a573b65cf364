"""A server on a free port of this machine, and a client of it."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import trio

from secrets_manager.server.connections import TlsContext, serve
from secrets_manager.server.listener import listen
from secrets_manager.server.router import Router


@asynccontextmanager
async def listening(
    router: Router, address: str = "127.0.0.1:0", *, tls: TlsContext | None = None
) -> AsyncGenerator[tuple[str, int]]:
    """Serve, and tell host and port."""
    with listen(address, flag="metrics-addr") as listener:
        host, port = listener.getsockname()[:2]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, listener, router, tls=tls))
            yield "127.0.0.1" if host in {"::", "0.0.0.0"} else host, port
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(
    router: Router,
    address: str = "127.0.0.1:0",
    *,
    tls: TlsContext | None = None,
    trust: ssl.SSLContext | bool = False,
) -> AsyncGenerator[httpx.AsyncClient]:
    """Serve, with a client of it."""
    async with listening(router, address, tls=tls) as (host, port):
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=trust) as client:
            yield client
