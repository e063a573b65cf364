"""AppRole: a role_id and a secret_id."""

import msgspec

from secrets_manager.backends.vault.auth.base import post_login
from secrets_manager.backends.vault.auth.credential import Credential
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token


class AppRole(msgspec.Struct, frozen=True, kw_only=True):
    """Logs in at `auth/<mount>/login`. Its repr shows neither credential."""

    mount: str
    role_id: Credential
    secret_id: Credential

    name = "approle"

    def __repr__(self) -> str:
        return f"AppRole({self.mount!r})"

    async def login(self, client: VaultClient) -> Token:
        """Log in. Vault's response to a wrong role_id is the same as to a wrong, expired or used-up secret_id.

        Raises:
            BackendError: it failed.
        """
        role_id, secret_id = await self.role_id.read(client), await self.secret_id.read(client)
        return await post_login(
            client,
            self.mount,
            body={"role_id": role_id, "secret_id": secret_id},
            secrets=(role_id, secret_id),
            refused="the AppRole login was refused: check vault.role-id, vault.secret-id and vault.approle-path",
        )
