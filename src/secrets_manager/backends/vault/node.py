"""One request to one node of Vault and its answer, whole and bounded, or the reason why there is none.

A request has one deadline for all of it, from the name's lookup to the last byte: a server that drips one byte a second
is as little use as one that is down. A read whose connection breaks off is sent a second time, at once: a connection
that was idle for a while may be dead, and only the next request finds out. So may be the others that are idle, which
are given up with it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx
import trio

from secrets_manager.backends.base import BackendError
from secrets_manager.backends.vault.address import Address
from secrets_manager.backends.vault.failures import broke_off, failure_of
from secrets_manager.backends.vault.replies import Reply
from secrets_manager.net.transport import Caller, ReplyTooLarge, Spread

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
    """A server, and the road to it."""

    def __init__(self, address: Address, spread: Spread, count: Count) -> None:
        self.address = address
        self._spread = spread
        self._count = count
        url = address.url
        auth = httpx.BasicAuth(url.username, url.password) if url.userinfo else None
        self._caller = Caller(spread, base_url=url, headers=HEADERS, auth=auth)

    def __repr__(self) -> str:
        return f"Node({self.address})"

    async def aclose(self) -> None:
        """Close what is idle; what is under way goes on."""
        await self._spread.aclose()

    async def ask(self, question: Question) -> Reply:
        """Raises: Unavailable, SourceTooLarge."""
        try:
            return await self._answer(question)
        except httpx.HTTPError as error:
            if question.method != "GET" or not broke_off(error):
                raise self._failure(error) from None
        try:
            return await self._answer(question)
        except httpx.HTTPError as error:
            raise self._failure(error) from None

    async def _answer(self, question: Question) -> Reply:
        asked_at = trio.current_time()
        try:
            response = await self._caller.call(
                question.method,
                f"/v1/{question.path}",
                query=question.params,
                headers=question.headers,
                content=question.content,
            )
            if response.status_code == REFUSED_BY_PROXY:
                raise httpx.ProxyError(str(response.status_code))
        except httpx.HTTPError as error:
            self._count(question.operation, type(self._failure(error)).__name__, trio.current_time() - asked_at)
            if not isinstance(error, ReplyTooLarge):
                await self.aclose()
            raise
        self._count(question.operation, str(response.status_code), trio.current_time() - asked_at)
        return Reply(
            response.status_code,
            response.content,
            retry_after=_retry_after(response),
            location=response.headers.get("Location", ""),
        )

    def _failure(self, error: httpx.HTTPError) -> BackendError:
        return failure_of(error, self.address, max_body=MAX_BODY)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds. The header's other form, a date, is not used by Vault."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_WISH) if value.isascii() and value.isdigit() else None
