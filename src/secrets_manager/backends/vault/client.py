"""Vault's HTTP API, whichever node of the cluster serves it.

The node that vault.url names is asked first. Where it is a standby that redirects to the active node, that one is asked
from then on, until it does not serve any more.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

import httpx
import msgspec

from secrets_manager.backends.base import BackendError, Unreachable
from secrets_manager.backends.vault.address import Address, address_of
from secrets_manager.backends.vault.node import Count, Node, Question, uncounted
from secrets_manager.backends.vault.replies import OK, Reply, censored
from secrets_manager.backends.vault.standby import LEADER, REDIRECTS, UNSERVED, announced_by, may_follow
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError
from secrets_manager.net.certificates import CertificateFiles, Certificates
from secrets_manager.net.proxy import proxy_for
from secrets_manager.net.tls import UnusableFile
from secrets_manager.net.transport import Transport

OF_THE_CLUSTER = frozenset({"sys/health", "sys/leader"})
"""They are refused in a namespace."""

OpenTransport = Callable[[Address], httpx.AsyncBaseTransport]
"""Opens what leads to a node: each may be behind another proxy, or none."""


class VaultClient:
    """Vault's HTTP API, without any knowledge of what is asked."""

    def __init__(
        self,
        address: Address,
        transport: OpenTransport,
        *,
        deadline: float,
        namespace: str = "",
        count: Count = uncounted,
    ) -> None:
        """`deadline` is of each request, in seconds."""
        self._address = address
        self._transport = transport
        self._deadline = deadline
        self._namespace = {"X-Vault-Namespace": namespace} if namespace else {}
        self._count = count
        self._nodes: dict[Address, Node] = {}
        self._home = self._node(address)
        self._active: Node | None = None

    def __repr__(self) -> str:
        return f"VaultClient({self.address})"

    @property
    def address(self) -> str:
        """Where Vault is, without a user and password that may stand in the URL."""
        return str(self._address)

    async def aclose(self) -> None:
        for node in self._nodes.values():
            await node.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        operation: str = "read",
        token: str = "",
        body: Mapping[str, str | int] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """The answer to one request, whatever its status. `path` is encoded, and what follows /v1/.

        `operation` is the metrics' word for it.

        Raises:
            Unavailable: no answer came, not in time, or not whole.
            SourceTooLarge: the answer is larger than any secret can be.
        """
        identity = {"X-Vault-Token": token} if token else {}
        content = b"" if body is None else msgspec.json.encode(body)
        headers = identity | ({} if path in OF_THE_CLUSTER else self._namespace)
        reply = await self._ask(Question(method, path, operation, headers, params or {}, content))
        return reply if reply.status == OK or not token else censored(reply, [token])

    async def _ask(self, question: Question) -> Reply:
        if (active := self._active) is not None:
            reply = await self._ask_active(active, question)
            if reply is not None:
                return reply
        reply = await self._home.ask(question)
        if reply.status not in REDIRECTS:
            return reply
        address = may_follow(reply, question, asked=self._address, announced=await self._announced())
        if address is None:
            return reply
        self._active = active = self._node(address)
        return await active.ask(question)

    async def _ask_active(self, active: Node, question: Question) -> Reply | None:
        """None when it is of no use any more, and the question not answered."""
        try:
            reply = await active.ask(question)
        except Unreachable:
            reply = None
        if reply is None or reply.status in UNSERVED:
            self._active = None
            await active.aclose()
            return None
        return reply

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(address, self._transport(address), self._count, deadline=self._deadline)
        return self._nodes[address]

    async def _announced(self) -> Address | None:
        try:
            return announced_by(await self._home.ask(LEADER))
        except BackendError:
            return None


@asynccontextmanager
async def open_vault_client(
    config: VaultConfig,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    certificates: Certificates | None = None,
    count: Count = uncounted,
) -> AsyncIterator[VaultClient]:
    """A client for the whole life of the process. `transport` leads to something else than the network.

    Raises: UsageError for a vault.url that is none, and for files of certificates that can't be used.
    """
    address = address_of(config.url)
    open_transport = (lambda _: transport) if transport else await _network(certificates or certificates_of(config))
    async with aclosing(
        VaultClient(
            address, open_transport, deadline=config.timeout, namespace=config.namespace.strip("/"), count=count
        )
    ) as client:
        yield client


def certificates_of(config: VaultConfig) -> Certificates:
    """Those of the connections to Vault. As in its own tools, a file wins over a text, and that over a folder."""
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


async def _network(certificates: Certificates) -> OpenTransport:
    try:
        tls = await certificates.load()
    except UnusableFile as error:
        raise UsageError(f"certificates for Vault: {error}") from None
    except OSError:
        raise UsageError("the certificate authorities of this machine can't be read") from None

    def open_transport(to: Address) -> Transport:
        proxy = "" if to.socket else proxy_for(str(to.url), environ=os.environ)
        return Transport(tls=tls, proxy=proxy, socket=to.socket)

    return open_transport
