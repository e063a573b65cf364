"""Send one request to one node of Vault.

One deadline covers all of it, from the DNS lookup to the last byte. If the connection of a read breaks, the read is
retried once, at once: an idle connection may have died unnoticed. The other idle connections are closed with it.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx
import trio

from secrets_manager.backends.base import BackendError
from secrets_manager.backends.vault.address import Address
from secrets_manager.backends.vault.errors import backend_error
from secrets_manager.backends.vault.responses import OK, Response
from secrets_manager.net.client import HttpClient
from secrets_manager.net.errors import ConnectionLost, HttpError, ProxyRefused, ResponseTooLarge

MAX_BODY = 8 * 1024 * 1024
"""Bytes. Vault and Kubernetes store 1 MB a secret; JSON escapes make up to six of it."""

PROXY_AUTH_REQUIRED = 407
"""The status of a proxy that forwards requests. With a tunnel, the transport fails earlier."""

MAX_RETRY_AFTER = 60.0
"""Seconds. A longer Retry-After is cut."""

HEADERS = {
    "Accept": "application/json",
    "User-Agent": "secrets-manager",
    "X-Vault-Request": "true",  # Vault Agent may require it, against SSRF
}

RecordRequest = Callable[[str, str, float], None]
"""Called after each request with the operation, the status or the name of the error's class, and its seconds."""


def record_nothing(operation: str, status: str, seconds: float) -> None:
    """Record no request."""


class Request(NamedTuple):
    """A request to any node. `path` is percent-encoded, and follows /v1/."""

    method: str
    path: str
    operation: str
    headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.operation})"


class Node:
    """One server of a cluster. `deadline` bounds each request, in seconds."""

    def __init__(
        self, address: Address, transport: httpx.AsyncBaseTransport, record: RecordRequest, *, deadline: float
    ) -> None:
        self.address = address
        self._record = record
        url = address.url
        self._http = HttpClient(
            transport,
            base_url=url,
            headers=headers_to(url).items(),
            deadline=deadline,
            max_body=MAX_BODY,
        )

    def __repr__(self) -> str:
        return f"Node({self.address})"

    async def aclose(self) -> None:
        """Close idle connections. Requests in flight go on."""
        await self._http.aclose()

    async def send(self, request: Request) -> Response:
        """Return the response to a request, whatever its status.

        Raises:
            Unavailable: there was no complete response in time.
            SourceTooLarge: the response is larger than MAX_BODY.
        """
        try:
            return await self._attempt(request)
        except HttpError as error:
            if request.method != "GET" or not isinstance(error, ConnectionLost):
                raise self._translate(error) from None
        try:
            return await self._attempt(request)
        except HttpError as error:
            raise self._translate(error) from None

    async def _attempt(self, request: Request) -> Response:
        sent_at = trio.current_time()
        try:
            response = await self._http.request(
                request.method,
                f"/v1/{request.path}",
                query=request.params,
                headers=request.headers,
                content=request.content,
            )
            if response.status == PROXY_AUTH_REQUIRED:
                raise ProxyRefused(str(response.status))
        except HttpError as error:
            self._record(request.operation, type(self._translate(error)).__name__, trio.current_time() - sent_at)
            if not isinstance(error, ResponseTooLarge):
                await self.aclose()
            raise
        self._record(request.operation, str(response.status), trio.current_time() - sent_at)
        if response.status == OK:
            return Response(OK, response.body)
        headers = response.headers
        return Response(
            response.status,
            response.body,
            retry_after=_retry_after(headers.get("Retry-After", "")),
            location=headers.get("Location", ""),
        )

    def _translate(self, error: HttpError) -> BackendError:
        return backend_error(error, self.address, max_body=MAX_BODY)


def _retry_after(retry_after: str) -> float | None:
    """Parse the header. Vault does not use its other form, a date."""
    return min(float(retry_after), MAX_RETRY_AFTER) if retry_after.isascii() and retry_after.isdigit() else None


def headers_to(url: httpx.URL) -> dict[str, str]:
    """Return the headers of every request. A user and password in the URL are for a proxy in front of Vault."""
    login = b64encode(f"{url.username}:{url.password}".encode()).decode()
    return HEADERS | ({"Authorization": f"Basic {login}"} if url.userinfo else {})
