"""One request to one node of Vault and its answer, whole and bounded, or the reason why there is none.

A request has one deadline for all of it, from the name's lookup to the last byte: a server that drips one byte a second
is as little use as one that is down. A read whose connection breaks off is sent a second time, at once: a connection
that was idle for a while may be dead, and only the next request finds out. So may be the others that are idle, which
are given up with it.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx
import trio

from secrets_manager.backends.base import BackendError
from secrets_manager.backends.vault.address import Address
from secrets_manager.backends.vault.failures import failure_of
from secrets_manager.backends.vault.replies import OK, Reply
from secrets_manager.net.client import HttpClient
from secrets_manager.net.errors import ConnectionLost, HttpError, ProxyRefused, ResponseTooLarge

MAX_BODY = 8 * 1024 * 1024
"""Vault's storage takes a megabyte a secret, Kubernetes as much; escapes in JSON make up to six of one."""

REFUSED_BY_PROXY = 407
"""By one that passes requests on; one that is asked for a tunnel refuses before any request."""

LONGEST_WISH = 60.0
"""Seconds for which we leave a server alone at its wish, at most."""

HEADERS = {
    "Accept": "application/json",
    "User-Agent": "secrets-manager",
    "X-Vault-Request": "true",  # Vault's agents ask for it, as proof that no browser was tricked into the request
}

Count = Callable[[str, str, float], None]
"""Told of each request: the operation, the status or the name of the error's class, and the seconds that it took."""


def uncounted(operation: str, status: str, seconds: float) -> None:
    """For whom nobody counts."""


class Question(NamedTuple):
    """One request, whichever node it goes to. `path` is encoded, and what follows /v1/."""

    method: str
    path: str
    operation: str
    headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Question({self.operation})"


class Node:
    """A server, and the client that leads to it. `deadline`, in seconds, is that of one request."""

    def __init__(self, address: Address, transport: httpx.AsyncBaseTransport, count: Count, *, deadline: float) -> None:
        self.address = address
        self._count = count
        url = address.url
        self._http = HttpClient(
            transport,
            base_url=url,
            headers=(HEADERS | _login_in(url)).items(),
            deadline=deadline,
            max_body=MAX_BODY,
        )

    def __repr__(self) -> str:
        return f"Node({self.address})"

    async def aclose(self) -> None:
        """Close what is idle; what is under way goes on."""
        await self._http.aclose()

    async def ask(self, question: Question) -> Reply:
        """Raises: Unavailable, SourceTooLarge."""
        try:
            return await self._answer(question)
        except HttpError as error:
            if question.method != "GET" or not isinstance(error, ConnectionLost):
                raise self._failure(error) from None
        try:
            return await self._answer(question)
        except HttpError as error:
            raise self._failure(error) from None

    async def _answer(self, question: Question) -> Reply:
        asked_at = trio.current_time()
        try:
            answer = await self._http.request(
                question.method,
                f"/v1/{question.path}",
                query=question.params,
                headers=question.headers,
                content=question.content,
            )
            if answer.status == REFUSED_BY_PROXY:
                raise ProxyRefused(str(answer.status))
        except HttpError as error:
            self._count(question.operation, type(self._failure(error)).__name__, trio.current_time() - asked_at)
            if not isinstance(error, ResponseTooLarge):
                await self.aclose()
            raise
        self._count(question.operation, str(answer.status), trio.current_time() - asked_at)
        if answer.status == OK:
            return Reply(OK, answer.body)
        headers = answer.headers
        return Reply(
            answer.status,
            answer.body,
            retry_after=_seconds(headers.get("Retry-After", "")),
            location=headers.get("Location", ""),
        )

    def _failure(self, error: HttpError) -> BackendError:
        return failure_of(error, self.address, max_body=MAX_BODY)


def _seconds(retry_after: str) -> float | None:
    """The header's other form, a date, is not used by Vault."""
    return min(float(retry_after), LONGEST_WISH) if retry_after.isascii() and retry_after.isdigit() else None


def _login_in(url: httpx.URL) -> dict[str, str]:
    """A user and password that stand in the URL are for a proxy in front of Vault."""
    login = b64encode(f"{url.username}:{url.password}".encode()).decode()
    return {"Authorization": f"Basic {login}"} if url.userinfo else {}
