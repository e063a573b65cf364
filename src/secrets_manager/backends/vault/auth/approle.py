"""AppRole: a role_id and a secret_id."""

import msgspec

from secrets_manager.backends.vault.auth.base import log_in
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token


class AppRole(msgspec.Struct, frozen=True, kw_only=True):
    """Logs in at `auth/<mount>/login`. Its repr tells neither of the two."""

    mount: str
    role_id: str
    secret_id: str

    name = "approle"

    def __repr__(self) -> str:
        return f"AppRole({self.mount!r})"

    async def login(self, client: VaultClient) -> Token:
        """Vault says the same of a wrong role_id and of a wrong, expired or spent secret_id. Raises: BackendError."""
        return await log_in(
            client,
            self.mount,
            body={"role_id": self.role_id, "secret_id": self.secret_id},
            secrets=(self.role_id, self.secret_id),
            refused="the AppRole login was refused: check vault.role-id, vault.secret-id and vault.approle-path",
        )
