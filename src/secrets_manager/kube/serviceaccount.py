"""In-cluster configuration: the files of the service account, which Kubernetes rotates."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.restconfig import RestConfig, describe_error, header_value
from secrets_manager.net.hosts import is_http_url
from secrets_manager.net.tls import client_context

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_cluster(environ: Mapping[str, str], *, folder: Path = SERVICE_ACCOUNT) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (folder / "token").exists()


class ServiceAccount:
    """Loads the service account of the pod."""

    def __init__(self, environ: Mapping[str, str], *, folder: Path = SERVICE_ACCOUNT) -> None:
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
        self._url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._folder = folder
        self._ca_cert = b""
        self._ssl_context: ssl.SSLContext | None = None

    def load(self, *, refresh: bool) -> RestConfig:
        """Load the files; a refresh also makes a new TLS context."""
        if not is_http_url(self._url):
            raise CredentialsError(
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no host and port: correct them"
            )
        try:
            token = (self._folder / "token").read_text().strip()
            context = self._tls_context((self._folder / "ca.crt").read_bytes(), reload=refresh)
            namespace = (self._folder / "namespace").read_text().strip()
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"the service account at {self._folder} can't be used: {describe_error(error)}; "
                "the pod needs automountServiceAccountToken: true"
            ) from None
        if not token:
            raise CredentialsError(f"the service account's token is empty: {self._folder / 'token'}")
        return RestConfig(
            url=self._url, namespace=namespace, authorization=header_value(f"Bearer {token}"), context=context
        )

    def _tls_context(self, ca_cert: bytes, *, reload: bool) -> ssl.SSLContext:
        if self._ssl_context is None or reload or ca_cert != self._ca_cert:
            self._ssl_context = client_context(ca_file=str(self._folder / "ca.crt"))
            self._ca_cert = ca_cert
        return self._ssl_context
