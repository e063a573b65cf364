"""A client of Key Vault's secrets over the SDK. Its calls block, so each runs in a thread, with a deadline.

What blocks is a request, or the wait for another thread's login. Requests are sent by Trio (see `transport`), so a
thread ends with its task. The SDK does not retry: that is up to the work queue.
"""

import logging
import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar

import msgspec
import trio
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpRequest, HttpResponse
from azure.keyvault.secrets import SecretClient, SecretProperties

from secrets_manager.backends.azure.credential import Credential, choose_credential
from secrets_manager.backends.azure.errors import (
    SDK_FAILURES,
    UNAUTHORIZED,
    check_login,
    listing_error,
    read_error,
    status_code,
)
from secrets_manager.backends.azure.throttle import Throttle
from secrets_manager.backends.azure.transport import Network, open_network, sdk_transport
from secrets_manager.backends.base import BackendError, Document, NotListable, Source, SourceMalformed, TimedOut, quoted
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError
from secrets_manager.net.certificates import CertificateFiles
from secrets_manager.net.proxy import proxy_for

log = logging.getLogger(__name__)

MAX_THREADS = 8
REQUESTS_PER_READ = 3
"""The vault's challenge, the token and the secret: each may take `config.backend-timeout`."""
PAGE_SIZE = 25
"""Secrets in one page of a listing, the maximum of Key Vault."""
MAX_SECRETS = 5_000
"""Secrets in one vault. Listing more takes too long to be useful."""
MAX_PAGES = 2 * MAX_SECRETS // PAGE_SIZE
"""Pages of one listing. Some may be half full."""
SETTLED_AFTER = 2.0
"""Seconds after which no other change can have the same `updated` time, which has whole seconds."""

SILENCED_LOGGERS = ("azure", "msal", "urllib3")
"""Loggers whose warnings repeat URLs and servers' messages. We log what matters."""
CA_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

_ADDRESS = re.compile(r"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")

T = TypeVar("T")


class ClientMetrics(Protocol):
    """Metrics of the requests to Key Vault."""

    def login_error(self) -> None: ...

    def request(self, operation: str, status: str, seconds: float) -> None:
        """Record a request with its login. `status` is that of HTTP, or the name of the error's class."""


class KeyVaultClient:
    """Reads the secrets of one vault."""

    def __init__(
        self,
        sdk: SecretClient,
        credential: Credential,
        network: Network,
        metrics: ClientMetrics,
        *,
        address: str,
        deadline: float,
    ) -> None:
        self._sdk = sdk
        self._network = network
        self._credential = credential
        self._metrics = metrics
        self._address = address
        self._deadline = deadline
        self._limiter = trio.CapacityLimiter(MAX_THREADS)
        self._throttle = Throttle()

    def __repr__(self) -> str:
        return f"KeyVaultClient({self._address}, {self._credential})"

    async def get_secret(self, source: Source) -> Document:
        """Get a secret, whose name is valid.

        Raises:
            BackendError: it failed.
        """

        def read() -> Document:
            responses: list[PipelineResponse[HttpRequest, HttpResponse]] = []
            secret = self._sdk.get_secret(source.path, source.version, raw_response_hook=responses.append)
            received = responses[-1].http_response
            value = _value(received.content, source)
            version, updated = secret.properties.version or "", _updated(secret.properties)
            return Document(
                values={"": value},
                keyless=True,
                marker=version,
                version=version,
                listed=updated if _is_settled(secret.properties, received.headers) else "",
                changed=_time(secret.properties.updated_on),
            )

        return await self._call("read", read, lambda error: read_error(error, source, self._address))

    async def markers(self) -> dict[str, str]:
        """Return when each secret was updated, and whether it is disabled, by its name in lower case.

        Raises:
            NotListable: the vault can't be listed.
            Unavailable: a retry can help.
        """
        pages = self._sdk.list_properties_of_secrets(max_page_size=PAGE_SIZE).by_page()

        def next_page() -> dict[str, str] | None:
            page = next(pages, None)
            return None if page is None else {each.name.lower(): _marker(each) for each in page if each.name}

        found: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = await self._call("list", next_page, lambda error: listing_error(error, self._address))
            if page is None:
                return found
            found |= page
            if len(found) > MAX_SECRETS:
                break
        raise NotListable(f"{self._address} holds more than {MAX_SECRETS} secrets, or its listing has no end")

    async def maintain(self) -> None:
        """Load a CA bundle again when it changes, until cancelled."""
        await self._network.keep_fresh()
        await trio.sleep_forever()

    async def _call(self, operation: str, call: Callable[[], T], failure: Callable[[Exception], BackendError]) -> T:
        def attempt() -> T:
            self._throttle.check()
            began, generation = time.monotonic(), self._credential.generation
            try:
                result = call()
            except BackendError as error:
                problem, status = error, type(error).__name__
            except SDK_FAILURES as error:
                if status_code(error) == UNAUTHORIZED:
                    self._credential.reset(generation=generation)
                problem = failure(error)
                status = str(status_code(error) or type(problem).__name__)
            else:
                self._metrics.request(operation, "200", time.monotonic() - began)
                return result
            self._metrics.request(operation, status, time.monotonic() - began)
            self._throttle.record(problem)
            raise problem

        with trio.move_on_after(self._deadline):
            return await trio.to_thread.run_sync(attempt, limiter=self._limiter)
        raise TimedOut.of_store(f"{self._address} did not answer in time")


