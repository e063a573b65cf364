"""Create the auth method that the configuration names."""

from secrets_manager.backends.base import SourceMalformed
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.base import AuthMethod
from secrets_manager.backends.vault.auth.credential import Credential, FileCredential, StaticCredential, WrappedSecretId
from secrets_manager.backends.vault.auth.kubernetes import Kubernetes
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError


def create_auth_method(config: VaultConfig) -> AuthMethod:
    """Create the auth method.

    Raises:
        UsageError: it is unknown, or a setting is missing.
    """
    match config.auth_method:
        case "approle":
            return _approle(config)
        case "kubernetes":
            if not config.kubernetes_role:
                raise UsageError("vault.auth-method=kubernetes needs vault.kubernetes-role")
            jwt = FileCredential(config.kubernetes_jwt_path, "does the pod mount its token?")
            mount = _mount("vault.kubernetes-path", config.kubernetes_path)
            return Kubernetes(mount=mount, role=config.kubernetes_role, jwt=jwt)
        case unknown:
            raise UsageError(f"vault.auth-method {unknown!r} is unknown: use approle or kubernetes")


def login_of(config: VaultConfig) -> str:
    """Describe the login for messages, without a role_id, which may be secret."""
    if config.auth_method == "kubernetes":
        return f"role {config.kubernetes_role} of auth/{config.kubernetes_path}"
    return f"the AppRole of auth/{config.approle_path}"


def secret_id_of(config: VaultConfig) -> Credential | None:
    """Return the secret_id of the AppRole as it is configured; None with another auth method, or without one.

    Raises:
        UsageError: a setting is missing.
    """
    if config.auth_method != "approle" or not (config.secret_id or config.secret_id_file):
        return None
    return _approle(config).secret_id


def _approle(config: VaultConfig) -> AppRole:
    if not config.role_id and not config.role_id_file:
        raise UsageError("vault.auth-method=approle needs vault.role-id (or VAULT_ROLE_ID)")
    mount = _mount("vault.approle-path", config.approle_path)
    secret_id = _credential(config.secret_id, config.secret_id_file)
    return AppRole(
        mount=mount,
        role_id=_credential(config.role_id, config.role_id_file),
        secret_id=WrappedSecretId(secret_id, mount=mount) if config.secret_id_wrapped else secret_id,
    )


def _mount(flag: str, path: str) -> str:
    try:
        return str(parse_path(path))
    except SourceMalformed as error:
        raise UsageError(f"{flag}: {error}") from None


def _credential(text: str, file: str) -> Credential:
    return FileCredential(file, "is it mounted?") if file else StaticCredential(text)
