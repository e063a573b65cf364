"""How to connect to an API server, and the interface that loads it; client-go's rest.Config and ClientConfigLoader."""

import os
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from secrets_manager.kube.errors import CredentialsError


class RestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Address and credentials of an API server.

    `authorization` is the value of the header; empty with a client certificate or anonymous. `namespace` is that of the
    context. `server_name` replaces the host of the URL in the check of the server's certificate.
    """

    url: str
    namespace: str
    authorization: str
    context: ssl.SSLContext
    proxy: str = ""
    server_name: str = ""
    impersonation: tuple[tuple[str, str], ...] = ()
    """Impersonation headers."""

    def __repr__(self) -> str:
        return f"RestConfig({self.url!r})"


class Credential(NamedTuple):
    """The value of the header Authorization, and a client certificate with its key, as PEM."""

    authorization: str = ""
    client_pem: bytes = b""

    def __repr__(self) -> str:
        return "Credential()"


class ConfigLoader(Protocol):
    """Loads a RestConfig."""

    def load(self, *, refresh: bool) -> RestConfig:
        """Load the configuration. Blocks: reads files, and may run a credential plugin.

        Args:
            refresh: Use nothing that is cached.

        Raises:
            CredentialsError: There are no usable credentials.
        """
        ...


def kubeconfig_files(paths: str) -> list[Path]:
    """Split a path list as in the variable KUBECONFIG. The files need not exist."""
    return [Path(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path]  # noqa: PTH111 - never fails


def header_value(authorization: str) -> str:
    """Return the text, checked as the value of a header.

    Raises:
        CredentialsError: It is not one. The message does not quote it.
    """
    if authorization.isascii() and authorization.isprintable():
        return authorization
    raise CredentialsError("the token for Kubernetes holds characters that no token has")
