"""In-cluster configuration: the files of the service account, which Kubernetes rotates."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.restconfig import RestConfig, header_value
from secrets_manager.net.hosts import is_http_url
from secrets_manager.net.tls import UnusableFile, client_context

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
        token = self._text("token")
        context = self._tls_context(self._read("ca.crt"), reload=refresh)
        namespace = self._text("namespace")
        if not token:
            raise CredentialsError(f"the service account's token is empty: {self._folder / 'token'}")
        return RestConfig(
            url=self._url, namespace=namespace, authorization=header_value(f"Bearer {token}"), context=context
        )

    def _tls_context(self, ca_cert: bytes, *, reload: bool) -> ssl.SSLContext:
        if self._ssl_context is None or reload or ca_cert != self._ca_cert:
            try:
                self._ssl_context = client_context(ca_file=str(self._folder / "ca.crt"))
            except UnusableFile as error:
                raise CredentialsError(
                    f"{error}: correct the ConfigMap kube-root-ca.crt, which it is made from"
                ) from None
            self._ca_cert = ca_cert
        return self._ssl_context

    def _text(self, name: str) -> str:
        try:
            return self._read(name).decode().strip()
        except UnicodeDecodeError:
            raise CredentialsError(f"{self._folder / name} is not text: replace it") from None

    def _read(self, name: str) -> bytes:
        file = self._folder / name
        try:
            return file.read_bytes()
        except FileNotFoundError:
            raise CredentialsError(
                f"{file} is missing: the pod needs automountServiceAccountToken: true, or a projected volume with "
                "token, ca.crt and namespace"
            ) from None
        except OSError as error:
            raise CredentialsError(f"{file} can't be read ({error.strerror}): let this user read it") from None
