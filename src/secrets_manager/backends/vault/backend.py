"""Vault as a Backend: one read is one request, with a second one only when the token was dead."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Protocol

import httpx
import trio

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Folder,
    NotListable,
    Place,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceTooLarge,
    TimedOut,
)
from secrets_manager.backends.vault.auth.choice import auth_method
from secrets_manager.backends.vault.client import VaultClient, certificates_of, open_vault_client
from secrets_manager.backends.vault.engine import Engine, engine_of
from secrets_manager.backends.vault.keeper import TokenKeeper, TokenMetrics
from secrets_manager.backends.vault.listing import LIMIT, LONGEST, listing_query, listing_url, page_of, utc_now
from secrets_manager.backends.vault.path import parse_path, shown
from secrets_manager.backends.vault.replies import FORBIDDEN, OK, Reply, forbidden_by_policy, read_failure
from secrets_manager.backends.vault.server import find_server
from secrets_manager.backends.vault.token import Token
from secrets_manager.config import VaultConfig
from secrets_manager.net.certificates import Certificates

log = logging.getLogger(__name__)

REQUESTS_OF_A_READ = 2
"""A login and the secret itself: each may take `config.timeout`. What else a read may wait for has to fit into that."""
REPLACEMENTS = 2
"""Tokens that one read may go through after its first: that which replaces a dead one may die as well."""
INTRODUCTION_PERIOD = 60.0
"""Seconds between two looks at who the server is: an upgrade shows in the metrics within a minute."""


class VaultMetrics(TokenMetrics, Protocol):
    """What is counted of Vault. `error` is a word of a small vocabulary: the name of the error's class."""

    def read_error(self, path: str, error: str) -> None: ...

    def forget(self, path: str) -> None:
        """End all series of this path."""

    def request(self, operation: str, status: str, seconds: float) -> None: ...

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None: ...


class VaultBackend:
    """The secret store that is a Vault or an OpenBao."""

    def __init__(
        self,
        client: VaultClient,
        keeper: TokenKeeper,
        engine: Engine,
        metrics: VaultMetrics,
        certificates: Certificates,
        *,
        within: float,
    ) -> None:
        """`within` bounds each read and each page of a listing, in seconds: also where it waits for others' login."""
        self._client = client
        self._certificates = certificates
        self._keeper = keeper
        self._engine = engine
        self._metrics = metrics
        self._within = within

    def __repr__(self) -> str:
        return f"VaultBackend({self._client}, {self._keeper})"

    async def read(self, source: Source) -> Document:
        """Read one secret. Raises: BackendError, and nothing else."""
        try:
            return await self._read(source)
        except BackendError as error:
            self._metrics.read_error(source.path, type(error).__name__)
            raise

    def segments(self, path: str) -> tuple[str, ...]:
        """Take the path apart. Raises: SourceMalformed."""
        return parse_path(path).segments

    def place(self, source: Source) -> Place | None:
        """A version that is pinned does not change, so there is nothing to find."""
        if source.version is not None:
            return None
        try:
            return self._engine.place(parse_path(source.path), identity=source.identity)
        except SourceMalformed:
            return None

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """List the folder, page by page. Raises: NotListable, Unavailable."""
        try:
            path = parse_path(folder.path)
        except SourceMalformed as error:
            raise NotListable(str(error)) from None
        url = listing_url(path)
        found: dict[str, str] = {}
        names, after = 0, ""
        while True:
            reply = await self._listed(url, after)
            page = page_of(reply, path, after=after, now=utc_now())
            found |= page.markers
            names += page.names
            if names > LONGEST:
                raise NotListable(f"folder {shown(folder.path)} holds more than {LONGEST} secrets")
            if not page.after:
                return found
            after = page.after

    def forget(self, path: str) -> None:
        """End the series of the path."""
        self._metrics.forget(path)

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the token valid, and revoke it in the end. Started at once: nothing here needs Vault to be up."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keeper.keep_token_valid)
            nursery.start_soon(self._certificates.keep_fresh)
            nursery.start_soon(self._introduce)

    async def _listed(self, url: str, after: str) -> Reply:
        try:
            reply, _ = await self._get(url, listing_query(after), operation="list")
        except SourceTooLarge:
            raise NotListable(f"{url}: {LIMIT} of its secrets make a page that is too large") from None
        return reply

    async def _read(self, source: Source) -> Document:
        reply, token = await self._get(parse_path(source.path).url, self._engine.params(source))
        if reply.status != OK:
            raise read_failure(reply, source)
        document = self._engine.document(source, reply.body)
        if token.secret in document.values.values():
            # With namespaces, auth/token/lookup-self can lie at the end of many a path.
            raise SourceForbidden(f"path {shown(source.path)} tells the controller's own token: correct the path")
        return document

    async def _get(self, path: str, params: Mapping[str, str], *, operation: str = "read") -> tuple[Reply, Token]:
        """The answer to one request, and the token that brought it: another one where the first was dead.

        Raises: Unavailable, SourceTooLarge.
        """
        with trio.move_on_after(self._within):
            return await self._ask(path, params, operation=operation)
        raise TimedOut.of_store(f"Vault at {self._client.address} did not answer in time, with a login that was needed")

    async def _ask(self, path: str, params: Mapping[str, str], *, operation: str) -> tuple[Reply, Token]:
        """Where policies forbid a read there may be a token with others; that they forbid to list is usual."""
        token = await self._keeper.token()
        replacements = 0
        while True:
            reply = await self._client.request("GET", path, operation=operation, token=token.secret, params=params)
            if reply.status != FORBIDDEN or replacements == REPLACEMENTS:
                return reply, token
            by_policy = forbidden_by_policy(reply)
            if by_policy and operation == "list":
                return reply, token
            successor = await self._keeper.successor(token, refused_at=trio.current_time(), by_policy=by_policy)
            if successor is None:
                return reply, token
            token, replacements = successor, replacements + 1

    async def _introduce(self) -> None:
        while True:
            with suppress(BackendError):
                server = await find_server(self._client)
                if server is not None:
                    self._metrics.server(
                        version=server.version, cluster_id=server.cluster_id, cluster_name=server.cluster_name
                    )
            await trio.sleep(INTRODUCTION_PERIOD)


@asynccontextmanager
async def open_vault(
    config: VaultConfig, metrics: VaultMetrics, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[VaultBackend]:
    """Vault, ready to be read; nothing is asked of it yet. `transport` leads to something else than the network.

    Raises: UsageError for a configuration that can't work.
    """
    engine, auth, certificates = engine_of(config.engine), auth_method(config), certificates_of(config)
    if config.skip_verify:
        log.warning("vault.tls-skip-verify is set: whoever is between here and Vault can read and change all secrets")
    async with open_vault_client(
        config, transport=transport, certificates=certificates, count=metrics.request
    ) as client:
        keeper = TokenKeeper(client, auth, config, metrics, random=Random())  # noqa: S311 - for jitter alone
        within = REQUESTS_OF_A_READ * config.timeout
        yield VaultBackend(client, keeper, engine, metrics, certificates, within=within)
