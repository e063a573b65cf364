"""The credentials that a kubeconfig names: tokens, client certificates, login plugins, several files merged.

The `kubernetes` package reads that format, for it has many corners. Its error texts may quote the file, tokens
included; none is passed on.
"""

from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from secrets_manager.kube.access import Access, header, kind_of
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.net.tls import client_context

MISREAD = (yaml.YAMLError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What the package raises besides its own error for a file that is not what it expects."""


class _Loaded(NamedTuple):
    access: Access
    configuration: Configuration
    needs_token: bool


class Kubeconfig:
    """A context of one kubeconfig, or of several, written as in the variable KUBECONFIG."""

    def __init__(self, paths: str, *, context: str = "") -> None:
        self._paths = paths
        self._context = context
        self._loaded: _Loaded | None = None

    def __str__(self) -> str:
        context = f"context {self._context!r}" if self._context else "the current context"
        return f"{context} of the kubeconfig {self._paths}"

    def look(self, *, thorough: bool) -> Access:
        """Renew a token that is about to expire; a thorough look reads all files and runs the login plugin."""
        try:
            if self._loaded is None or thorough:
                self._loaded = self._load()
            access, configuration, needs_token = self._loaded
            authorization = configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
        except (ConfigException, *MISREAD) as error:
            raise CredentialsError(f"{self} can't be used: {kind_of(error)}; {self._advice}") from None
        if needs_token and not authorization:
            raise CredentialsError(f"{self} brings neither a token nor a client certificate; {self._advice}")
        return msgspec.structs.replace(access, authorization=header(authorization))

    @property
    def _advice(self) -> str:
        context = f" --context={self._context}" if self._context else ""
        return f"`KUBECONFIG={self._paths} kubectl{context} version` may tell more"

    def _load(self) -> _Loaded:
        merged = KubeConfigMerger(self._paths).config
        if merged is None:
            raise CredentialsError(f"there is nothing in the kubeconfig {self._paths}")
        configuration = Configuration()
        configuration.proxy = None  # not the environment's, which is taken without regard to ranges in NO_PROXY
        with TemporaryDirectory() as scratch:  # for keys that stand in the kubeconfig itself: gone once they are loaded
            loader = KubeConfigLoader(merged, self._context or None, config_base_path=None, temp_file_path=scratch)
            loader.load_and_set(configuration)
            context = client_context(
                ca_file=configuration.ssl_ca_cert or "",
                cert_file=configuration.cert_file or "",
                key_file=configuration.key_file or "",
                verify=configuration.verify_ssl,
            )
        chosen = loader.current_context["context"]
        access = Access(
            url=_checked(configuration.host, what="server", schemes=("https", "http")),
            namespace=chosen.get("namespace") or "default",
            authorization="",
            context=context,
            proxy=_checked(configuration.proxy or "", what="proxy-url", schemes=("", "https", "http")),
            server_name=configuration.tls_server_name or "",
        )
        has_login = bool(chosen.get("user")) and access.url.startswith("https:")
        return _Loaded(access, configuration, needs_token=has_login and not configuration.cert_file)


def _checked(url: str, *, what: str, schemes: tuple[str, ...]) -> str:
    """Raises: CredentialsError, without the URL, for it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or (parts.scheme and not parts.hostname):
        raise CredentialsError(f"the kubeconfig's {what} must be a URL that begins with https:// or http://")
    return url
