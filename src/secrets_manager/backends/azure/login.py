"""As whom the program comes to Azure: chosen by what is configured, never tried out one after the other.

    managed identity     by its client ID or its resource ID; where nothing is configured, the system-assigned one
    service principal    by its secret
    workload identity    by the token that Kubernetes keeps in a file, and exchanges while the program runs

The SDK keeps the token and has a new one before it ends. What it lacks is added here: of many threads that need a
token one asks for it, a failure is told to all others for a while, and errors are ours.
"""

import logging
import threading
import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from azure.core.credentials import AccessToken, AccessTokenInfo, SupportsTokenInfo, TokenRequestOptions
from azure.core.exceptions import AzureError
from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential

from secrets_manager.backends.azure.failures import login_failure
from secrets_manager.backends.base import Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError

log = logging.getLogger(__name__)

BACKOFF = Backoff(initial=1.0, maximum=15.0)


class Method(NamedTuple):
    """One way to log in: its name for people, and how to make the SDK's credential of it."""

    name: str
    make: Callable[[], SupportsTokenInfo]


def method_of(config: AzureConfig, *, authorities: str) -> Method:
    """The way that the configuration names. `authorities` is a file of certificates, empty for the usual ones.

    Raises: UsageError for a setting that is missing.
    """
    if config.managed_client_id:
        return _managed(config, authorities, "client_id", config.managed_client_id)
    if config.managed_resource_id:
        return _managed(config, authorities, "resource_id", config.managed_resource_id)
    if config.client_secret:
        return _service_principal(config, authorities)
    if config.federated_token_file:
        return _workload(config, authorities)
    if config.client_id:
        raise UsageError(
            "azure-kv.client-id alone is no login: it needs azure-kv.client-secret (better: AZURE_CLIENT_SECRET), or "
            "AZURE_FEDERATED_TOKEN_FILE for a workload identity; a managed identity has azure-kv.managed-client-id"
        )
    return _managed(config, authorities, "", "")


def _managed(config: AzureConfig, authorities: str, kind: str, identity: str) -> Method:
    def make() -> SupportsTokenInfo:
        return ManagedIdentityCredential(
            identity_config={kind: identity} if kind else None,
            # Where Kubernetes offers a workload identity too, the SDK would take that one in its place.
            _exclude_workload_identity_credential=True,
            connection_timeout=config.timeout,
            read_timeout=config.timeout,
            connection_verify=authorities or True,
            retry_total=0,
        )

    return Method(f"managed identity ({kind.replace('_', ' ') or 'system-assigned'})", make)


def _service_principal(config: AzureConfig, authorities: str) -> Method:
    _check_identity(config, "a service principal")

    def make() -> SupportsTokenInfo:
        return ClientSecretCredential(
            config.tenant_id,
            config.client_id,
            config.client_secret,
            authority=config.authority or None,
            # One who names an authority trusts it; the public one knows nothing of clouds of one's own.
            disable_instance_discovery=bool(config.authority),
            connection_timeout=config.timeout,
            read_timeout=config.timeout,
            connection_verify=authorities or True,
            retry_total=0,
        )

    return Method("service principal", make)


def _workload(config: AzureConfig, authorities: str) -> Method:
    _check_identity(config, "a workload identity")

    def make() -> SupportsTokenInfo:
        return WorkloadIdentityCredential(
            tenant_id=config.tenant_id,
            client_id=config.client_id,
            token_file_path=config.federated_token_file,
            authority=config.authority or None,
            connection_timeout=config.timeout,
            read_timeout=config.timeout,
            connection_verify=authorities or True,
            retry_total=0,
        )

    return Method("workload identity", make)


def _check_identity(config: AzureConfig, who: str) -> None:
    if not config.tenant_id:
        raise UsageError(f"{who} needs azure-kv.tenant-id (or AZURE_TENANT_ID)")
    if not config.client_id:
        raise UsageError(f"{who} needs azure-kv.client-id (or AZURE_CLIENT_ID)")


class Login:
    """The credential that the SDK's client is given. It may be asked by many threads at a time."""

    def __init__(self, method: Method, failed: Callable[[], None], *, random: Random) -> None:
        """`failed` is told of each login that fails. Raises: UsageError for settings that the SDK refuses."""
        self._method = method
        self._failed = failed
        self._random = random
        self._lock = threading.Lock()
        self._failures = 0
        self._failure = Unavailable("")
        self._retry_at = 0.0
        self.starts = 1
        """How often it began with nothing."""
        try:
            self._credential = method.make()
        except ValueError:
            raise UsageError(
                f"login to Azure as {method.name}: azure-kv.tenant-id or azure-kv.authority can't be used: "
                "the one is an ID or a domain, the other like https://login.microsoftonline.us"
            ) from None

    def __repr__(self) -> str:
        return f"Login({self._method.name})"

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """A token that is valid for some minutes more. Raises: Unavailable."""
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise self._failure.copy()
            try:
                token = self._credential.get_token_info(*scopes, options=options)
            except (AzureError, OSError, ValueError, TypeError, LookupError) as error:
                raise self._noted(login_failure(error, self._method.name)).copy() from None
            self._failures, self._retry_at = 0, 0.0
            return token

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: object,
    ) -> AccessToken:
        """What clients ask for that do not know the other. Raises: Unavailable."""
        options = TokenRequestOptions(enable_cae=enable_cae)
        if claims:
            options["claims"] = claims
        if tenant_id:
            options["tenant_id"] = tenant_id
        info = self.get_token_info(*scopes, options=options)
        return AccessToken(info.token, info.expires_on)

    def start_anew(self, *, after: int) -> None:
        """The vault refuses the token: what the SDK keeps is given up, and the next read logs in again.

        `after` is the number of starts when the request began: of many that were refused, the first one counts.
        """
        with self._lock:
            if self.starts == after:
                self._close()
                self._credential, self.starts = self._method.make(), after + 1

    def close(self) -> None:
        """Give up what is open. A login that is under way is not waited for: its thread was left behind."""
        self._close()

    def _close(self) -> None:
        self._credential.__exit__(None, None, None)

    def _noted(self, failure: Unavailable) -> Unavailable:
        self._failures += 1
        self._failure = failure
        self._retry_at = time.monotonic() + BACKOFF.delay(self._failures, self._random)
        self._failed()
        log.warning("no token for Key Vault", extra={"fields": {"error": str(failure)}})
        return failure
