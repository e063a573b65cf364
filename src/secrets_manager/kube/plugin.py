"""Credential plugins of a kubeconfig (`exec`).

A plugin that hangs is killed. The output of a failed one is quoted, unless it may contain a secret.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.restconfig import Credential
from secrets_manager.kube.status import one_line

EXPIRY_MARGIN = timedelta(minutes=5)
"""The plugin runs again this long before its credential expires."""
NEVER_EXPIRES = datetime.min.replace(tzinfo=UTC)
"""Go's zero time; client-go takes it for none."""
RUN_TIMEOUT = 50.0
"""Seconds. It is less than LOAD_TIMEOUT of credentials.py, so that the thread ends."""
CLUSTER_CONFIG = "client.authentication.k8s.io/exec"
"""The extension of a cluster that is passed to plugins."""

_SECRET_NAME = re.compile(r"(?i)secret|token|passw|key|credential")
_TOKEN = re.compile(r"eyJ[\w-]{8,}|(?i:bearer|basic) [\w.~+/=-]{16,}")


class EnvVar(msgspec.Struct, frozen=True):
    name: str
    value: str


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    """An `exec` entry."""

    command: str
    api_version: str
    args: Sequence[str] = ()
    env: Sequence[EnvVar] = ()
    install_hint: str = ""
    provide_cluster_info: bool = False

    def __repr__(self) -> str:
        return f"Exec({self.command!r})"


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _Extension(msgspec.Struct, frozen=True):
    name: str
    extension: object = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    status: msgspec.Raw


class ExecPlugin:
    """Runs the plugin of an `exec` entry when its last credential is about to expire."""

    def __init__(self, entry: Mapping[str, object], *, folder: str, cluster: Mapping[str, object]) -> None:
        """Raises: CredentialsError for an incomplete entry."""
        try:
            self._exec = msgspec.convert(entry, Exec)
        except msgspec.ValidationError:
            raise CredentialsError(
                "exec needs a command and an apiVersion, and env names with values: add them"
            ) from None
        self._folder = folder
        self._cluster = cluster
        self._credential: Credential | None = None
        self._expires = NEVER_EXPIRES

    def credential(self) -> Credential:
        """Raises: CredentialsError with the output of the plugin."""
        if self._credential is None or self._is_about_to_expire():
            status = self._run()
            pem = (
                f"{status.client_certificate_data}\n{status.client_key_data}" if status.client_certificate_data else ""
            )
            self._credential = Credential(f"Bearer {status.token}" if status.token else "", pem.encode())
            self._expires = status.expiration_timestamp or NEVER_EXPIRES
        return self._credential

    def _is_about_to_expire(self) -> bool:
        return self._expires != NEVER_EXPIRES and self._expires <= datetime.now(UTC) + EXPIRY_MARGIN

    def _run(self) -> _Status:
        try:
            printed = msgspec.json.decode(self._output(), type=_ExecCredential)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            printed = None
        if printed is None or printed.api_version != self._exec.api_version:
            raise self._error("prints no ExecCredential of the requested version")
        try:
            status = msgspec.json.decode(printed.status, type=_Status)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._error("prints no ExecCredential") from None
        if not status.token and not (status.client_certificate_data and status.client_key_data):
            raise self._error("prints neither a token nor a client certificate with its key")
        return status

    def _output(self) -> bytes:
        """Run the program, and return what it prints. Only at a terminal may it ask there, in our process group."""
        interactive = sys.stdin is not None and sys.stdin.isatty()
        environment = {each.name: each.value for each in self._exec.env}
        try:
            process = subprocess.Popen(  # noqa: S603 - the kubeconfig names it, as for kubectl
                [self._exec.command, *self._exec.args],
                stdin=None if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if interactive else subprocess.PIPE,
                cwd=self._folder or None,
                env={**os.environ, **environment, "KUBERNETES_EXEC_INFO": self._info(interactive=interactive)},
                process_group=None if interactive else 0,
            )
        except FileNotFoundError:
            hint = one_line(self._exec.install_hint) or "install it, or correct its path"
            raise self._error(f"is not there: {hint}") from None
        except OSError as error:
            raise self._error(f"can't be run: {error.strerror}") from None
        except ValueError:
            raise self._error(
                "can't be run: its command, args or env have a character that they can't have, or a name with `=`"
            ) from None
        with process:
            try:
                output, errors = process.communicate(timeout=RUN_TIMEOUT)
            except subprocess.TimeoutExpired:
                _kill(process, group=not interactive)
                raise self._error(f"takes longer than {RUN_TIMEOUT:g} s: see what it waits for") from None
        if process.returncode:
            raise self._error(self._exit_reason(process.returncode, (errors or b"").decode(errors="replace").strip()))
        return output

    def _info(self, *, interactive: bool) -> str:
        """Return the ExecCredential that is passed to a plugin in its environment."""
        spec: dict[str, object] = {"interactive": interactive}
        if self._exec.provide_cluster_info:
            spec["cluster"] = {**self._cluster, "config": _cluster_config(self._cluster)}
        info = {"apiVersion": self._exec.api_version, "kind": "ExecCredential", "spec": spec}
        return msgspec.json.encode(info).decode()

    def _exit_reason(self, code: int, words: str) -> str:
        """Describe a failure that the program reports."""
        if not words:
            return f"ends with exit code {code} and no output"
        if _TOKEN.search(words) or any(secret in words for secret in _possible_secrets(self._exec)):
            return f"ends with exit code {code}; its output is withheld: it may contain a secret"
        return f"ends with exit code {code}: {one_line(words)}"

    def _error(self, what: str) -> CredentialsError:
        return CredentialsError(f"the credential plugin {one_line(self._exec.command)} {what}")


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Kill a program that has not been waited for, so that its number is still its own."""
    with suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _cluster_config(cluster: Mapping[str, object]) -> object:
    """Return what a cluster's extension for plugins holds; None without one."""
    try:
        extensions = msgspec.convert(cluster.get("extensions", ()), tuple[_Extension, ...])
    except msgspec.ValidationError:
        return None
    return next((each.extension for each in extensions if each.name == CLUSTER_CONFIG), None)


def _possible_secrets(program: Exec) -> Iterator[str]:
    """Yield the values of arguments and variables whose names sound secret."""
    named = [(each.name, each.value) for each in program.env]
    named += [(flag, value) for flag, _, value in (each.partition("=") for each in program.args) if value]
    named += [(flag, value) for flag, value in zip(program.args, program.args[1:], strict=False) if flag[:1] == "-"]
    return (value for name, value in named if value and _SECRET_NAME.search(name))
