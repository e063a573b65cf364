"""The configuration: frozen data, one struct for each part. Durations are in seconds.

A part gets its own struct only. `cli/flags.py` fills them.
"""

from typing import NamedTuple

import msgspec


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Vault and how to log in to it."""

    url: str = "https://127.0.0.1:8200"
    namespace: str = ""
    ca_cert: str = ""
    ca_cert_bytes: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    tls_server_name: str = ""
    skip_verify: bool = False
    role_id: str = ""
    role_id_file: str = ""
    secret_id: str = ""
    secret_id_file: str = ""
    secret_id_wrapped: bool = False
    engine: str = "kv2"
    auth_method: str = "approle"
    approle_path: str = "approle"
    kubernetes_path: str = "kubernetes"
    kubernetes_role: str = ""
    kubernetes_jwt_path: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    max_token_ttl: float = 300.0
    token_polling_period: float = 15.0
    renew_ttl_increment: float = 600.0
    timeout: float = 5.0
    list_period: float = 1.0
    """The minimum between two listings of a folder. 0: no listings."""
    allowed_paths: tuple[str, ...] = ()
    """Patterns, as controller/path_policy.py reads them. Empty: all paths."""

    def __repr__(self) -> str:
        """Show no credentials, which the URL may hold too."""
        return f"VaultConfig(engine={self.engine!r}, auth_method={self.auth_method!r})"


class AzureConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Azure Key Vault and how to log in to it."""

    name: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    managed_client_id: str = ""
    managed_resource_id: str = ""
    federated_token_file: str = ""
    authority: str = ""
    """The authority host of Entra ID. Empty: the public cloud."""
    endpoint_suffix: str = "vault.azure.net"
    url: str = ""
    """Replaces name and suffix."""
    api_version: str = ""
    """Empty: the latest of the SDK."""
    verify_challenge_resource: bool = True
    timeout: float = 5.0
    list_period: float = 1.0
    """The minimum between two listings of the vault. 0: no listings."""
    allowed_paths: tuple[str, ...] = ()
    """Patterns, as controller/path_policy.py reads them. Empty: all paths."""

    def __repr__(self) -> str:
        """Show no credentials."""
        return f"AzureConfig(name={self.name!r}, url={self.url!r})"


class ControllerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, and how often the backend is read."""

    name: str = "SecretDefinition"
    reconcile_period: float = 5.0
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all namespaces, by one cluster-wide watch."""
    exclude_namespaces: frozenset[str] = frozenset()
    workers: int = 16
    backend_concurrency: int = 16
    """The maximum of concurrent requests to the backend."""
    rollout_restart_delay: float = 5.0
    list_period: float = 1.0
    allowed_paths: tuple[str, ...] = ()
    """These two are copied from the backend in use."""


JITTER_FACTOR = 1.2
"""The maximum factor of the retry period, as in client-go."""


class LeaseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Leader election, with client-go's defaults."""

    enabled: bool = False
    namespace: str = ""
    """The namespace of the Lease. Empty: that of the process."""
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class KubeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The Kubernetes API. Empty: kubectl's defaults."""

    kubeconfig: str = ""
    context: str = ""


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP server."""

    metrics_addr: str = ":8080"
    """Empty: no metrics and no status page."""
    health_probe_addr: str = ""
    """The address of the probes. Empty: that of the metrics, if there is one."""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    """Empty: no TLS."""
    auth: bool = False
    """Whether clients need a token that the API server accepts."""
    status_page: bool = True


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The log. An empty encoder means console on a terminal, else JSON."""

    level: int = 20
    encoder: str = ""


class Setting(NamedTuple):
    """How a setting was given: by its flag, by its environment variable, or by both, which may differ."""

    flag: str
    variable: str = ""
    secret: bool = False
    by_flag: bool = False
    by_variable: bool = False
    differ: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    backend: str = "vault"
    metrics_per_object: bool = True
    """Whether each Secret, and each path that fails, has series of its own."""
    vault: VaultConfig = VaultConfig()
    azure: AzureConfig = AzureConfig()
    controller: ControllerConfig = ControllerConfig()
    lease: LeaseConfig = LeaseConfig()
    server: ServerConfig = ServerConfig()
    kube: KubeConfig = KubeConfig()
    log: LogConfig = LogConfig()
