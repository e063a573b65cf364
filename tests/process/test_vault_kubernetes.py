"""The login by a ServiceAccount, as the real OpenBao has the real API server check it."""

from pathlib import Path

import pytest

from fake_kubernetes.documents import Object, text
from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.kubernetes_login import KubernetesLogin
from tests.real.openbao import OpenBao


class Pods:
    """A ServiceAccount of the cluster that is bound to a role in Vault, and the file that kubelet keeps its JWT in."""

    def __init__(self, cluster: ControlPlane, bao: OpenBao, folder: Path) -> None:
        self.file = folder / "token"
        self._cluster, self._bao = cluster, bao
        self._namespace = cluster.namespace("pods")
        self._account: Object = {"namespace": self._namespace, "name": "app"}
        self._login = KubernetesLogin(cluster, bao)
        self.start_anew()

    def allow(self, path: str) -> None:
        self._login.allow(path, account="app", namespace=self._namespace)

    def start_anew(self) -> None:
        """The ServiceAccount is another one of the same name, whose JWTs alone are good."""
        collection = f"/api/v1/namespaces/{self._namespace}/serviceaccounts"
        if self._cluster.find(f"{collection}/app"):
            self._cluster.delete(f"{collection}/app")
        self._cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._account})
        asked: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        self.jwt = text(self._cluster.request("POST", f"{collection}/app/token", body=asked), "status", "token")

    def write_jwt(self) -> None:
        self.file.write_text(self.jwt)

    def revoke_tokens(self) -> None:
        self._bao.request("PUT", f"sys/leases/revoke-prefix/auth/{self._login.mount}/login")

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            *self._login.flags,
            f"-vault.kubernetes-jwt-path={self.file}",
            "-vault.token-polling-period=500ms",
        )


@pytest.fixture
def pods(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Pods:
    return Pods(control_plane, openbao, tmp_path)


def defined(here: World, pods: Pods) -> None:
    pods.allow(f"{here.home}/*")
    here.define("app", {"k": here.write("app", k="first") + "#k"})


def test_it_logs_in_by_its_service_account_and_by_another_jwt_once_the_first_is_no_good(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path, pods: Pods
) -> None:
    with world(control_plane, openbao, tmp_path, *pods.flags) as here:
        defined(here, pods)
        pods.write_jwt()
        here.program.started()
        here.wait_for("app", {"k": "first"})
        first = pods.jwt

        # The API server takes one that it has seen for ten seconds longer, so this one has a signature of its own.
        pods.file.write_text(f"{first.rpartition('.')[0]}.{'A' * 342}")
        pods.start_anew()
        pods.revoke_tokens()
        here.wait_for_reason("app", "BackendUnavailable")
        message = here.message("app")
        pods.write_jwt()
        here.write("app", k="second")
        here.wait_for("app", {"k": "second"})
        here.wait_for_reason("app", "Synced")
        here.program.terminate()

        assert message.startswith(
            "key k: the Kubernetes login was refused: check vault.kubernetes-role and vault.kubernetes-path, "
            "and the ServiceAccounts that the role is bound to"
        )
        published = here.program.output.read_text() + message
        assert [jwt for jwt in (first, pods.jwt) if jwt in published or jwt.rpartition(".")[2] in published] == []


def test_it_starts_before_its_jwt_is_there(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path, pods: Pods
) -> None:
    with world(control_plane, openbao, tmp_path, *pods.flags) as here:
        defined(here, pods)
        here.program.started()
        here.wait_for_reason("app", "BackendUnavailable")

        assert here.message("app") == (
            f"key k: {pods.file} can't be read, is empty or too long, so there is no login: "
            "does the pod mount its token?"
        )

        pods.write_jwt()
        here.wait_for("app", {"k": "first"})
