"""The network below the SDK: each of its requests is handed to Trio, where our own HTTP client sends it.

So one deadline covers a whole exchange, however slowly the response drips in; a response has a largest size; and a
request ends at once, with its connection, when its task is cancelled. requests, the SDK's own network, bounds only the
wait for the next byte.
"""

import os
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from urllib.parse import urlsplit

import requests
import trio
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter

from secrets_manager.backends.azure.errors import MAX_BODY
from secrets_manager.errors import UsageError
from secrets_manager.net.certificates import CertificateFiles, Certificates
from secrets_manager.net.client import HttpClient, Response
from secrets_manager.net.errors import HttpError
from secrets_manager.net.proxy import proxy_for
from secrets_manager.net.tls import UnusableFile
from secrets_manager.net.transport import Transport

CheckResponse = Callable[[int, Mapping[str, str]], None]
"""Called with the status and the headers of each response. What it raises, the request raises."""


class Network:
    """Sends requests to any server. `deadline`, in seconds, is for a whole exchange."""

    def __init__(self, tls: ssl.SSLContext, certificates: Certificates, *, deadline: float) -> None:
        self._tls = tls
        self._certificates = certificates
        self._deadline = deadline
        self._clients: dict[str, HttpClient] = {}

    def __repr__(self) -> str:
        return f"Network({', '.join(self._clients)})"

    async def send(self, request: requests.PreparedRequest) -> Response:
        """Return the whole response.

        Raises:
            HttpError: there was none.
        """
        content = request.body or b""
        assert isinstance(content, bytes | str), "the SDK streams no request"
        return await self._client(request.url or "").request(
            request.method or "GET",
            request.path_url,
            headers={name: _text(value) for name, value in request.headers.items() if name.lower() != "content-length"},
            content=content.encode() if isinstance(content, str) else content,
        )

    async def keep_fresh(self) -> None:
        """Load a CA bundle again when it changes, until cancelled. Return at once where none is used."""
        await self._certificates.keep_fresh()

    async def aclose(self) -> None:
        """Close idle connections."""
        for client in self._clients.values():
            await client.aclose()

    def _client(self, url: str) -> HttpClient:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._clients:
            try:
                proxy = proxy_for(origin, environ=os.environ)
            except UsageError as error:
                raise HttpError(str(error)) from None
            transport = Transport(tls=self._tls, proxy=proxy)
            self._clients[origin] = HttpClient(transport, base_url=origin, deadline=self._deadline, max_body=MAX_BODY)
        return self._clients[origin]


class _Body(BytesIO):
    """The body of a response. Unlike BytesIO itself it has attributes, one of which the SDK sets."""


class _Adapter(BaseAdapter):
    """What requests sends by, in a thread that Trio started."""

    def __init__(self, network: Network, check: CheckResponse) -> None:
        super().__init__()
        self._network = network
        self._check = check

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        """Send a request. The network has limits, trust and proxies of its own."""
        received = trio.from_thread.run(self._network.send, request)
        self._check(received.status, received.headers)
        response = requests.Response()
        response.status_code = received.status
        response.headers.update(received.headers)
        response.request, response.url = request, request.url or ""
        response.raw = _Body(received.body)
        return response

    def close(self) -> None:
        """Do nothing: the network outlives it."""


def accept_all(status: int, headers: Mapping[str, str]) -> None:
    """Leave every response to the SDK."""


def sdk_transport(network: Network, check: CheckResponse = accept_all) -> RequestsTransport:
    """Return what the SDK sends by. To close it does nothing."""
    session = requests.Session()
    session.trust_env = False  # no .netrc, which would replace the token
    session.headers.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(network, check))
    return RequestsTransport(session=session, session_owner=False)


@asynccontextmanager
async def open_network(trusted: CertificateFiles, *, deadline: float) -> AsyncGenerator[Network]:
    """Open the network. `deadline`, in seconds, is for a whole exchange.

    Raises:
        UsageError: the CA certificates can't be used.
    """
    certificates = Certificates(trusted)
    try:
        tls = await certificates.load()
    except UnusableFile as error:
        raise UsageError(f"CA certificates for Key Vault: {error}") from None
    except OSError:
        raise UsageError("the system's CA certificates can't be read") from None
    network = Network(tls, certificates, deadline=deadline)
    try:
        yield network
    finally:
        with trio.CancelScope(shield=True):
            await network.aclose()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
