"""From the command line and the environment to the configuration.

A variable that is set and not empty wins over its flag, as in the Go original. `parse` is pure: what the process was
told is decided here, and a configuration that can't work ends here, in one line, before anything is opened.
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from secrets_manager.cli.gosyntax import Value, scan, value_of
from secrets_manager.cli.table import FLAGS
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
