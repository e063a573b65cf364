"""What the process was told: frozen data, one struct for each part, durations in seconds.

A part receives its own struct, never the whole. `cli/flags.py` is the only place that fills them.
"""

import msgspec


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where Vault is and how to log in there."""

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
    """The shortest one between two listings of a folder. 0: none is listed."""
    allowed_paths: tuple[str, ...] = ()
    """Patterns, as controller/path_policy.py reads them. Empty: all paths."""

    def __repr__(self) -> str:
        """Tells where, never with what: role_id and secret_id stay out of every message."""
        return f"VaultConfig(url={self.url!r}, engine={self.engine!r}, auth_method={self.auth_method!r})"


class AzureConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which Key Vault, and as whom."""

    name: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    managed_client_id: str = ""
    managed_resource_id: str = ""
    federated_token_file: str = ""
    authority: str = ""
    """Of Entra ID. Empty: that of the public cloud."""
    endpoint_suffix: str = "vault.azure.net"
    url: str = ""
    """All of the vault's address, in place of name and suffix."""
    api_version: str = ""
    """Empty: the newest that the SDK knows."""
    verify_challenge_resource: bool = True
    timeout: float = 5.0
    list_period: float = 1.0
    """The shortest one between two listings of the vault. 0: it is not listed."""
    allowed_paths: tuple[str, ...] = ()
    """Patterns, as controller/path_policy.py reads them. Empty: all paths."""

    def __repr__(self) -> str:
        """Tells where, never with what."""
        return f"AzureConfig(name={self.name!r}, url={self.url!r})"


class ControllerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, and how often the backend is asked for changes."""

    name: str = "SecretDefinition"
    reconcile_period: float = 5.0
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all namespaces, by one cluster-wide watch."""
    exclude_namespaces: frozenset[str] = frozenset()
    workers: int = 16
    backend_concurrency: int = 16
    """So many requests to the backend at a time, at most."""
    list_period: float = 1.0
    allowed_paths: tuple[str, ...] = ()
    """These two as the chosen backend has them."""


JITTER = 1.2
"""So many retry periods at most lie between two looks at the lease."""


class LeaseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Leader election, with the defaults of client-go."""

    enabled: bool = False
    namespace: str = ""
    """Of the Lease. Empty: the one that the process runs in."""
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class KubeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which Kubernetes API: empty strings mean the usual places, as kubectl has them."""

    kubeconfig: str = ""
    context: str = ""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much is logged, and in which form. An empty encoder means JSON unless on a terminal."""

    level: int = 20
    encoder: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as `flags.parse` returns it."""

    backend: str = "vault"
    metrics_addr: str = ":8080"
    vault: VaultConfig = VaultConfig()
    azure: AzureConfig = AzureConfig()
    controller: ControllerConfig = ControllerConfig()
    lease: LeaseConfig = LeaseConfig()
    kube: KubeConfig = KubeConfig()
    log: LogConfig = LogConfig()
