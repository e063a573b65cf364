"""What deploy/ makes of a cluster: replicas that replace each other, roles for users, and an end that loses nothing."""

from pathlib import Path

import httpx
import pytest

from fake_kubernetes.documents import Object, items, text
from tests.deploy.features import MakesSecrets
from tests.deploy.installation import HOME, SHOP, Installation, Replica
from tests.deploy.test_manifests import PROBES
from tests.real.cluster import KubectlError
from tests.real.kube_api import wait_until
from tests.real.kubernetes_login import KubernetesLogin

READY = 20.0


def ready(replica: Replica) -> bool:
    return replica.answer("/readyz").startswith("ok")


def test_all_replicas_are_ready_one_leads_and_another_takes_over_at_once(
    namespaced: Installation, tmp_path: Path
) -> None:
    first, second = namespaced.replica(tmp_path / "first"), namespaced.replica(tmp_path / "second")
    with first, second:
        first.start()
        first.wait_until(lambda: first.leads and ready(first), seconds=READY)
        second.start()
        second.wait_until(lambda: ready(second), seconds=READY)
        assert not second.leads

        assert first.terminate() == 0

        second.wait_until(lambda: second.leads, seconds=5)  # without a wait for the end of the lease, which takes 15
        feature = MakesSecrets(namespaced)
        feature.act()
        wait_until(feature.seen)
        assert second.terminate() == 0


def test_the_probes_are_answered(namespaced: Installation, tmp_path: Path) -> None:
    deployment = namespaced.cluster.get(f"/apis/apps/v1/namespaces/{HOME}/deployments/secrets-manager")
    (container,) = items(deployment, "spec", "template", "spec", "containers")
    paths = [text(container, probe, "httpGet", "path") for probe in PROBES]
    with namespaced.replica(tmp_path) as replica:
        replica.start()
        replica.wait_until(lambda: ready(replica), seconds=READY)

        codes = [httpx.get(f"http://127.0.0.1:{replica.port}{path}", trust_env=False).status_code for path in paths]

        assert codes == [httpx.codes.OK] * len(PROBES)
        assert replica.terminate() == 0


def test_replica_that_starts_before_its_credentials_are_there_takes_them_without_a_restart(
    namespaced: Installation, tmp_path: Path
) -> None:
    feature = MakesSecrets(namespaced)
    feature.act()
    with namespaced.without_credentials():
        replica = namespaced.replica(tmp_path)
    with replica:
        replica.start()
        wait_until(lambda: namespaced.reason(feature.name) == "BackendUnavailable", seconds=READY)
        assert ready(replica)

        replica.mount(namespaced.pod().mounted)

        wait_until(feature.seen, seconds=READY)
        assert replica.terminate() == 0


def test_it_logs_in_to_vault_as_its_own_service_account(namespaced: Installation, tmp_path: Path) -> None:
    login = KubernetesLogin(namespaced.cluster, namespaced.bao)
    login.allow(f"{namespaced.home}/*", account="secrets-manager", namespace=HOME)
    feature = MakesSecrets(namespaced)
    feature.act()
    with namespaced.without_credentials(), namespaced.replica(tmp_path, *login.flags) as replica:
        replica.start()

        wait_until(feature.seen, seconds=READY)
        assert replica.terminate() == 0


@pytest.mark.parametrize(
    ("role", "may"),
    [("view", {"list"}), ("edit", {"list", "create", "delete"}), ("admin", {"list", "create", "delete"})],
)
def test_the_roles_of_the_cluster_work_with_definitions(namespaced: Installation, role: str, may: set[str]) -> None:
    user = f"{role}er"
    subject: Object = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
    namespaced.cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": SHOP},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        }
    )

    def allowed(verb: str) -> bool:
        asking = (
            "auth",
            "can-i",
            verb,
            "secretdefinitions.secrets-manager.tuenti.io",
            "--namespace",
            SHOP,
            "--as",
            user,
        )
        try:
            return namespaced.cluster.kubectl(*asking) == "yes\n"
        except KubectlError:
            return False  # kubectl says no by its exit code too

    wait_until(lambda: allowed("list"))
    assert {verb for verb in ("list", "create", "delete") if allowed(verb)} == may


def test_deleted_it_leaves_definitions_and_secrets_and_made_again_it_goes_on(
    cluster_wide: Installation, tmp_path: Path
) -> None:
    feature = MakesSecrets(cluster_wide)
    feature.act()
    with cluster_wide.replica(tmp_path / "before") as replica:
        replica.start()
        wait_until(feature.seen)
        replica.terminate()

    cluster_wide.uninstall()

    assert cluster_wide.cluster.find(f"/api/v1/namespaces/{HOME}") is None
    assert feature.seen()
    cluster_wide.install()
    feature.act()
    with cluster_wide.replica(tmp_path / "after") as replica:
        replica.start()
        wait_until(feature.seen)
        replica.terminate()


def test_a_second_apply_changes_nothing(namespaced: Installation) -> None:
    before = namespaced.versions()

    namespaced.apply()

    assert namespaced.versions() == before
    assert {"Deployment", "PodDisruptionBudget", "ConfigMap", "Role"} <= {kind for kind, *_ in before}
