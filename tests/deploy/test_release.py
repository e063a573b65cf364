"""The chart on a real API server, by Helm: installed, upgraded, rolled back, uninstalled and installed again."""

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from fake_kubernetes.documents import Json, Object
from tests.deploy.chart import CHART
from tests.deploy.features import MakesSecrets
from tests.deploy.installation import APPROLE, DEPLOY, HOME, OPERATOR_KINDS, answer
from tests.deploy.release import Release
from tests.deploy.test_rights import everything_works
from tests.documents import blocks
from tests.kube.certificates import Authority
from tests.real.cluster import ControlPlane, bearer
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.program import free_port

READY = 20.0
NAMED: Json = [{"name": "own"}]
EVERYTHING: Object = {
    "commonLabels": {"team": "shop"},
    "image": {"repository": "images.example.com/secrets-manager", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": NAMED,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
    "revisionHistoryLimit": 3,
    "vault": {
        "namespace": "team",
        "appRole": {"existingSecret": "own", "source": "environment"},
        "ca": {"existingConfigMap": "own"},
    },
    "excludeNamespaces": ["kube-system"],
    "serviceAccount": {"name": "own", "annotations": {"a": "b"}, "labels": {"a": "b"}},
    "extraArgs": ["--zap-log-level=debug"],
    "extraEnv": [{"name": "NO_PROXY", "value": "*"}],
    "extraVolumes": [{"name": "own", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "own", "mountPath": "/own"}],
    "deploymentAnnotations": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "own", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "system-cluster-critical",
    "livenessProbe": {"periodSeconds": 20},
    "readinessProbe": {"periodSeconds": 5},
    "podDisruptionBudget": {"minAvailable": "50%"},
    "networkPolicy": {"extraEgress": [{"ports": [{"port": 3128, "protocol": "TCP"}]}]},
    "statusPage": {"enabled": False},
    "metrics": {
        "tls": {"enabled": True},
        "auth": {"enabled": True},
        "service": {"annotations": {"a": "b"}},
        "prometheusRule": {"enabled": True, "labels": {"a": "b"}, "annotations": {"a": "b"}},
        "dashboard": {"enabled": True, "annotations": {"a": "b"}},
        "podMonitor": {
            "enabled": True,
            "namespace": "default",
            "labels": {"a": "b"},
            "annotations": {"a": "b"},
            "interval": "30s",
            "scrapeTimeout": "10s",
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "pod"}],
        },
    },
}


def released(cluster: ControlPlane, bao: OpenBao, folder: Path, *, way: str = "cluster-wide") -> Release:
    made = Release(cluster, bao, folder, way=way)
    made.install()
    return made


def synced(here: Release, folder: Path) -> MakesSecrets:
    """A definition whose Secret a replica of the release has made."""
    feature = MakesSecrets(here)
    feature.act()
    with here.replica(folder) as replica:
        replica.start()
        wait_until(feature.seen, seconds=READY)
        assert replica.terminate() == 0
    return feature


@pytest.mark.parametrize("way", ["cluster-wide", "namespaced"])
def test_everything_works_with_the_rights_of_a_release_and_no_others(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path, way: str
) -> None:
    everything_works(released(own_control_plane, openbao, tmp_path, way=way), tmp_path / "replica")


