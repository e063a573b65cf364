"""The credential that logs in to Azure. The configuration selects one; others are not tried.

    managed identity     by its client ID or its resource ID; the system-assigned one if nothing is configured
    service principal    by its client secret
    workload identity    by a token in a file, which Kubernetes rotates

The SDK caches the token and refreshes it early. This adds what it lacks: one login for many threads, a backoff during
which all get the last failure, and our errors. Threads wait for a login as long as its requests take: each has a
deadline, and they end when the read is cancelled that made them.
"""

import logging
import threading
import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from azure.core.credentials import AccessToken, AccessTokenInfo, SupportsTokenInfo, TokenRequestOptions
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential

from secrets_manager.backends.azure.errors import SDK_FAILURES, login_error
from secrets_manager.backends.base import Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.config import AzureConfig
from secrets_manager.errors import UsageError

log = logging.getLogger(__name__)

BACKOFF = Backoff(initial=1.0, maximum=15.0)


class CredentialType(NamedTuple):
    """A type of credential: its name for messages, and how to create the SDK's credential."""

    name: str
    create: Callable[[RequestsTransport], SupportsTokenInfo]


def choose_credential(config: AzureConfig) -> CredentialType:
    """Return the type that the configuration selects.

    Raises:
        UsageError: a setting is missing.
    """
    if config.managed_client_id:
        return _managed("client_id", config.managed_client_id)
    if config.managed_resource_id:
        return _managed("resource_id", config.managed_resource_id)
    if config.client_secret:
        return _service_principal(config)
    if config.federated_token_file:
        return _workload(config)
    if config.client_id:
        raise UsageError(
            "azure-kv.client-id alone is not enough: it needs azure-kv.client-secret (better: AZURE_CLIENT_SECRET), or "
            "AZURE_FEDERATED_TOKEN_FILE for a workload identity; a managed identity has azure-kv.managed-client-id"
        )
    return _managed("", "")


def _managed(kind: str, identity: str) -> CredentialType:
    def create(transport: RequestsTransport) -> SupportsTokenInfo:
        return ManagedIdentityCredential(
            identity_config={kind: identity} if kind else None,
            # The SDK would prefer a workload identity where Kubernetes offers one.
            _exclude_workload_identity_credential=True,
            transport=transport,
            retry_total=0,
        )

    return CredentialType(f"managed identity ({kind.replace('_', ' ') or 'system-assigned'})", create)


def _service_principal(config: AzureConfig) -> CredentialType:
    _check_identity(config, "a service principal")

    def create(transport: RequestsTransport) -> SupportsTokenInfo:
        return ClientSecretCredential(
            config.tenant_id,
            config.client_id,
            config.client_secret,
            authority=config.authority or None,
            # A configured authority is trusted; the public cloud does not know private ones.
            disable_instance_discovery=bool(config.authority),
            transport=transport,
            retry_total=0,
        )

    return CredentialType("service principal", create)


def _workload(config: AzureConfig) -> CredentialType:
    _check_identity(config, "a workload identity")

    def create(transport: RequestsTransport) -> SupportsTokenInfo:
        return WorkloadIdentityCredential(
            tenant_id=config.tenant_id,
            client_id=config.client_id,
            token_file_path=config.federated_token_file,
            authority=config.authority or None,
            transport=transport,
            retry_total=0,
        )

    return CredentialType("workload identity", create)


def _check_identity(config: AzureConfig, who: str) -> None:
    if not config.tenant_id:
        raise UsageError(f"{who} needs azure-kv.tenant-id (or AZURE_TENANT_ID)")
    if not config.client_id:
        raise UsageError(f"{who} needs azure-kv.client-id (or AZURE_CLIENT_ID)")


class Credential:
    """The credential of the SDK's client. It is thread-safe."""

    def __init__(
        self,
        credential_type: CredentialType,
        transport: RequestsTransport,
        on_failure: Callable[[], None],
        *,
        random: Random,
    ) -> None:
        """Create it. `on_failure` is called after each failed login.

        Raises:
            UsageError: the SDK refuses the settings.
        """
        self._type = credential_type
        self._transport = transport
        self._on_failure = on_failure
        self._random = random
        self._lock = threading.Lock()
        self._failures = 0
        self._failure = Unavailable("")
        self._retry_at = 0.0
        self.generation = 1
        """Counts the resets."""
        try:
            self._credential = credential_type.create(transport)
        except ValueError:
            raise UsageError(
                f"login to Azure as {credential_type.name}: azure-kv.tenant-id or azure-kv.authority is not valid: "
                "a tenant is an ID or a domain, an authority is like https://login.microsoftonline.us"
            ) from None

    def __repr__(self) -> str:
        return f"Credential({self._type.name})"

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token that is valid for some minutes.

        Raises:
            Unavailable: the login failed.
        """
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise self._failure.copy()
            try:
                token = self._credential.get_token_info(*scopes, options=options)
            except SDK_FAILURES as error:
                raise self._record_failure(login_error(error, self._type.name)).copy() from None
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
        """Return a token, for clients without `get_token_info`.

        Raises:
            Unavailable: the login failed.
        """
        options = TokenRequestOptions(enable_cae=enable_cae)
        if claims:
            options["claims"] = claims
        if tenant_id:
            options["tenant_id"] = tenant_id
        info = self.get_token_info(*scopes, options=options)
        return AccessToken(info.token, info.expires_on)

    def reset(self, *, generation: int) -> None:
        """Drop the cached token, which the vault refused: the next read logs in again.

        `generation` is that at the start of the request: of many refused requests, only the first one resets.
        """
        with self._lock:
            if self.generation == generation:
                self._credential, self.generation = self._type.create(self._transport), generation + 1

    def _record_failure(self, failure: Unavailable) -> Unavailable:
        self._failures += 1
        self._failure = failure
        self._retry_at = time.monotonic() + BACKOFF.delay(self._failures, self._random)
        self._on_failure()
        log.warning("no token for Key Vault", extra={"fields": {"error": str(failure)}})
        return failure
