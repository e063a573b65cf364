"""Vault as a Backend. A read is one request; a second one follows only if the token was invalid."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Protocol

import httpx
import trio

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Folder,
    Login,
    NotListable,
    Place,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceTooLarge,
    TimedOut,
    quoted,
)
from secrets_manager.backends.vault.auth.factory import create_auth_method
from secrets_manager.backends.vault.client import VaultClient, open_vault_client, vault_certificates
from secrets_manager.backends.vault.engine import Engine, create_engine
from secrets_manager.backends.vault.health import get_health
from secrets_manager.backends.vault.listing import (
    MAX_SECRETS,
    PAGE_SIZE,
    listing_query,
    listing_url,
    parse_page,
    utc_now,
)
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import FORBIDDEN, OK, Response, forbidden_by_policy, read_error
from secrets_manager.backends.vault.token import Token
from secrets_manager.backends.vault.token_manager import TokenManager, TokenMetrics
from secrets_manager.config import VaultConfig
from secrets_manager.net.certificates import Certificates

log = logging.getLogger(__name__)

REQUESTS_PER_READ = 2
"""A login and the read: each may take `config.timeout`. All other waits of a read must fit in."""
MAX_REPLACEMENTS = 5
"""Tokens that one read may try after its first: a replacement may become invalid, too. More than cost no wait."""
HEALTH_PERIOD = 60.0
"""Seconds between two requests for the server's version, which labels its metrics."""


class VaultMetrics(TokenMetrics, Protocol):
    """Metrics of Vault. `error` is the name of the error's class."""

    def read_error(self, path: str, error: str) -> None: ...

    def forget(self, path: str) -> None:
        """Remove all series of this path."""

    def request(self, operation: str, status: str, seconds: float) -> None: ...

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None: ...


class VaultBackend:
    """A Vault or an OpenBao."""

    def __init__(
        self,
        client: VaultClient,
        token_manager: TokenManager,
        engine: Engine,
        metrics: VaultMetrics,
        certificates: Certificates,
        *,
        deadline: float,
    ) -> None:
        """Create it. `deadline`, in seconds, bounds each read and each page of a listing, logins included."""
        self._client = client
        self._certificates = certificates
        self._token_manager = token_manager
        self._engine = engine
        self._metrics = metrics
        self._deadline = deadline

    def __repr__(self) -> str:
        return f"VaultBackend({self._client}, {self._token_manager})"

    async def read(self, source: Source) -> Document:
        """Read one secret.

        Raises:
            BackendError: the read failed. Nothing else is raised.
        """
        try:
            return await self._read(source)
        except BackendError as error:
            self._metrics.read_error(source.path, type(error).__name__)
            raise

    def segments(self, path: str) -> tuple[str, ...]:
        """Split the path.

        Raises:
            SourceMalformed: the path is not valid.
        """
        return parse_path(path).segments

    def place(self, source: Source) -> Place | None:
        """Return where a listing shows the source; None for a fixed version, which does not change."""
        if source.version is not None:
            return None
        try:
            return self._engine.place(parse_path(source.path), identity=source.identity)
        except SourceMalformed:
            return None

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """List the folder, page by page.

        Raises:
            NotListable: the folder can't be listed.
            Unavailable: a retry can help.
        """
        try:
            path = parse_path(folder.path)
        except SourceMalformed as error:
            raise NotListable(str(error)) from None
        url = listing_url(path)
        found: dict[str, str] = {}
        names, after = 0, ""
        while True:
            response = await self._list_page(url, after)
            page = parse_page(response, path, after=after, now=utc_now())
            found |= page.markers
            names += page.names
            if names > MAX_SECRETS:
                raise NotListable(f"folder {quoted(folder.path)} holds more than {MAX_SECRETS} secrets")
            if not page.after:
                return found
            after = page.after

    @property
    def login(self) -> Login:
        """The token in use."""
        return self._token_manager.login

    def forget(self, path: str) -> None:
        """Remove the metrics of the path."""
        self._metrics.forget(path)

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the token valid until cancelled, then revoke it. Started at once, even if Vault is down."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._token_manager.keep_valid)
            nursery.start_soon(self._certificates.keep_fresh)
            nursery.start_soon(self._poll_health)

    async def _list_page(self, url: str, after: str) -> Response:
        try:
            response, _ = await self._get(url, listing_query(after), operation="list")
        except SourceTooLarge:
            raise NotListable(f"{url}: {PAGE_SIZE} of its secrets make a page that is too large") from None
        return response

    async def _read(self, source: Source) -> Document:
        response, token = await self._get(parse_path(source.path).url, self._engine.params(source))
        if response.status != OK:
            raise read_error(response, source)
        document = self._engine.document(source, response.body)
        if token.secret in document.values.values():
            # In a namespace, many a path can end in auth/token/lookup-self.
            raise SourceForbidden(f"path {quoted(source.path)} holds the controller's own token: correct the path")
        return document

    async def _get(self, path: str, params: Mapping[str, str], *, operation: str = "read") -> tuple[Response, Token]:
        """Return the response to a GET and the token that it was sent with.

        Raises:
            Unavailable: a retry can help.
            SourceTooLarge: the response is too large.
        """
        with trio.move_on_after(self._deadline):
            return await self._send(path, params, operation=operation)
        raise TimedOut.of_store(f"Vault at {self._client.address} did not answer in time, with a login that was needed")

    async def _send(self, path: str, params: Mapping[str, str], *, operation: str) -> tuple[Response, Token]:
        """Retry with a replacement token where it can help. That a policy forbids listings is common: they are not."""
        token = await self._token_manager.token()
        replacements = 0
        while True:
            response = await self._client.request("GET", path, operation=operation, token=token.secret, params=params)
            if response.status != FORBIDDEN or replacements == MAX_REPLACEMENTS:
                return response, token
            by_policy = forbidden_by_policy(response)
            if by_policy and operation == "list":
                return response, token
            replacement = await self._token_manager.replacement(
                token, refused_at=trio.current_time(), by_policy=by_policy
            )
            if replacement is None:
                return response, token
            token, replacements = replacement, replacements + 1

    async def _poll_health(self) -> None:
        while True:
            with suppress(BackendError):
                health = await get_health(self._client)
                if health is not None:
                    self._metrics.server(
                        version=health.version, cluster_id=health.cluster_id, cluster_name=health.cluster_name
                    )
            await trio.sleep(HEALTH_PERIOD)


@asynccontextmanager
async def open_vault(
    config: VaultConfig, metrics: VaultMetrics, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncGenerator[VaultBackend]:
    """Open Vault, without any request yet. `transport` replaces the network.

    Raises:
        UsageError: the configuration can't work.
    """
    engine, auth, certificates = create_engine(config.engine), create_auth_method(config), vault_certificates(config)
    if config.skip_verify:
        log.warning("TLS certificate verification of Vault is disabled (insecure)")
    async with open_vault_client(
        config, transport=transport, certificates=certificates, record=metrics.request
    ) as client:
        token_manager = TokenManager(client, auth, config, metrics, random=Random())  # noqa: S311 - for jitter alone
        deadline = REQUESTS_PER_READ * config.timeout
        yield VaultBackend(client, token_manager, engine, metrics, certificates, deadline=deadline)
