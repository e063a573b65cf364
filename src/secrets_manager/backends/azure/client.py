"""Key Vault's secrets over the SDK, whose calls block: each runs in a thread of its own kind, with a deadline.

A thread can't be cancelled, so one whose answer nobody waits for any more is left behind until its timeout ends it; it
only reads. The bound on the threads counts it until then. The SDK tries nothing again: that is the work queue's.
"""

import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar

import trio
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpRequest, HttpResponse
from azure.keyvault.secrets import SecretClient, SecretProperties

from secrets_manager.backends.azure.failures import (
    UNAUTHORIZED,
    listing_failure,
    read_failure,
    status_of,
)
from secrets_manager.backends.azure.login import Login, method_of
from secrets_manager.backends.azure.names import shown
from secrets_manager.backends.base import BackendError, Document, NotListable, Source, SourceMalformed, TimedOut
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError

log = logging.getLogger(__name__)

THREADS = 8
REQUESTS_OF_A_READ = 3
"""The vault's challenge, the token, the secret itself: each may take `config.backend-timeout`."""
PAGE = 25
"""Secrets in one page of a listing: Key Vault makes no larger ones."""
LONGEST = 5_000
"""Secrets of one vault. To list more takes longer than it can be worth."""
PAGES = 2 * LONGEST // PAGE
"""Of one listing, some of which may be half full."""
SETTLED_AFTER = 2.0
"""Seconds after which no other change can bear the same time, which Key Vault tells in whole seconds."""

QUIET = ("azure", "msal", "urllib3")
"""Loggers whose warnings repeat URLs and what servers said. What concerns us is told by us."""
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

_ADDRESS = re.compile(r"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")

_FAILURES = (AzureError, OSError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""All but the first two are what the SDK raises over an answer that is not Key Vault's."""

T = TypeVar("T")


class ClientMetrics(Protocol):
    """What is counted of Key Vault's requests."""

    def login_error(self) -> None: ...

    def request(self, operation: str, status: str, seconds: float) -> None:
        """One request and all that belongs to it. `status` is that of HTTP; where no answer came, the error's class."""


class KeyVaultClient:
    """The secrets of one vault."""

    def __init__(
        self, sdk: SecretClient, login: Login, metrics: ClientMetrics, *, address: str, deadline: float
    ) -> None:
        self._sdk = sdk
        self._login = login
        self._metrics = metrics
        self._address = address
        self._deadline = deadline
        self._limiter = trio.CapacityLimiter(THREADS)

    def __repr__(self) -> str:
        return f"KeyVaultClient({self._address}, {self._login})"

    async def secret(self, source: Source) -> Document:
        """One secret. Its name is checked already. Raises: BackendError."""

        def read() -> Document:
            answers: list[PipelineResponse[HttpRequest, HttpResponse]] = []
            secret = self._sdk.get_secret(source.path, source.version, raw_response_hook=answers.append)
            if secret.value is None:
                raise SourceMalformed(f"path {shown(source.path)} has no value: write it anew")
            version, updated = secret.properties.version or "", _updated(secret.properties)
            return Document(
                values={"": secret.value},
                keyless=True,
                marker=version,
                version=version,
                listed=updated if _is_settled(secret.properties, answers[-1].http_response.headers) else "",
            )

        return await self._ask("read", read, lambda error: read_failure(error, source, self._address))

    async def markers(self) -> dict[str, str]:
        """When each secret was last changed, and whether it is disabled, by its name in small letters.

        One that was deleted is not there. Raises: NotListable, Unavailable.
        """
        pages = self._sdk.list_properties_of_secrets(max_page_size=PAGE).by_page()

        def turn() -> dict[str, str] | None:
            page = next(pages, None)
            return None if page is None else {each.name.lower(): _marker(each) for each in page if each.name}

        found: dict[str, str] = {}
        for _ in range(PAGES):
            page = await self._ask("list", turn, lambda error: listing_failure(error, self._address))
            if page is None:
                return found
            found |= page
            if len(found) > LONGEST:
                break
        raise NotListable(f"{self._address} holds more than {LONGEST} secrets, or its listing has no end")

    async def _ask(self, operation: str, call: Callable[[], T], failure: Callable[[Exception], BackendError]) -> T:
        def attempt() -> T:
            began, starts, status = time.monotonic(), self._login.starts, "200"
            try:
                return call()
            except _FAILURES as error:
                if status_of(error) == UNAUTHORIZED:
                    self._login.start_anew(after=starts)
                told = failure(error)
                status = str(status_of(error) or type(told).__name__)
                raise told from None
            except BackendError as error:
                status = type(error).__name__
                raise
            finally:
                self._metrics.request(operation, status, time.monotonic() - began)

        with trio.move_on_after(self._deadline):
            return await trio.to_thread.run_sync(attempt, abandon_on_cancel=True, limiter=self._limiter)
        raise TimedOut.of_store(f"{self._address} did not answer in time")


@asynccontextmanager
async def open_client(config: AzureConfig, metrics: ClientMetrics) -> AsyncIterator[KeyVaultClient]:
    """A client for the whole life of the process; nothing is asked of anybody yet.

    Raises: UsageError for settings that can't work.
    """
    address, authorities = address_of(config), _authorities()
    method = method_of(config, authorities=authorities)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    login = Login(method, metrics.login_error, random=Random())  # noqa: S311 - for jitter alone
    options = {"api_version": config.api_version} if config.api_version else {}
    sdk = SecretClient(
        address,
        login,
        verify_challenge_resource=config.verify_challenge_resource,
        connection_timeout=config.timeout,
        read_timeout=config.timeout,
        connection_verify=authorities or True,
        permit_redirects=False,  # they would carry the token to another host
        retry_total=0,
        **options,
    )
    log.info("secrets are in Key Vault", extra={"fields": {"vault": address, "login": method.name}})
    try:
        yield KeyVaultClient(
            sdk, login, metrics, address=f"Key Vault {address}", deadline=REQUESTS_OF_A_READ * config.timeout
        )
    finally:
        sdk.close()
        login.close()


def address_of(config: AzureConfig) -> str:
    """The vault's URL. Raises: UsageError."""
    address = config.url or f"https://{config.name}.{config.endpoint_suffix}"
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            "azure-kv.url, or azure-kv.name with azure-kv.endpoint-suffix, is no address of a Key Vault: "
            "it is like https://shop.vault.azure.net, where shop is the name"
        )
    return address.rstrip("/")


def _authorities() -> str:
    """The file that users name, as the SDK's users know it or as everybody else does; empty for the usual ones."""
    for variable in AUTHORITIES:
        path = os.environ.get(variable, "")
        if path:
            if not Path(path).exists():
                raise UsageError(f"{variable} names no file: {path}")
            return path
    return ""


def _updated(properties: SecretProperties) -> str:
    return "unknown" if properties.updated_on is None else f"{properties.updated_on.timestamp():.0f}"


def _marker(properties: SecretProperties) -> str:
    return _updated(properties) if properties.enabled is not False else f"{_updated(properties)} disabled"


def _is_settled(properties: SecretProperties, headers: Mapping[str, str]) -> bool:
    """Whether a later change is bound to show another time. Both times are the vault's own."""
    try:
        now = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return False
    updated = properties.updated_on
    return updated is not None and (now - updated).total_seconds() >= SETTLED_AFTER
