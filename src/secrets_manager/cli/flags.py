"""Every flag of the controller in one table, and from there to the configuration.

The names, defaults and environment variables are those of the Go original. A variable that is set and not empty wins
over its flag. `parse` is pure: what the process was told is decided here, and a configuration that can't work ends
here, in one line, before anything is opened.
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from secrets_manager.cli.gosyntax import BOOLEAN, TEXT, Flag, Value, at_least, choice, scan, value_of
from secrets_manager.cli.values import (
    ADDRESS,
    DURATION,
    INTEGER,
    INTERVAL,
    LEVEL,
    NAME,
    NAMESPACE,
    NAMESPACES,
    PATH,
    PATTERNS,
    URL,
)
from secrets_manager.config import (
    JITTER,
    AzureConfig,
    Config,
    ControllerConfig,
    LeaseConfig,
    LogConfig,
    VaultConfig,
)
from secrets_manager.errors import UsageError

Given = Mapping[str, Value]
"""What was told, by the flag's name."""

BACKEND = (
    Flag("backend", choice("vault", "azure-kv"), "Where the secrets are.", "vault", ("backend",)),
    Flag(
        "config.backend-timeout",
        at_least("1ms", DURATION),
        "How long one request to the backend may take.",
        "5s",
        ("vault.timeout", "azure.timeout"),
    ),
    Flag(
        "config.backend-concurrency",
        at_least("1", INTEGER),
        "How many requests to the backend may be under way at a time; fewer while it is in trouble.",
        "16",
        ("controller.backend_concurrency",),
    ),
)
VAULT = (
    Flag("vault.url", URL, "Address of Vault or OpenBao.", "https://127.0.0.1:8200", ("vault.url",), "VAULT_ADDR"),
    Flag(
        "vault.namespace",
        TEXT,
        "Namespace in Vault that everything is in, the login too.",
        "",
        ("vault.namespace",),
        "VAULT_NAMESPACE",
    ),
    Flag(
        "vault.ca-cert",
        PATH,
        "File with the authorities of Vault's certificate. By default those of the machine.",
        "",
        ("vault.ca_cert",),
        "VAULT_CACERT",
    ),
    Flag("vault.ca-path", PATH, "Folder with such files.", "", ("vault.ca_path",), "VAULT_CAPATH"),
    Flag(
        "vault.client-cert",
        PATH,
        "File with our own certificate, for a Vault that wants one.",
        "",
        ("vault.client_cert",),
        "VAULT_CLIENT_CERT",
    ),
    Flag("vault.client-key", PATH, "File with its key.", "", ("vault.client_key",), "VAULT_CLIENT_KEY"),
    Flag(
        "vault.tls-server-name",
        NAME,
        "Name that Vault's certificate is for. By default the host in its address.",
        "",
        ("vault.tls_server_name",),
        "VAULT_TLS_SERVER_NAME",
    ),
    Flag(
        "vault.tls-skip-verify",
        BOOLEAN,
        "Trust whatever answers at the address. Not for production.",
        "false",
        ("vault.skip_verify",),
        "VAULT_SKIP_VERIFY",
    ),
    Flag("vault.engine", choice("kv1", "kv2"), "Version of the key/value engine.", "kv2", ("vault.engine",)),
    Flag(
        "vault.auth-method",
        choice("approle", "kubernetes"),
        "How to log in: by role_id and secret_id, or as the pod's own ServiceAccount.",
        "approle",
        ("vault.auth_method",),
    ),
    Flag("vault.role-id", TEXT, "The role_id of AppRole.", "", ("vault.role_id",), "VAULT_ROLE_ID", secret=True),
    Flag(
        "vault.role-id-file",
        PATH,
        "File with the role_id, read anew at each login.",
        "",
        ("vault.role_id_file",),
        "VAULT_ROLE_ID_FILE",
    ),
    Flag(
        "vault.secret-id",
        TEXT,
        "The secret_id of AppRole. Better in a file or the environment: others may see flags.",
        "",
        ("vault.secret_id",),
        "VAULT_SECRET_ID",
        secret=True,
    ),
    Flag(
        "vault.secret-id-file",
        PATH,
        "File with the secret_id, read anew at each login.",
        "",
        ("vault.secret_id_file",),
        "VAULT_SECRET_ID_FILE",
    ),
    Flag(
        "vault.secret-id-wrapped",
        BOOLEAN,
        "The secret_id comes in a wrapping token of Vault's, which is unwrapped once.",
        "false",
        ("vault.secret_id_wrapped",),
        "VAULT_SECRET_ID_WRAPPED",
    ),
    Flag("vault.approle-path", PATH, "Mount of the AppRole method.", "approle", ("vault.approle_path",)),
    Flag("vault.kubernetes-role", NAME, "Role of the Kubernetes method.", "", ("vault.kubernetes_role",)),
    Flag("vault.kubernetes-path", PATH, "Mount of the Kubernetes method.", "kubernetes", ("vault.kubernetes_path",)),
    Flag(
        "vault.kubernetes-jwt-path",
        PATH,
        "File with the pod's token, read at each login.",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        ("vault.kubernetes_jwt_path",),
    ),
    Flag(
        "vault.max-token-ttl",
        at_least("0", INTEGER),
        "Seconds. The token is renewed at the latest when it has less left.",
        "300",
        ("vault.max_token_ttl",),
    ),
    Flag(
        "vault.token-polling-period",
        INTERVAL,
        "How often the token is looked at.",
        "15s",
        ("vault.token_polling_period",),
    ),
    Flag(
        "vault.renew-ttl-increment",
        at_least("0", INTEGER),
        "Seconds that a renewal of the token asks for.",
        "600",
        ("vault.renew_ttl_increment",),
    ),
    Flag(
        "vault.list-period",
        at_least("0", DURATION),
        "How often a folder is listed, at most, to find what has changed; OpenBao alone can. 0: never.",
        "1s",
        ("vault.list_period",),
    ),
    Flag(
        "vault.allowed-paths",
        PATTERNS,
        "Paths that definitions may name, like secret/data/{namespace}/*, with commas between. By default all.",
        "",
        ("vault.allowed_paths",),
    ),
)
AZURE = (
    Flag("azure-kv.name", NAME, "Name of the Key Vault.", "", ("azure.name",), "AZURE_KV_NAME"),
    Flag("azure-kv.tenant-id", TEXT, "Tenant of the service principal.", "", ("azure.tenant_id",), "AZURE_TENANT_ID"),
    Flag(
        "azure-kv.client-id", TEXT, "Client ID of the service principal.", "", ("azure.client_id",), "AZURE_CLIENT_ID"
    ),
    Flag(
        "azure-kv.client-secret",
        TEXT,
        "Password of the service principal. Better in the environment.",
        "",
        ("azure.client_secret",),
        "AZURE_CLIENT_SECRET",
        secret=True,
    ),
    Flag(
        "azure-kv.managed-client-id",
        TEXT,
        "Client ID of the managed identity.",
        "",
        ("azure.managed_client_id",),
        "AZURE_MANAGED_CLIENT_ID",
    ),
    Flag(
        "azure-kv.managed-resource-id",
        TEXT,
        "Resource ID of the managed identity.",
        "",
        ("azure.managed_resource_id",),
        "AZURE_MANAGED_RESOURCE_ID",
    ),
    Flag(
        "azure-kv.federated-token-file",
        PATH,
        "File with the token of the workload identity.",
        "",
        ("azure.federated_token_file",),
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
    Flag(
        "azure-kv.authority",
        TEXT,
        "Address of Entra ID, for sovereign clouds. By default that of the public cloud.",
        "",
        ("azure.authority",),
        "AZURE_AUTHORITY_HOST",
    ),
    Flag(
        "azure-kv.endpoint-suffix",
        NAME,
        "What follows the name in the vault's address, for sovereign clouds.",
        "vault.azure.net",
        ("azure.endpoint_suffix",),
    ),
    Flag("azure-kv.url", TEXT, "All of the vault's address, in place of name and suffix.", "", ("azure.url",)),
    Flag(
        "azure-kv.api-version",
        NAME,
        "Version of Key Vault's API, for an emulator. By default the newest.",
        "",
        ("azure.api_version",),
    ),
    Flag(
        "azure-kv.verify-challenge-resource",
        BOOLEAN,
        "Send tokens only to vaults of the cloud that they are for. Not for an emulator.",
        "true",
        ("azure.verify_challenge_resource",),
    ),
    Flag(
        "azure-kv.list-period",
        at_least("0", DURATION),
        "How often the vault is listed, at most, to find what has changed. 0: never.",
        "1s",
        ("azure.list_period",),
    ),
    Flag(
        "azure-kv.allowed-paths",
        PATTERNS,
        "Secrets that definitions may name, like {namespace}-*, with commas between. By default all.",
        "",
        ("azure.allowed_paths",),
    ),
)
KUBERNETES = (
    Flag(
        "kubeconfig",
        PATH,
        "File with the login to Kubernetes. By default KUBECONFIG, the pod's own ServiceAccount or ~/.kube/config.",
        "",
        ("kube.kubeconfig",),
    ),
    Flag("kube-context", NAME, "Context of the kubeconfig. By default its current one.", "", ("kube.context",)),
    Flag(
        "watch-namespaces",
        NAMESPACES,
        "Namespaces to watch, with commas between. By default all of them.",
        "",
        ("controller.watch_namespaces",),
    ),
    Flag(
        "exclude-namespaces",
        NAMESPACES,
        "Namespaces to leave alone, with commas between. Wins over watch-namespaces.",
        "",
        ("controller.exclude_namespaces",),
    ),
)
CONTROLLER = (
    Flag(
        "reconcile-period",
        INTERVAL,
        "How often the backend is asked for changes.",
        "5s",
        ("controller.reconcile_period",),
    ),
    Flag(
        "max-concurrent-reconciles",
        at_least("1", INTEGER),
        "How many definitions are worked on at a time.",
        "16",
        ("controller.workers",),
    ),
    Flag(
        "controller-name",
        NAME,
        "Name of this installation. Each name has a lease of its own.",
        "SecretDefinition",
        ("controller.name",),
    ),
    Flag(
        "enable-leader-election",
        BOOLEAN,
        "Work only while holding a lease, so that of several replicas one works.",
        "false",
        ("lease.enabled",),
    ),
    Flag(
        "leader-election-namespace",
        NAMESPACE,
        "Where the lease is. By default POD_NAMESPACE, else the pod's namespace or that of the kubeconfig's context.",
        "",
        ("lease.namespace",),
    ),
    Flag(
        "leader-election-lease-duration",
        at_least("1s", DURATION),
        "How long the others wait after a leader's last renewal before one of them takes the lease.",
        "15s",
        ("lease.duration",),
    ),
    Flag(
        "leader-election-renew-deadline",
        INTERVAL,
        "How long a leader that can't renew the lease goes on working.",
        "10s",
        ("lease.renew_deadline",),
    ),
    Flag(
        "leader-election-retry-period",
        INTERVAL,
        "How often the lease is looked at.",
        "2s",
        ("lease.retry_period",),
    ),
    Flag("metrics-addr", ADDRESS, "Where /metrics, /healthz and /readyz are served.", ":8080", ("metrics_addr",)),
)
LOG = (
    Flag("enable-debug-log", BOOLEAN, "Log more. Wins over zap-log-level.", "false"),
    Flag("zap-log-level", LEVEL, "debug, info, warn, error, panic, or a number above 0 for debug.", "info"),
    Flag("zap-encoder", choice("json", "console"), "Form of the log. By default json, on a terminal console."),
    Flag("zap-devel", BOOLEAN, "Short for zap-log-level=debug and zap-encoder=console.", "false"),
    Flag(
        "zap-stacktrace-level", choice("info", "error", "panic"), "Taken and not used: unexpected errors have a trace."
    ),
)
HELP = Flag("help", BOOLEAN, "Print this, and nothing else; -h is short for it.")
OTHER = (Flag("version", BOOLEAN, "Print the version, and nothing else."), HELP)
GROUPS = {
    "Backend": BACKEND,
    "Vault": VAULT,
    "Azure Key Vault": AZURE,
    "Kubernetes": KUBERNETES,
    "Controller": CONTROLLER,
    "Log": LOG,
    "Other": OTHER,
}
FLAGS = {flag.name: flag for group in GROUPS.values() for flag in group}


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The whole way from a command line without its command to the configuration.

    Raises: UsageError, in one line that names the flag or the variable, and what is allowed.
    """
    return configured(dict(scan(argv, FLAGS)), environ)


def configured(given: Given, environ: Mapping[str, str]) -> Config:
    """The configuration that follows from flags and environment. Raises: UsageError."""
    told = {**given, **_environment(environ)}
    config = msgspec.convert(_tree(told), Config)
    config = msgspec.structs.replace(config, log=_log(told), controller=_controller(config))
    _check(config)
    return config


def _environment(environ: Mapping[str, str]) -> Given:
    return {
        flag.name: value_of(flag, environ[flag.env], f"environment variable {flag.env}")
        for flag in FLAGS.values()
        if flag.env and environ.get(flag.env, "").strip()
    }


def _tree(told: Given) -> dict[str, object]:
    """The values in the form of the structs. What is not told is left to their defaults."""
    tree: dict[str, object] = {}
    parts: dict[str, dict[str, Value]] = {}
    for name, value in told.items():
        for field in FLAGS[name].fills:
            part, dot, leaf = field.partition(".")
            if dot:
                parts.setdefault(part, {})[leaf] = value
            else:
                tree[field] = value
    return tree | parts


def _log(told: Given) -> LogConfig:
    """Three flags speak of the same thing, as those of the original do."""
    devel = bool(told.get("zap-devel"))
    level = told.get("zap-log-level", logging.DEBUG if devel else logging.INFO)
    encoder = told.get("zap-encoder", "console" if devel else "")
    assert isinstance(level, int)
    assert isinstance(encoder, str)
    return LogConfig(level=logging.DEBUG if told.get("enable-debug-log") else level, encoder=encoder)


def _controller(config: Config) -> ControllerConfig:
    """With what the chosen backend's own flags say of the controller's work."""
    chosen = config.azure if config.backend == "azure-kv" else config.vault
    return msgspec.structs.replace(
        _without_excluded(config.controller), list_period=chosen.list_period, allowed_paths=chosen.allowed_paths
    )


def _without_excluded(config: ControllerConfig) -> ControllerConfig:
    """To exclude wins. With nothing left, an empty list would mean all namespaces."""
    left = tuple(name for name in config.watch_namespaces if name not in config.exclude_namespaces)
    if config.watch_namespaces and not left:
        raise UsageError("--exclude-namespaces leaves nothing of --watch-namespaces: name one that is watched")
    return msgspec.structs.replace(config, watch_namespaces=left)


def _check_lease(lease: LeaseConfig) -> None:
    """As client-go does: who leads stops before another may begin, and tries more than once. Raises: UsageError."""
    if lease.duration <= lease.renew_deadline:
        raise UsageError("--leader-election-lease-duration must be longer than --leader-election-renew-deadline")
    if lease.renew_deadline <= JITTER * lease.retry_period:
        raise UsageError(
            f"--leader-election-renew-deadline must be longer than {JITTER:g} times --leader-election-retry-period"
        )


def _check(config: Config) -> None:
    """What the parts need that is chosen. Raises: UsageError."""
    _check_lease(config.lease)
    match config:
        case Config(backend="azure-kv", azure=AzureConfig(name="", url="")):
            raise UsageError("--backend=azure-kv needs --azure-kv.name (or AZURE_KV_NAME), or --azure-kv.url")
        case Config(backend="vault", vault=VaultConfig(auth_method="kubernetes", kubernetes_role="")):
            raise UsageError("--vault.auth-method=kubernetes needs --vault.kubernetes-role")
        case Config(backend="vault", vault=VaultConfig(auth_method="approle") as vault):
            _check_approle(vault)
    if config.backend == "vault" and bool(config.vault.client_cert) != bool(config.vault.client_key):
        raise UsageError("--vault.client-cert and --vault.client-key (VAULT_CLIENT_CERT, VAULT_CLIENT_KEY) go together")


def _check_approle(config: VaultConfig) -> None:
    for name, given, file in (
        ("role-id", config.role_id, config.role_id_file),
        ("secret-id", config.secret_id, config.secret_id_file),
    ):
        if given and file:
            raise UsageError(f"--vault.{name} and --vault.{name}-file are both given: leave one out")
    has_role, has_secret = config.role_id or config.role_id_file, config.secret_id or config.secret_id_file
    if not has_role and not has_secret:
        raise UsageError(
            "--vault.auth-method=approle needs --vault.role-id and --vault.secret-id "
            "(better: VAULT_ROLE_ID and VAULT_SECRET_ID)"
        )
    if not has_role:
        raise UsageError("--vault.auth-method=approle needs --vault.role-id (or VAULT_ROLE_ID)")
    if config.secret_id_wrapped and not has_secret:
        raise UsageError("--vault.secret-id-wrapped needs --vault.secret-id or --vault.secret-id-file")