def test_an_upgrade_brings_the_crd_of_its_version_and_a_rollback_that_of_the_former(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    former = Path(shutil.copytree(CHART, tmp_path / "former"))
    crd = former / "files" / "crd.yaml"
    crd.write_text(crd.read_text().replace("- name: Age\n", "- name: Years\n"))
    here = Release(own_control_plane, openbao, tmp_path, way="cluster-wide")
    here.upgrade(chart=former)

    def state() -> tuple[Json, bool, bool]:
        return here.replicas(), "Age" in here.columns(), "Years" in here.columns()

    assert state() == (2, False, True)

    here.upgrade({"replicaCount": 3})
    assert state() == (3, True, False)

    here.rollback(1)
    assert state() == (2, False, True)


def test_uninstalled_it_leaves_definitions_and_secrets_and_installed_again_it_goes_on(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    here = released(own_control_plane, openbao, tmp_path)
    feature = synced(here, tmp_path / "before")

    here.uninstall()

    assert here.left("deployments,serviceaccounts,services,networkpolicies,poddisruptionbudgets,roles") == []
    assert here.left("secretdefinitions,secrets") == [feature.name, APPROLE, feature.name]
    assert feature.seen()
    here.upgrade()
    with here.replica(tmp_path / "after") as replica:
        replica.start()
        feature.act()
        wait_until(feature.seen, seconds=READY)
        assert replica.terminate() == 0


def test_an_upgrade_that_no_longer_brings_the_crd_leaves_it_with_all_definitions(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    here = released(own_control_plane, openbao, tmp_path)
    feature = synced(here, tmp_path / "replica")

    here.upgrade({"crds": {"enabled": False}})

    assert here.left("secretdefinitions,deployments") == [feature.name, "secrets-manager"]
    assert feature.seen()


def test_the_api_server_takes_a_release_with_all_that_can_be_asked_for(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    own_control_plane.install(*OPERATOR_KINDS)
    here = Release(own_control_plane, openbao, tmp_path, way="namespaced")

    notes = here.upgrade(EVERYTHING)

    assert "create secret generic own" in notes
    assert here.left("deployments") == ["secrets-manager"]
    assert "secrets-manager-dashboard" in here.left("configmaps")
    assert own_control_plane.find(f"/apis/monitoring.coreos.com/v1/namespaces/{HOME}/prometheusrules/secrets-manager")
    assert own_control_plane.find("/apis/monitoring.coreos.com/v1/namespaces/default/podmonitors/secrets-manager")


def test_metrics_are_served_by_tls_to_those_whom_the_documents_let_read(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    here = released(own_control_plane, openbao, tmp_path)
    here.upgrade({"metrics": {"tls": {"enabled": True}, "auth": {"enabled": True}}})
    certificate, key = Authority(tmp_path).issue("server", alternative="IP:127.0.0.1")
    files = {"tls.crt": certificate, "tls.key": key, "ca.crt": tmp_path / "authority.crt"}
    named = [f"--from-file={name}={file}" for name, file in files.items()]
    own_control_plane.kubectl("--namespace", HOME, "create", "secret", "generic", "secrets-manager-metrics-tls", *named)
    (reader,) = blocks("docs/security.md#securing-the-endpoint", "yaml")
    own_control_plane.kubectl("apply", "-f", "-", stdin=reader)
    token = own_control_plane.token_of(HOME, "secrets-manager-metrics-reader")
    trust = ssl.create_default_context(cafile=files["ca.crt"])
    probes = free_port()

    with here.replica(tmp_path / "replica", f"-health-probe-addr=127.0.0.1:{probes}") as replica:

        def status(path: str, **headers: str) -> int:
            return httpx.get(
                f"https://127.0.0.1:{replica.port}{path}", headers=headers, verify=trust, trust_env=False
            ).status_code

        replica.start()
        replica.wait_until(lambda: answer(probes, "/readyz").startswith("ok"), seconds=READY)

        assert (status("/metrics"), status("/metrics", **bearer(token))) == (401, 200)
        assert status("/status.json", **bearer(token)) == 403
        assert replica.terminate() == 0


def test_beside_a_crd_that_kubectl_has_applied_a_release_leaves_it_to_kubectl(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    here = Release(own_control_plane, openbao, tmp_path, way="cluster-wide")
    own_control_plane.kubectl("apply", "-f", str(DEPLOY / "crd.yaml"), "-f", str(DEPLOY / "aggregated-roles.yaml"))
    with pytest.raises(subprocess.CalledProcessError):
        here.upgrade()

    here.upgrade({"crds": {"enabled": False}, "rbac": {"aggregateToView": False, "aggregateToEdit": False}})
    here.give_credentials()
    feature = synced(here, tmp_path / "replica")
    here.uninstall()

    assert here.left("secretdefinitions") == [feature.name]


def test_a_misspelt_value_is_refused_before_anything_is_made(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    here = Release(own_control_plane, openbao, tmp_path, way="cluster-wide")

    with pytest.raises(subprocess.CalledProcessError):
        here.upgrade({"replicas": 3})

    assert own_control_plane.find(f"/api/v1/namespaces/{HOME}") is None
