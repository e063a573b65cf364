"""Credential plugins of a kubeconfig (`exec`), and the older `auth-provider`.

The `kubernetes` package runs them. The output of a failed plugin is quoted, unless it may contain a secret.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from kubernetes.client import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import ConfigNode, KubeConfigLoader

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.restconfig import Credential
from secrets_manager.kube.status import one_line

EXPIRY_MARGIN = timedelta(minutes=5)
"""The plugin runs again this long before its credential expires."""
NEVER_EXPIRES = datetime.min.replace(tzinfo=UTC)
"""Go's zero time; client-go takes it for none."""

_SECRET_NAME = re.compile(r"(?i)secret|token|passw|key|credential")
_TOKEN = re.compile(r"eyJ[\w-]{8,}|(?i:bearer|basic) [\w.~+/=-]{16,}")
_EXIT = re.compile(r"exec: process returned (-?\d+)(?:\. (.*))?", re.DOTALL)


class EnvVar(msgspec.Struct, frozen=True):
    name: str
    value: str = ""


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    """An `exec` entry, with the fields that error messages need."""

    command: str
    args: Sequence[str] = ()
    env: Sequence[EnvVar] = ()
    install_hint: str = ""

    def __repr__(self) -> str:
        return f"Exec({self.command!r})"


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class ExecPlugin:
    """Runs the plugin of an `exec` entry when its last credential is about to expire."""

    def __init__(self, entry: Mapping[str, object], *, folder: str, cluster: Mapping[str, object]) -> None:
        """Raises: CredentialsError for an incomplete entry."""
        try:
            self._exec = msgspec.convert(entry, Exec)
            self._provider = ExecProvider(ConfigNode("exec", entry), folder, ConfigNode("cluster", cluster))
        except (msgspec.ValidationError, ConfigException, LookupError):
            raise CredentialsError(
                "exec needs a command and an apiVersion, and env names with values: add them"
            ) from None
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
            status = msgspec.convert(self._provider.run(), _Status)
        except ConfigException as error:
            raise self._error(self._exit_reason(str(error))) from None
        except FileNotFoundError:
            hint = one_line(self._exec.install_hint) or "install it, or correct its path"
            raise self._error(f"is not there: {hint}") from None
        except OSError as error:
            raise self._error(f"can't be run: {error.strerror}") from None
        except Exception:  # noqa: BLE001 - the package's: whatever the output does to it
            raise self._error("prints no ExecCredential") from None
        if not status.token and not (status.client_certificate_data and status.client_key_data):
            raise self._error("prints neither a token nor a client certificate with its key")
        return status

    def _exit_reason(self, text: str) -> str:
        """Describe a failure that the package reports."""
        ended = _EXIT.fullmatch(text)
        if ended is None:
            return "prints no ExecCredential of the requested version"
        code, words = ended[1], (ended[2] or "").strip()
        if not words:
            return f"ends with exit code {code} and no output"
        if _TOKEN.search(words) or any(secret in words for secret in _possible_secrets(self._exec)):
            return f"ends with exit code {code}; its output is withheld: it may contain a secret"
        return f"ends with exit code {code}: {one_line(words)}"

    def _error(self, what: str) -> CredentialsError:
        return CredentialsError(f"the credential plugin {one_line(self._exec.command)} {what}")


class AuthProvider:
    """An `auth-provider` that the package supports: it renews a token that is about to expire."""

    def __init__(self, entry: Mapping[str, object]) -> None:
        config: dict[str, object] = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {}}],
            "users": [{"name": "u", "user": {"auth-provider": entry}}],
        }
        self._name = str(entry.get("name", ""))
        self._loader = KubeConfigLoader(config)
        self._configuration: Configuration | None = None

    def credential(self) -> Credential:
        """Raises: CredentialsError."""
        try:
            if self._configuration is None:
                configuration = Configuration()
                self._loader.load_and_set(configuration)
                self._configuration = configuration
            token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except Exception as error:  # noqa: BLE001 - the package's: it passes on those of urllib3 and others
            raise CredentialsError(f"the auth-provider {self._name} fails: {type(error).__name__}") from None
        return Credential(token or "")


def _possible_secrets(program: Exec) -> Iterator[str]:
    """Yield the values of arguments and variables whose names sound secret."""
    named = [(each.name, each.value) for each in program.env]
    named += [(flag, value) for flag, _, value in (each.partition("=") for each in program.args) if value]
    named += [(flag, value) for flag, value in zip(program.args, program.args[1:], strict=False) if flag[:1] == "-"]
    return (value for name, value in named if value and _SECRET_NAME.search(name))
