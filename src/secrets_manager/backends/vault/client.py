"""One request to Vault and its answer, whole and bounded, or the reason why there is none.

A request has one deadline for all of it, from the name's lookup to the last byte: a server that drips one byte a second
is as little use as one that is down. Redirects are not followed, since they would carry the token to another host.
"""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import msgspec
import trio

from secrets_manager.backends.base import SourceMalformed, Unavailable
from secrets_manager.backends.vault.replies import OK, Reply, censored
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError
from secrets_manager.net.proxy import proxy_for
from secrets_manager.net.tls import client_context
from secrets_manager.net.transport import Caller, MakeLane, ReplyTooLarge, Spread, open_lane

MAX_BODY = 8 * 1024 * 1024
"""Vault's storage takes a megabyte a secret, Kubernetes as much; escapes in JSON make up to six of one."""

HEADERS = {
    "Accept": "application/json",
    "User-Agent": "secrets-manager",
    "X-Vault-Request": "true",  # Vault's agents ask for it, as proof that no browser was tricked into the request
}

NO_ADDRESS = "vault.url is no address of Vault: write it like https://vault.example.com:8200"


class VaultClient:
    """Vault's HTTP API, without any knowledge of what is asked."""

    def __init__(self, http: Caller) -> None:
        self._http = http

    def __repr__(self) -> str:
        return f"VaultClient({self.address})"

    @property
    def address(self) -> str:
        """Where Vault is, without a user and password that may stand in the URL."""
        url = self._http.base_url
        return str(url.copy_with(username=None, password=None)).rstrip("/")

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: Mapping[str, str | int] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """The answer to one request, whatever its status. `path` is encoded, and what follows /v1/.

        Raises:
            Unavailable: no answer came, not in time, or not whole.
            SourceMalformed: the answer is larger than any secret can be.
        """
        response = await self._call(
            method,
            f"/v1/{path}",
            query=params,
            headers={"X-Vault-Token": token} if token else None,
            content=b"" if body is None else msgspec.json.encode(body),
        )
        reply = Reply(response.status_code, response.content, _retry_after(response))
        return reply if reply.status == OK or not token else censored(reply, [token])

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes,
    ) -> httpx.Response:
        try:
            return await self._http.call(method, path, query=query, headers=headers, content=content)
        except httpx.TimeoutException:
            raise Unavailable(f"Vault at {self.address} did not answer in time") from None
        except ReplyTooLarge:
            raise SourceMalformed(
                f"Vault's answer is larger than {MAX_BODY // 1024**2} MiB: correct the path, or make the secret smaller"
            ) from None
        except httpx.HTTPError as error:
            raise Unavailable(f"Vault at {self.address} {_what_failed(error)}") from None


@asynccontextmanager
async def open_vault_client(config: VaultConfig, *, make: MakeLane | None = None) -> AsyncIterator[VaultClient]:
    """A client for the whole life of the process. `make` opens a lane to something else than the network.

    Raises: UsageError for a vault.url that is none.
    """
    base_url = _base_url(config.url)
    async with Spread(make or await _network(config), within=config.timeout, max_body=MAX_BODY) as spread:
        auth = httpx.BasicAuth(base_url.username, base_url.password) if base_url.userinfo else None
        yield VaultClient(Caller(spread, base_url=base_url, headers=HEADERS, auth=auth))


async def _network(config: VaultConfig) -> MakeLane:
    try:
        proxy = proxy_for(config.url, environ=os.environ)
        tls = await trio.to_thread.run_sync(client_context)
    except ValueError:
        raise UsageError(NO_ADDRESS) from None
    except OSError:
        raise UsageError("the certificate authorities of this machine can't be read") from None
    return lambda: open_lane(tls=tls, proxy=proxy)


def _base_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise UsageError(NO_ADDRESS) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
        raise UsageError(NO_ADDRESS)
    return parsed


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds. The header's other form, a date, is not used by Vault."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _what_failed(error: BaseException) -> str:
    """In our words: httpx's own may repeat a header that it could not send, and so the token."""
    causes = _causes(error)
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"has a certificate that is not trusted ({cause.verify_message}): check its CA and its host name"
            case ssl.SSLError():
                return (
                    f"can't be reached by TLS ({cause.reason or 'handshake failed'}): is vault.url right to say https?"
                )
    for cause in causes:
        match cause:
            case OSError(errno=int(number)) if number > 0:
                return f"can't be reached ({os.strerror(number)})"
            case socket.gaierror():
                return "can't be reached (its name is not known)"
    return "can't be reached" if isinstance(error, httpx.ConnectError) else "broke off before its answer was whole"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that led to it. An attempt to connect fails with a group, an error for each address."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or any(each is other for other in found):
            continue
        found.append(each)
        waiting += [each.__context__, each.__cause__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    return found
