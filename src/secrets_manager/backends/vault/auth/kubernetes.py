"""Kubernetes: the token of the pod's own ServiceAccount, which Vault has the API server check."""

import msgspec

from secrets_manager.backends.vault.auth.base import log_in
from secrets_manager.backends.vault.auth.credential import Credential
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token


class Kubernetes(msgspec.Struct, frozen=True, kw_only=True):
    """Logs in at `auth/<mount>/login` as `role`, with the JWT that is there just then: kubelet renews it."""

    mount: str
    role: str
    jwt: Credential

    name = "kubernetes"

    def __repr__(self) -> str:
        return f"Kubernetes({self.mount!r}, {self.role!r})"

    async def login(self, client: VaultClient) -> Token:
        """Raises: BackendError."""
        jwt = await self.jwt.read(client)
        return await log_in(
            client,
            self.mount,
            body={"role": self.role, "jwt": jwt},
            secrets=(jwt,),
            refused=(
                "the Kubernetes login was refused: check vault.kubernetes-role and vault.kubernetes-path, "
                "and the ServiceAccounts that the role is bound to"
            ),
        )
