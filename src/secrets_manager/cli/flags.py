"""Parse the command line and the environment into the configuration.

As in the Go original, an environment variable overrides its flag if it is set and not empty. `parse` is pure: a
configuration that can't work is one line of an error, before anything is opened.
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from secrets_manager.cli.gosyntax import Value, scan, value_of
from secrets_manager.cli.table import FLAGS
from secrets_manager.config import (
    JITTER_FACTOR,
    AzureConfig,
    Config,
    ControllerConfig,
    LeaseConfig,
    LogConfig,
    ServerConfig,
    Setting,
    VaultConfig,
)
from secrets_manager.errors import UsageError

FlagValues = Mapping[str, Value]
"""Values by the flag's name."""


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Parse a command line without its command.

    Raises:
        UsageError: one line that names the flag or the variable, and what is allowed.
    """
    return configure(dict(scan(argv, FLAGS)), environ)


def configure(flags: FlagValues, environ: Mapping[str, str]) -> Config:
    """Return the configuration of flags and environment.

    Raises:
        UsageError: it can't work.
    """
    values = {**flags, **_environment(environ)}
    config = msgspec.convert(_tree(values), Config)
    config = msgspec.structs.replace(config, log=_log(values), controller=_controller(config))
    _check(config)
    return config


def given(flags: FlagValues, environ: Mapping[str, str]) -> list[Setting]:
    """Return how each setting was given, in the order of the table; without those that were not.

    Raises:
        UsageError: a variable has no valid value.
    """
    variables = _environment(environ)
    return [
        Setting(
            flag.name,
            flag.env,
            secret=flag.secret,
            by_flag=flag.name in flags,
            by_variable=flag.name in variables,
            differ=flag.name in flags and flag.name in variables and flags[flag.name] != variables[flag.name],
        )
        for flag in FLAGS.values()
        if flag.name in flags or flag.name in variables
    ]


def _environment(environ: Mapping[str, str]) -> FlagValues:
    return {
        flag.name: value_of(flag, environ[flag.env], f"environment variable {flag.env}")
        for flag in FLAGS.values()
        if flag.env and environ.get(flag.env, "").strip()
    }


def _tree(values: FlagValues) -> dict[str, object]:
    """Nest the values like the structs, whose defaults apply to the others."""
    tree: dict[str, object] = {}
    parts: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        for field in FLAGS[name].fields:
            part, dot, leaf = field.partition(".")
            if dot:
                parts.setdefault(part, {})[leaf] = value
            else:
                tree[field] = value
    return tree | parts


def _log(values: FlagValues) -> LogConfig:
    """Combine the flags of the log, which overlap as those of the Go original do."""
    devel = bool(values.get("zap-devel"))
    level = values.get("zap-log-level", logging.DEBUG if devel else logging.INFO)
    encoder = values.get("zap-encoder", "console" if devel else "")
    assert isinstance(level, int)
    assert isinstance(encoder, str)
    return LogConfig(level=logging.DEBUG if values.get("enable-debug-log") else level, encoder=encoder)


def _controller(config: Config) -> ControllerConfig:
    """Add the settings that come from the flags of the backend in use."""
    chosen = config.azure if config.backend == "azure-kv" else config.vault
    return msgspec.structs.replace(
        _without_excluded(config.controller), list_period=chosen.list_period, allowed_paths=chosen.allowed_paths
    )


def _without_excluded(config: ControllerConfig) -> ControllerConfig:
    """Remove the excluded namespaces. An empty result is an error: it would mean all namespaces."""
    left = tuple(name for name in config.watch_namespaces if name not in config.exclude_namespaces)
    if config.watch_namespaces and not left:
        raise UsageError("--exclude-namespaces excludes all of --watch-namespaces: leave one to watch")
    return msgspec.structs.replace(config, watch_namespaces=left)


def _check_lease(lease: LeaseConfig) -> None:
    """Check the durations as client-go does: a leader retries, and stops before another can take the lease.

    Raises:
        UsageError: they don't fit.
    """
    if lease.duration <= lease.renew_deadline:
        raise UsageError("--leader-election-lease-duration must be longer than --leader-election-renew-deadline")
    if lease.renew_deadline <= JITTER_FACTOR * lease.retry_period:
        raise UsageError(
            "--leader-election-renew-deadline must be longer than "
            f"{JITTER_FACTOR:g} times --leader-election-retry-period"
        )


def _check_server(server: ServerConfig) -> None:
    """Check TLS. Tokens would be readable on the network without it.

    Raises:
        UsageError: something is missing.
    """
    if bool(server.tls_cert_file) != bool(server.tls_key_file):
        raise UsageError("--metrics-tls-cert-file and --metrics-tls-key-file go together")
    if server.auth and not server.tls_cert_file:
        raise UsageError("--metrics-auth needs --metrics-tls-cert-file: tokens must not travel unencrypted")


def _check(config: Config) -> None:
    """Check what the selected backend and auth method need.

    Raises:
        UsageError: something is missing.
    """
    _check_lease(config.lease)
    _check_server(config.server)
    match config:
        case Config(backend="azure-kv", azure=AzureConfig(name="", url="")):
            raise UsageError("--backend=azure-kv needs --azure-kv.name (or AZURE_KV_NAME), or --azure-kv.url")
        case Config(backend="vault", vault=VaultConfig(auth_method="kubernetes", kubernetes_role="")):
            raise UsageError("--vault.auth-method=kubernetes needs --vault.kubernetes-role")
        case Config(backend="vault", vault=VaultConfig(auth_method="approle") as vault):
            _check_approle(vault)
        case _:
            pass
    if config.backend == "vault" and bool(config.vault.client_cert) != bool(config.vault.client_key):
        raise UsageError("--vault.client-cert and --vault.client-key (VAULT_CLIENT_CERT, VAULT_CLIENT_KEY) go together")


def _check_approle(config: VaultConfig) -> None:
    for name, value, file in (
        ("role-id", config.role_id, config.role_id_file),
        ("secret-id", config.secret_id, config.secret_id_file),
    ):
        if value and file:
            raise UsageError(f"--vault.{name} and --vault.{name}-file are both set: leave one out")
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
