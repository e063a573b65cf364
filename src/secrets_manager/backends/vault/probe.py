"""One request to Vault without a login, to find faults of the connection."""

from typing import NamedTuple

import httpx

from secrets_manager.backends.vault.address import parse_address
from secrets_manager.backends.vault.client import open_network, vault_certificates
from secrets_manager.backends.vault.health import Health
from secrets_manager.backends.vault.node import MAX_BODY, PROXY_AUTH_REQUIRED, headers_to
from secrets_manager.backends.vault.responses import decode
from secrets_manager.config import VaultConfig
from secrets_manager.net.client import HttpClient
from secrets_manager.net.errors import ProxyRefused

Network = httpx.AsyncBaseTransport | None
"""What replaces the network; None for the network itself."""


class Answer(NamedTuple):
    """The response to sys/health. `health` is None if it is not Vault's; `date` is the header, empty without one."""

    status: int
    health: Health | None
    date: str


async def probe(config: VaultConfig, *, transport: Network = None) -> Answer:
    """Ask the node in vault.url for its health, within the timeout. `transport` replaces the network.

    Raises:
        HttpError: there was no response; its type says why.
        UsageError: vault.url is not an address, or a certificate file or a proxy can't be used.
    """
    address = parse_address(config.url)
    way = transport or (await open_network(vault_certificates(config)))(address)
    http = HttpClient(
        way,
        base_url=address.url,
        headers=headers_to(address.url).items(),
        deadline=config.timeout,
        max_body=MAX_BODY,
    )
    try:
        response = await http.request("GET", "/v1/sys/health")
    finally:
        await http.aclose()
    if response.status == PROXY_AUTH_REQUIRED:
        raise ProxyRefused(str(response.status))
    return Answer(response.status, decode(response.body, Health), response.headers.get("Date", ""))
