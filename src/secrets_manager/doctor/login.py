"""Check the login to Vault. With AppRole a login spends a use of the secret_id, so there is one at most."""

from secrets_manager.backends import LoginRefused
from secrets_manager.backends.vault.auth.credential import WrappedSecretId
from secrets_manager.backends.vault.auth.factory import create_auth_method, login_of, secret_id_of
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.token import Token
from secrets_manager.config import VaultConfig
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import failure, ok, skipped, warning

CHECK = "vault-login"
APPROLE_FIX = (
    "set VAULT_ROLE_ID again (vault read auth/{mount}/role/NAME/role-id), and a new VAULT_SECRET_ID "
    "(vault write -force auth/{mount}/role/NAME/secret-id)"
)
KUBERNETES_FIX = "correct the role: vault read auth/{mount}/role/{role}, and vault read auth/{mount}/config"


async def check(client: VaultClient, config: VaultConfig, *, allowed: bool) -> Result[Token]:
    """Log in once. A wrapping token is looked up in place of that. Return the token.

    Raises:
        BackendError: The request failed.
        UsageError: the configuration can't work.
    """
    auth = create_auth_method(config)
    secret_id = secret_id_of(config)
    if isinstance(secret_id, WrappedSecretId):
        return await _look_up(client, secret_id)
    if not allowed:
        return Result([skipped(CHECK, "there was no login, by --skip-login")])
    try:
        token = await auth.login(client)
    except LoginRefused as error:
        return Result([failure(CHECK, str(error), fix=fix(config))])
    cost = " (this spent a use of the secret_id, if its uses are limited)" if secret_id else ""
    return Result([ok(CHECK, f"logged in as {login_of(config)}{cost}")], token)


async def _look_up(client: VaultClient, wrapped: WrappedSecretId) -> Result[Token]:
    try:
        await wrapped.check(client)
    except LoginRefused as error:
        return Result(
            [
                warning(
                    CHECK,
                    f"{error}. A controller that has unwrapped it goes on until its next start",
                    fix="wrap a new secret_id before the next start",
                )
            ]
        )
    message = "the wrapping token can be unwrapped; there was no login, as that would use it up"
    return Result([skipped(CHECK, message)])


def fix(config: VaultConfig) -> str:
    """Return what to do where the login is refused."""
    if config.auth_method == "kubernetes":
        return KUBERNETES_FIX.format(mount=config.kubernetes_path, role=config.kubernetes_role)
    return APPROLE_FIX.format(mount=config.approle_path)
