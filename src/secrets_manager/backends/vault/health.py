"""What sys/health says: Vault's version and cluster, which label its metrics, and whether it serves requests."""

import msgspec

from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.responses import decode


class Health(msgspec.Struct, frozen=True):
    """The fields of sys/health that are used. A sealed Vault names no cluster."""

    version: str
    cluster_id: str = ""
    cluster_name: str = ""
    initialized: bool = True
    sealed: bool = False
    standby: bool = False
    enterprise: bool | None = None

    @property
    def is_hashicorp(self) -> bool:
        """Whether this is HashiCorp Vault, not OpenBao, whose versions begin with 2 and which has no other editions."""
        return self.enterprise is not None or self.version.startswith(("0.", "1."))


async def get_health(client: VaultClient) -> Health | None:
    """Return the server's health; None if the server is not a Vault. Any status will do: the body is the same.

    Raises:
        BackendError: there was no response.
    """
    response = await client.request("GET", "sys/health", operation="health")
    return decode(response.body, Health)
