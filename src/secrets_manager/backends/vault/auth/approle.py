"""AppRole: a role_id and a secret_id."""

import msgspec

from secrets_manager.backends.vault.auth.base import log_in
from secrets_manager.backends.vault.auth.credential import Credential
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token


class AppRole(msgspec.Struct, frozen=True, kw_only=True):
    """Logs in at `auth/<mount>/login`. Its repr tells neither of the two."""

    mount: str
    role_id: Credential
    secret_id: Credential

    name = "approle"

    def __repr__(self) -> str:
        return f"AppRole({self.mount!r})"

    async def login(self, client: VaultClient) -> Token:
        """Vault says the same of a wrong role_id and of a wrong, expired or spent secret_id. Raises: BackendError."""
        role_id, secret_id = await self.role_id.read(client), await self.secret_id.read(client)
        return await log_in(
            client,
            self.mount,
            body={"role_id": role_id, "secret_id": secret_id},
            secrets=(role_id, secret_id),
            refused="the AppRole login was refused: check vault.role-id, vault.secret-id and vault.approle-path",
        )
