"""Check that the files that settings name answer: reading one of a network, or a pipe, may never end.

What is wrong with a file that answers, or that there is none, the check of what needs it says: for the certificate of
this program's own server it is here.
"""

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import trio

from secrets_manager.config import Config, ServerConfig
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, failure, ok, warning
from secrets_manager.kube.restconfig import kubeconfig_files
from secrets_manager.supervisor import load_certificate

CHECK = "files"
CERTIFICATE = "metrics-certificate"
FIX = "check the mount and the server of its file system"
CERTIFICATE_FIX = "correct --metrics-tls-cert-file and --metrics-tls-key-file, or what is in the files"
PIPE_FIX = "put the content into a file: it is read more than once"
LIMIT = 5.0
"""Seconds to read the beginning of a file."""

ReadStart = Callable[[str], bool]
"""Reads the beginning of a file or folder. Returns whether it is a pipe, which is not read: that would empty it."""


class Named(NamedTuple):
    """A file or folder, and the setting that names it."""

    setting: str
    path: str


def named(config: Config, environ: Mapping[str, str]) -> list[Named]:
    """Return the files that settings name, each once."""
    found = [*_of_kubernetes(config, environ), *_of_server(config)]
    found += _of_key_vault(config) if config.backend == "azure-kv" else _of_vault(config)
    return [*{each.path: each for each in found if each.path}.values()]


def _of_kubernetes(config: Config, environ: Mapping[str, str]) -> Iterator[Named]:
    for file in kubeconfig_files(config.kube.kubeconfig or environ.get("KUBECONFIG", "")):
        yield Named("kubeconfig", str(file))


def _of_server(config: Config) -> Iterator[Named]:
    yield Named("metrics-tls-cert-file", config.server.tls_cert_file)
    yield Named("metrics-tls-key-file", config.server.tls_key_file)


def _of_vault(config: Config) -> Iterator[Named]:
    vault = config.vault
    yield Named("vault.ca-cert", vault.ca_cert)
    yield Named("vault.ca-path", vault.ca_path)
    yield Named("vault.client-cert", vault.client_cert)
    yield Named("vault.client-key", vault.client_key)
    if vault.auth_method == "kubernetes":
        yield Named("vault.kubernetes-jwt-path", vault.kubernetes_jwt_path)
    else:
        yield Named("vault.role-id-file", vault.role_id_file)
        yield Named("vault.secret-id-file", vault.secret_id_file)


def _of_key_vault(config: Config) -> Iterator[Named]:
    yield Named("azure-kv.federated-token-file", config.azure.federated_token_file)


def read_start(path: str) -> bool:
    """Read the beginning of a file or folder. Return whether it is a pipe."""
    file = Path(path)
    try:
        kind = file.stat().st_mode
        if stat.S_ISREG(kind):
            with file.open("rb") as opened:
                opened.read(1)
        elif stat.S_ISDIR(kind):
            next(file.iterdir(), None)
    except OSError:
        return False
    return stat.S_ISFIFO(kind)


async def check(files: list[Named], *, read: ReadStart = read_start) -> Result[None]:
    """Read all files at a time. Threads that do not end are abandoned."""
    found: dict[Named, Finding] = {}

    async def judge(file: Named) -> None:
        said = f"{file.path} (--{file.setting})"
        found[file] = failure(CHECK, f"{said} does not answer within {LIMIT:g} s", fix=FIX)
        with trio.move_on_after(LIMIT):
            is_pipe = await trio.to_thread.run_sync(read, file.path, abandon_on_cancel=True)
            del found[file]
            if is_pipe:
                found[file] = warning(CHECK, f"{said} is a pipe", fix=PIPE_FIX)

    async with trio.open_nursery() as nursery:
        for file in files:
            nursery.start_soon(judge, file)
    findings = [found[file] for file in files if file in found]
    return Result(findings or ([ok(CHECK, "no file that settings name hangs")] if files else []))


async def check_certificate(config: ServerConfig) -> Result[None]:
    """Load the certificate of our own server, if it has one, as the controller does.

    Raises:
        UsageError: It can't be used.
    """
    if await load_certificate(config) is None:
        return Result([])
    return Result([ok(CERTIFICATE, "certificate and key of our own server can be used")])
