"""Which Vault it is that answers: the labels of its metrics."""

import msgspec

from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.replies import decode


class Server(msgspec.Struct, frozen=True):
    """What sys/health tells to everybody. A sealed Vault names no cluster."""

    version: str
    cluster_id: str = ""
    cluster_name: str = ""


async def find_server(client: VaultClient) -> Server | None:
    """The server, in whatever state it is: health speaks by its status, and the body is the same.

    Returns None for what is no Vault. Raises: BackendError.
    """
    reply = await client.request("GET", "sys/health", operation="health")
    return decode(reply.body, Server)
