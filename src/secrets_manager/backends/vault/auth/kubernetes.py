"""Kubernetes: the token of the pod's ServiceAccount, which Vault verifies with a TokenReview."""

import msgspec

from secrets_manager.backends.vault.auth.base import post_login
from secrets_manager.backends.vault.auth.credential import Credential
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token


class Kubernetes(msgspec.Struct, frozen=True, kw_only=True):
    """Logs in at `auth/<mount>/login` as `role`, with the current JWT: the kubelet rotates it."""

    mount: str
    role: str
    jwt: Credential

    name = "kubernetes"

    def __repr__(self) -> str:
        return f"Kubernetes({self.mount!r}, {self.role!r})"

    async def login(self, client: VaultClient) -> Token:
        """Log in.

        Raises:
            BackendError: it failed.
        """
        jwt = await self.jwt.read(client)
        return await post_login(
            client,
            self.mount,
            body={"role": self.role, "jwt": jwt},
            secrets=(jwt,),
            refused=(
                "the Kubernetes login was refused: check vault.kubernetes-role and vault.kubernetes-path, "
                "and the ServiceAccounts that the role is bound to"
            ),
        )
