"""deploy/chart in a real cluster, installed by Helm, and processes in the place of its pods."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from fake_kubernetes.documents import Json, Object, at, items, parse, text
from tests.deploy.chart import CHART
from tests.deploy.helm import merged, program
from tests.deploy.installation import HOME, SHOP, Installation
from tests.documents import ROOT
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao
from tests.real.shell import run_shell

VALUES: Mapping[str, Object] = {"cluster-wide": {}, "namespaced": {"watchNamespaces": [SHOP]}}
"""What makes the chart deploy in one of the two ways."""


class Release(Installation):
    """One of the two ways to deploy, by Helm."""

    def __init__(self, cluster: ControlPlane, bao: OpenBao, folder: Path, *, way: str) -> None:
        super().__init__(cluster, bao, folder, way=way)
        self._values: Object = {**VALUES[way], "vault": {"address": bao.url}, "rbac": {"rolloutRestart": True}}
        self._file = folder / "values.json"
        programs = program(folder).parent
        environment = {"PATH": str(programs), "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(folder)}
        self._run = partial(run_shell, environment=environment, folder=ROOT)

    def install(self) -> None:
        self.upgrade()
        self.give_credentials()

    def upgrade(self, changes: Object | None = None, *, chart: Path = CHART) -> str:
        """Install, or upgrade to these changes of the values. Returns what Helm says."""
        self._file.write_bytes(msgspec.json.encode(merged(self._values, changes or {})))
        return self._helm("upgrade", f"{chart} --install --create-namespace --values {self._file}")

    def rollback(self, revision: int) -> None:
        self._helm("rollback", str(revision))

    def uninstall(self) -> None:
        self._helm("uninstall")

    def apply(self) -> str:
        return self.upgrade()

    def replicas(self) -> Json:
        path = f"/apis/apps/v1/namespaces/{HOME}/deployments/secrets-manager"
        return at(self.cluster.get(path), "spec", "replicas")

    def columns(self) -> list[str]:
        """What `kubectl get` prints of definitions, as the CRD in the cluster has it."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretdefinitions.secrets-manager.tuenti.io"
        (version,) = items(self.cluster.get(path), "spec", "versions")
        return [text(column, "name") for column in items(version, "additionalPrinterColumns")]

    def left(self, kinds: str) -> list[str]:
        """Names of the objects of these kinds in the namespaces of the test, but for those of Kubernetes and Helm."""
        listed = parse(self.cluster.kubectl("get", kinds, "--all-namespaces", "--output=json").encode())
        objects = [each for each in items(listed, "items") if text(each, "metadata", "namespace") in (HOME, SHOP)]
        names = [text(each, "metadata", "name") for each in objects]
        return [name for name in names if name != "default" and not name.startswith("sh.helm.")]

    def _helm(self, command: str, options: str = "") -> str:
        return self._run(f"helm {command} secrets-manager {options} --namespace {HOME}")
