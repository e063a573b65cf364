"""Kubernetes: the token of the pod's own ServiceAccount, which Vault has the API server check."""

from pathlib import Path

import msgspec
import trio

from secrets_manager.backends.base import Unavailable
from secrets_manager.backends.vault.auth.base import log_in
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token

JWT_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Kubernetes(msgspec.Struct, frozen=True, kw_only=True):
    """Logs in at `auth/<mount>/login` as `role`, with the JWT that is in the file just then: kubelet renews it."""

    mount: str
    role: str
    jwt_file: Path = JWT_FILE

    name = "kubernetes"

    async def login(self, client: VaultClient) -> Token:
        """Raises: BackendError."""
        jwt = await self._read_jwt()
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

    async def _read_jwt(self) -> str:
        try:
            return (await trio.Path(self.jwt_file).read_text()).strip()
        except (OSError, UnicodeDecodeError):
            raise Unavailable(
                f"{self.jwt_file} can't be read, so there is no Kubernetes login: does the pod mount its token?"
            ) from None
