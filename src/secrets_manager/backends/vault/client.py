"""A client of Vault's HTTP API, for all nodes of a cluster.

Requests go to the node in vault.url. If it is a standby that redirects to the active node, requests go to the active
node from then on, until it is no longer active, or does not answer.
"""

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

import httpx
import msgspec

from secrets_manager.backends.base import BackendError, TimedOut, Unavailable, Unreachable
from secrets_manager.backends.vault.address import Address, parse_address
from secrets_manager.backends.vault.node import Node, RecordRequest, Request, record_nothing
from secrets_manager.backends.vault.redirect import LEADER_REQUEST, NOT_ACTIVE, REDIRECTS, active_node, redirect_target
from secrets_manager.backends.vault.responses import OK, Response, redacted
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError
from secrets_manager.net.certificates import CertificateFiles, Certificates
from secrets_manager.net.hosts import is_host
from secrets_manager.net.proxy import proxy_for
from secrets_manager.net.tls import UnusableFile
from secrets_manager.net.transport import Transport

ROOT_NAMESPACE_PATHS = frozenset({"sys/health", "sys/leader"})
"""Vault refuses them in a namespace."""

OpenTransport = Callable[[Address], httpx.AsyncBaseTransport]
"""Opens the transport to a node. Each node may be behind its own proxy."""


class VaultClient:
    """Sends requests to Vault. Their meaning is known elsewhere."""

    def __init__(
        self,
        address: Address,
        transport: OpenTransport,
        *,
        deadline: float,
        namespace: str = "",
        record: RecordRequest = record_nothing,
    ) -> None:
        """Create a client. `deadline` bounds each request, in seconds."""
        self._address = address
        self._open_transport = transport
        self._deadline = deadline
        self._namespace = {"X-Vault-Namespace": namespace} if namespace else {}
        self._record = record
        self._nodes: dict[Address, Node] = {}
        self._configured_node = self._node(address)
        self._active: Node | None = None

    def __repr__(self) -> str:
        return f"VaultClient({self.address})"

    @property
    def address(self) -> str:
        """Vault's address, without a user and password."""
        return str(self._address)

    async def aclose(self) -> None:
        """Close all connections."""
        for node in self._nodes.values():
            await node.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        operation: str = "read",
        token: str = "",
        body: Mapping[str, str | int | list[str]] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Response:
        """The response to one request, whatever its status. `path` is encoded, and what follows /v1/.

        `operation` is the metrics' word for it.

        Raises:
            Unavailable: no response came, not in time, or not whole.
            SourceTooLarge: the response is larger than any secret can be.
        """
        identity = {"X-Vault-Token": token} if token else {}
        content = b"" if body is None else msgspec.json.encode(body)
        headers = identity | ({} if path in ROOT_NAMESPACE_PATHS else self._namespace)
        response = await self._send(Request(method, path, operation, headers, params or {}, content))
        return response if response.status == OK or not token else redacted(response, [token])

    async def _send(self, request: Request) -> Response:
        if (active := self._active) is not None:
            response = await self._send_to_active(active, request)
            if response is not None:
                return response
        response = await self._configured_node.send(request)
        if response.status not in REDIRECTS:
            return response
        address = redirect_target(response, request, configured=self._address, active=await self._active_node())
        if address is None:
            return response
        try:
            active = self._node(address)
        except UsageError as error:
            raise Unreachable.of_store(f"Vault at {address} can't be reached: {error}") from None
        answer = await active.send(request)
        self._active = active
        return answer

    async def _send_to_active(self, active: Node, request: Request) -> Response | None:
        """Return None if the node did not serve the request, as it is no longer active.

        A node that hangs has used up the time of the request: the next one goes to the configured node.
        """
        failure: Unavailable | None = None
        try:
            response = await active.send(request)
            if response.status not in NOT_ACTIVE:
                return response
        except Unavailable as error:
            failure = error
        if self._active is active:  # else another one was found meanwhile
            self._active = None
        await active.aclose()
        if isinstance(failure, TimedOut):
            raise failure
        return None

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(address, self._open_transport(address), self._record, deadline=self._deadline)
        return self._nodes[address]

    async def _active_node(self) -> Address | None:
        try:
            return active_node(await self._configured_node.send(LEADER_REQUEST))
        except BackendError:
            return None


@asynccontextmanager
async def open_vault_client(
    config: VaultConfig,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    certificates: Certificates | None = None,
    record: RecordRequest = record_nothing,
) -> AsyncGenerator[VaultClient]:
    """Open a client for the life of the process. `transport` replaces the network.

    Raises:
        UsageError: vault.url is not an address, or a certificate file or a name can't be used.
    """
    address = parse_address(config.url)
    if config.tls_server_name and not is_host(config.tls_server_name):
        raise UsageError("vault.tls-server-name is not the name of a host: write it like vault.example.com")
    open_transport: OpenTransport = (
        (lambda _: transport) if transport else await open_network(certificates or vault_certificates(config))
    )
    async with aclosing(
        VaultClient(
            address, open_transport, deadline=config.timeout, namespace=config.namespace.strip("/"), record=record
        )
    ) as client:
        yield client


def vault_certificates(config: VaultConfig) -> Certificates:
    """Return the certificates for connections to Vault. As in Vault's CLI, a file wins over PEM text over a folder."""
    return Certificates(
        CertificateFiles(
            ca_file=config.ca_cert,
            ca_pem="" if config.ca_cert else config.ca_cert_bytes,
            ca_folder="" if config.ca_cert or config.ca_cert_bytes else config.ca_path,
            cert_file=config.client_cert,
            key_file=config.client_key,
            server_name=config.tls_server_name,
            verify=not config.skip_verify,
        )
    )


async def open_network(certificates: Certificates) -> OpenTransport:
    """Return what connects to nodes, each directly or through its proxy.

    Raises:
        UsageError: a certificate file can't be used.
    """
    try:
        tls = await certificates.load()
    except UnusableFile as error:
        raise UsageError(f"certificates for Vault: {error}") from None
    except OSError:
        raise UsageError("the system's CA certificates can't be read") from None

    def open_transport(to: Address) -> Transport:
        proxy = "" if to.socket else proxy_for(str(to.url), environ=os.environ)
        return Transport(tls=tls, proxy=proxy, socket=to.socket)

    return open_transport
