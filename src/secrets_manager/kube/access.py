"""What it takes to be let in by an API server, and where that comes from."""

import os
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from secrets_manager.kube.errors import CredentialsError


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the credentials brought.

    `authorization` is the header's value: empty for a login by client certificate, or for none. `namespace` is the
    login's own. A `server_name` is what the server's certificate must be for, if not for the host of the URL.
    """

    url: str
    namespace: str
    authorization: str
    context: ssl.SSLContext
    proxy: str = ""
    server_name: str = ""
    impersonation: tuple[tuple[str, str], ...] = ()
    """Headers that ask the API server to take us for somebody else."""

    def __repr__(self) -> str:
        return f"Access({self.url!r})"


class Credential(NamedTuple):
    """What to log in with: the value of the header Authorization, and a client certificate with its key, as PEM."""

    authorization: str = ""
    client_pem: bytes = b""

    def __repr__(self) -> str:
        return "Credential()"


class Source(Protocol):
    """A place where credentials come from."""

    def look(self, *, thorough: bool) -> Access:
        """Take a look. It blocks: files are read, and perhaps a login plugin is run.

        A thorough look relies on nothing that was seen before.
        Raises: CredentialsError.
        """
        ...


def kubeconfig_files(paths: str) -> list[Path]:
    """The files of a kubeconfig, written as in the variable KUBECONFIG, be they there or not."""
    return [Path(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path]  # noqa: PTH111 - never fails


def header(authorization: str) -> str:
    """Raises: CredentialsError for a text that can't be the value of a header, without telling it."""
    if authorization.isascii() and authorization.isprintable():
        return authorization
    raise CredentialsError("the token for Kubernetes holds characters that no token has")


def kind_of(error: Exception) -> str:
    """Tells of an error no more than what it is: its own text may quote what was read."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
