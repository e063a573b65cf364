"""Logins that a kubeconfig leaves to a program beside it (`exec`), or to an older `auth-provider`.

The `kubernetes` package runs them. What a program says of its failure is passed on, unless a secret may be among it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from kubernetes.client import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import ConfigNode, KubeConfigLoader

from secrets_manager.kube.access import Credential
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.refusal import one_line

RENEWED_BEFORE = timedelta(minutes=5)
"""So long before a credential expires the program is run again."""

_SECRETIVE = re.compile(r"(?i)secret|token|passw|key|credential")
_TOKEN = re.compile(r"eyJ[\w-]{8,}|(?i:bearer|basic) [\w.~+/=-]{16,}")
_EXIT = re.compile(r"exec: process returned (-?\d+)(?:\. (.*))?", re.DOTALL)


class Variable(msgspec.Struct, frozen=True):
    name: str
    value: str = ""


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    """The program of an `exec` entry, as far as it is needed to tell of its failure."""

    command: str
    args: Sequence[str] = ()
    env: Sequence[Variable] = ()
    install_hint: str = ""

    def __repr__(self) -> str:
        return f"Exec({self.command!r})"


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class Plugin:
    """The program that an `exec` entry names. It runs when its last credential is about to expire."""

    def __init__(self, entry: Mapping[str, object], *, folder: str, cluster: Mapping[str, object]) -> None:
        """Raises: CredentialsError for an entry that is incomplete."""
        try:
            self._exec = msgspec.convert(entry, Exec)
            self._provider = ExecProvider(ConfigNode("exec", entry), folder, ConfigNode("cluster", cluster))
        except (msgspec.ValidationError, ConfigException, LookupError):
            raise CredentialsError(
                "exec needs a command and an apiVersion, and env names with values: add them"
            ) from None
        self._credential: Credential | None = None
        self._expires: datetime | None = None

    def credential(self) -> Credential:
        """Raises: CredentialsError with the program's words."""
        if self._credential is None or (self._expires and self._expires - RENEWED_BEFORE <= datetime.now(UTC)):
            status = self._run()
            pem = (
                f"{status.client_certificate_data}\n{status.client_key_data}" if status.client_certificate_data else ""
            )
            self._credential = Credential(f"Bearer {status.token}" if status.token else "", pem.encode())
            self._expires = status.expiration_timestamp
        return self._credential

    def _run(self) -> _Status:
        try:
            status = msgspec.convert(self._provider.run(), _Status)
        except ConfigException as error:
            raise self._failure(self._reason(str(error))) from None
        except FileNotFoundError:
            hint = one_line(self._exec.install_hint) or "install it, or correct its path"
            raise self._failure(f"is not there: {hint}") from None
        except OSError as error:
            raise self._failure(f"can't be run: {error.strerror}") from None
        except (msgspec.ValidationError, LookupError, TypeError, AttributeError, ValueError):
            raise self._failure("prints something else than an ExecCredential") from None
        if not status.token and not (status.client_certificate_data and status.client_key_data):
            raise self._failure("prints neither a token nor a client certificate with its key")
        return status

    def _reason(self, text: str) -> str:
        """What the package tells of a failure."""
        ended = _EXIT.fullmatch(text)
        if ended is None:
            return "prints something else than an ExecCredential of the version that it was asked for"
        code, words = ended[1], (ended[2] or "").strip()
        if not words:
            return f"ends with exit code {code}, and says nothing"
        if _TOKEN.search(words) or any(secret in words for secret in _secrets(self._exec)):
            return f"ends with exit code {code}; its words are withheld: they may hold a secret"
        return f"ends with exit code {code}: {one_line(words)}"

    def _failure(self, what: str) -> CredentialsError:
        return CredentialsError(f"the login plugin {one_line(self._exec.command)} {what}")


class Provider:
    """An `auth-provider` of the kinds that the package knows: it renews a token that is about to expire."""

    def __init__(self, entry: Mapping[str, object]) -> None:
        config = {
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
                self._configuration = Configuration()
                self._loader.load_and_set(self._configuration)
            token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except (ConfigException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise CredentialsError(f"the auth-provider {self._name} fails: {type(error).__name__}") from None
        return Credential(token or "")


def _secrets(program: Exec) -> Iterator[str]:
    """What of its arguments and variables may be secret, by their names."""
    named = [(each.name, each.value) for each in program.env]
    named += [(flag, value) for flag, _, value in (each.partition("=") for each in program.args) if value]
    named += [(flag, value) for flag, value in zip(program.args, program.args[1:], strict=False) if flag[:1] == "-"]
    return (value for name, value in named if value and _SECRETIVE.search(name))
