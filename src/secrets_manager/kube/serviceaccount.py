"""The credentials of a pod: files that Kubernetes puts there, and replaces while the process runs."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from secrets_manager.kube.access import Access, header, kind_of
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.net.tls import client_context

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_pod(environ: Mapping[str, str], *, folder: Path = SERVICE_ACCOUNT) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (folder / "token").exists()


class ServiceAccount:
    """The service account that the pod runs as."""

    def __init__(self, environ: Mapping[str, str], *, folder: Path = SERVICE_ACCOUNT) -> None:
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
        self._url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._folder = folder
        self._authority = b""
        self._context: ssl.SSLContext | None = None

    def look(self, *, thorough: bool) -> Access:
        """Read the files as they are now."""
        try:
            token = (self._folder / "token").read_text().strip()
            context = self._trusting((self._folder / "ca.crt").read_bytes(), anew=thorough)
            namespace = (self._folder / "namespace").read_text().strip()
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"the service account at {self._folder} can't be used: {kind_of(error)}; "
                "the pod needs automountServiceAccountToken: true"
            ) from None
        if not token:
            raise CredentialsError(f"the service account's token is empty: {self._folder / 'token'}")
        return Access(url=self._url, namespace=namespace, authorization=header(f"Bearer {token}"), context=context)

    def _trusting(self, authority: bytes, *, anew: bool) -> ssl.SSLContext:
        if self._context is None or anew or authority != self._authority:
            self._context = client_context(ca_file=str(self._folder / "ca.crt"))
            self._authority = authority
        return self._context
