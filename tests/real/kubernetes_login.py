"""OpenBao's method `kubernetes` at a mount of its own, which asks the real API server whose a JWT is."""

from fake_kubernetes.documents import Json, Object
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

REVIEW: list[Json] = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]


class KubernetesLogin:
    """One mount with one role, which no ServiceAccount is bound to yet."""

    def __init__(self, cluster: ControlPlane, bao: OpenBao) -> None:
        self.mount, self._role = bao.fresh("kubernetes"), bao.fresh("role")
        self._bao = bao
        reviewer = cluster.service_account_token(cluster.namespace("vault"), "reviewer", rules=REVIEW, cluster=True)
        bao.request("POST", f"sys/auth/{self.mount}", {"type": "kubernetes"})
        settings: Object = {
            "kubernetes_host": cluster.url,
            "kubernetes_ca_cert": cluster.ca_file.read_text(),
            "token_reviewer_jwt": reviewer,
        }
        bao.request("POST", f"auth/{self.mount}/config", settings)

    def allow(self, path: str, *, account: str, namespace: str) -> None:
        """Bind the role to a ServiceAccount, which then may read this path."""
        self._bao.policy(self._role, path)
        role: Object = {
            "bound_service_account_names": [account],
            "bound_service_account_namespaces": [namespace],
            "token_policies": [self._role],
            "token_ttl": "1h",
        }
        self._bao.request("POST", f"auth/{self.mount}/role/{self._role}", role)

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            "-vault.auth-method=kubernetes",
            f"-vault.kubernetes-path={self.mount}",
            f"-vault.kubernetes-role={self._role}",
        )
