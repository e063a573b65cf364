"""Check flags and environment: settings that contradict each other, have no effect, or are better given otherwise.

What can't work at all is a usage error before any check.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from secrets_manager.config import Config, Setting, VaultConfig
from secrets_manager.doctor.finding import Finding, ok, warning

CHECK = "configuration"

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
LEASE_FLAGS = ("leader-election-lease-duration", "leader-election-renew-deadline", "leader-election-retry-period")
APPROLE_FLAGS = ("vault.role-id", "vault.role-id-file", "vault.secret-id", "vault.secret-id-file")
IGNORED = ("zap-stacktrace-level",)


def judge(config: Config, settings: Sequence[Setting]) -> list[Finding]:
    """Return a warning for each fault. `settings` are those that were given."""
    found = [*_sources(settings), *_useless(config, settings), *_vault(config, settings), *_namespaces(config)]
    return found or [ok(CHECK, f"{len(settings)} settings, none of which contradict each other")]


def _sources(settings: Iterable[Setting]) -> Iterator[Finding]:
    for each in settings:
        if each.by_flag and each.by_variable and each.differ:
            yield _warning(
                f"{each.variable} overrides --{each.flag}, which has another value",
                f"leave out --{each.flag}, or unset {each.variable}",
            )
        elif each.by_flag and each.secret and each.variable:
            yield _warning(
                f"--{each.flag} is on the command line, where other users of the machine can see it",
                f"use {each.variable} or a file",
            )


def _useless(config: Config, settings: Iterable[Setting]) -> Iterator[Finding]:
    given = {each.flag for each in settings}
    by_flag = {each.flag for each in settings if each.by_flag}
    for flag in IGNORED:
        if flag in given:
            yield _warning(f"--{flag} has no effect, and is accepted for compatibility", f"leave out --{flag}")
    other = "vault." if config.backend == "azure-kv" else "azure-kv."
    if unused := sorted(flag for flag in by_flag if flag.startswith(other)):
        yield _warning(
            f"--{unused[0]} has no effect with --backend={config.backend}", "leave it out, or correct --backend"
        )
    if not config.lease.enabled and (unused := [flag for flag in LEASE_FLAGS if flag in given]):
        yield _warning(
            f"--{unused[0]} has no effect without --enable-leader-election",
            "set --enable-leader-election where there are several replicas",
        )
    if {"zap-log-level", "enable-debug-log"} <= given and config.log.level <= logging.DEBUG:
        yield _warning("--enable-debug-log overrides --zap-log-level", "leave one of them out")


def _vault(config: Config, settings: Iterable[Setting]) -> Iterator[Finding]:
    if config.backend != "vault":
        return
    vault = config.vault
    yield from _tls(vault)
    if vault.auth_method == "kubernetes" and (unused := [each.flag for each in settings if each.flag in APPROLE_FLAGS]):
        yield _warning(
            f"--{unused[0]} has no effect with --vault.auth-method=kubernetes",
            "leave it out, or correct --vault.auth-method",
        )
    if vault.auth_method == "approle" and vault.secret_id_wrapped and vault.secret_id:
        yield _warning(
            "the wrapping token is in a flag or the environment, so a container that starts again finds it used",
            "put it into a file that is renewed, and set --vault.secret-id-file",
        )


def _tls(vault: VaultConfig) -> Iterator[Finding]:
    authorities = [
        flag
        for flag, value in (
            ("vault.ca-cert", vault.ca_cert),
            ("vault.ca-cert-bytes", vault.ca_cert_bytes),
            ("vault.ca-path", vault.ca_path),
        )
        if value
    ]
    url = urlsplit(vault.url)
    if len(authorities) > 1:
        yield _warning(f"--{authorities[0]} wins over --{authorities[1]}", f"leave out --{authorities[1]}")
    if vault.skip_verify:
        contradiction = f", so --{authorities[0]} has no effect" if authorities else ""
        yield _warning(
            f"Vault's certificate is not verified{contradiction}: whatever is on the way can read the values",
            "set --vault.ca-cert, and leave out --vault.tls-skip-verify (VAULT_SKIP_VERIFY)",
        )
    if url.scheme == "http" and url.hostname not in LOCAL_HOSTS:
        yield _warning(
            "vault.url says http: the token and the values are sent unencrypted", "use https, and --vault.ca-cert"
        )


def _namespaces(config: Config) -> Iterator[Finding]:
    controller = config.controller
    if controller.watch_namespaces and controller.exclude_namespaces:
        yield _warning(
            "--exclude-namespaces only takes names off --watch-namespaces",
            "leave the names out of --watch-namespaces",
        )


def _warning(message: str, fix: str) -> Finding:
    return warning(CHECK, message, fix=fix)
