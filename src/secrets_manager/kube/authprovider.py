"""The `auth-provider` of a kubeconfig, older than `exec`: the package `kubernetes` runs it, which takes 19 MB."""

from collections.abc import Mapping

from kubernetes.client import Configuration
from kubernetes.config.kube_config import KubeConfigLoader

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.restconfig import Credential


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