@asynccontextmanager
async def open_client(config: AzureConfig, metrics: ClientMetrics) -> AsyncGenerator[KeyVaultClient]:
    """Open a client for the life of the process, without any request yet.

    Raises:
        UsageError: the configuration can't work.
    """
    address, trusted = vault_url(config), _ca_certificates()
    credential_type = choose_credential(config)
    for name in SILENCED_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    proxy_for(address, environ=os.environ)
    async with open_network(trusted, deadline=config.timeout) as network:
        credential = Credential(
            credential_type,
            sdk_transport(network, check_login),
            metrics.login_error,
            random=Random(),  # noqa: S311 - for jitter alone
        )
        options = {"api_version": config.api_version} if config.api_version else {}
        sdk = SecretClient(
            address,
            credential,
            transport=sdk_transport(network),
            verify_challenge_resource=config.verify_challenge_resource,
            permit_redirects=False,  # they would send the token to another host
            retry_total=0,
            **options,
        )
        log.info("using Key Vault", extra={"fields": {"vault": address, "login": credential_type.name}})
        yield KeyVaultClient(
            sdk,
            credential,
            network,
            metrics,
            address=f"Key Vault {address}",
            deadline=REQUESTS_PER_READ * config.timeout,
        )


def vault_url(config: AzureConfig) -> str:
    """Return the vault's URL.

    Raises:
        UsageError: it is not valid.
    """
    address = config.url or f"https://{config.name}.{config.endpoint_suffix}"
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            "azure-kv.url, or azure-kv.name with azure-kv.endpoint-suffix, is not the address of a Key Vault: "
            "it is like https://shop.vault.azure.net, where shop is the name"
        )
    return address.rstrip("/")


def identity_of(config: AzureConfig) -> str:
    """Describe the vault and the login to it.

    Raises:
        UsageError: the configuration can't work.
    """
    return f"Key Vault {vault_url(config)}, as {choose_credential(config).name}"


def _ca_certificates() -> CertificateFiles:
    """Return the CA bundle, a file or a folder of files, that the environment names; else the system's."""
    for variable in CA_BUNDLE_VARIABLES:
        path = os.environ.get(variable, "")
        if path:
            if not Path(path).exists():
                raise UsageError(f"{variable} is not a file: {path}")
            return CertificateFiles(ca_folder=path) if Path(path).is_dir() else CertificateFiles(ca_file=path)
    return CertificateFiles()


class _Secret(msgspec.Struct):
    value: str | None = None


def _value(body: bytes, source: Source) -> str:
    """Return the value of a secret. The SDK would make text of whatever is there, as Python shows it.

    Raises:
        SourceMalformed: it has none, or one that is not text.
    """
    try:
        value = msgspec.json.decode(body, type=_Secret).value
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SourceMalformed(f"path {quoted(source.path)} has a value that is not text: write it again") from None
    if value is None:
        raise SourceMalformed(f"path {quoted(source.path)} has no value: write it again")
    return value


def _updated(properties: SecretProperties) -> str:
    return "unknown" if properties.updated_on is None else f"{properties.updated_on.timestamp():.0f}"


def _time(updated: datetime | None) -> str:
    return "" if updated is None else f"{updated.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _marker(properties: SecretProperties) -> str:
    return _updated(properties) if properties.enabled is not False else f"{_updated(properties)} disabled"


def _is_settled(properties: SecretProperties, headers: Mapping[str, str]) -> bool:
    """Return whether a later change must have another `updated` time, by the vault's own clock."""
    try:
        now = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return False
    updated = properties.updated_on
    return updated is not None and (now - updated).total_seconds() >= SETTLED_AFTER
