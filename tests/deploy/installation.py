"""deploy/ in a real cluster, applied by kubectl as the README says, and processes in the place of its pods.

A replica is the container of the Deployment as the API server has it: its arguments, its variables from ConfigMaps
and Secrets, the Secrets that it mounts, and the token of its ServiceAccount. There is no kubelet here, so that is
read by hand.
"""

import base64
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from fake_kubernetes.documents import Json, Object, at, items, mapping, parse, text
from tests.definitions import CRD
from tests.process.running import PERIOD, Place
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao
from tests.real.pod import Container
from tests.real.program import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
HOME = "secrets-manager"
"""The namespace that deploy/ makes."""
APPROLE = "secrets-manager-approle"
"""The Secret there with the credentials for Vault."""
SHOP = "shop"
"""The namespace that deploy/namespaced watches, as an example."""


def stand_in(kind: str) -> Object:
    """A CRD for a kind of the Prometheus Operator, which takes any field; .ci/operator-crds makes the real one."""
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }


OPERATOR_KINDS = (stand_in("PodMonitor"), stand_in("PrometheusRule"))


def answer(port: int, path: str) -> str:
    """What the program's HTTP server says; empty while there is none."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=5).text
    except httpx.HTTPError:
        return ""


class Pod(NamedTuple):
    """What a pod of the Deployment starts with: the token of its ServiceAccount, arguments, variables and files."""

    token: str
    args: list[str]
    environment: dict[str, str]
    mounted: dict[Path, str]


class Replica(Container):
    """One pod's container."""

    def __init__(self, cluster: ControlPlane, folder: Path, pod: Pod, *flags: str) -> None:
        self.port = free_port()
        of_the_test = [f"-metrics-addr=127.0.0.1:{self.port}", f"-reconcile-period={PERIOD}", "-enable-debug-log"]
        of_the_test.append("-rollout-restart-delay=500ms")
        command = [sys.executable, "-m", "secrets_manager", *pod.args, *flags, *of_the_test]
        super().__init__(
            command, cluster=cluster, token=pod.token, namespace=HOME, folder=folder,
            environment=pod.environment, mounted=pod.mounted,
        )  # fmt: skip

    @property
    def log(self) -> str:
        return self.output.read_text()

    @property
    def leads(self) -> bool:
        return '"successfully acquired lease"' in self.log

    def answer(self, path: str) -> str:
        return answer(self.port, path)


class Installation(Place):
    """One of the two ways to deploy, with the few things changed that a user has to change."""

    def __init__(self, cluster: ControlPlane, bao: OpenBao, folder: Path, *, way: str) -> None:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}})
        super().__init__(cluster, bao, namespace=SHOP)
        self._folder = folder
        self._overlay = self._written(way)

    def install(self) -> None:
        """All steps of the README, and the kind that the optional part needs."""
        self.cluster.kubectl("apply", "-f", str(DEPLOY / "crd.yaml"), "-f", str(DEPLOY / "aggregated-roles.yaml"))
        self.cluster.install(CRD, *OPERATOR_KINDS)
        self.apply()
        self.give_credentials()

    def give_credentials(self) -> None:
        """Make the Secret that the user has to make, for AppRole."""
        self.cluster.kubectl(
            "--namespace", HOME, "create", "secret", "generic", APPROLE,
            f"--from-literal=role_id={self.credentials.role_id}",
            f"--from-literal=secret_id={self.credentials.secret_id}",
        )  # fmt: skip

    @contextmanager
    def without_credentials(self) -> Generator[None]:
        self.cluster.kubectl("--namespace", HOME, "delete", "secret", APPROLE)
        try:
            yield
        finally:
            self.give_credentials()

    def apply(self) -> str:
        """What kubectl says, a line for each object."""
        return self.cluster.kubectl("apply", "-k", str(self._overlay))

    def versions(self) -> set[tuple[str, str, str]]:
        """Kind, name and resourceVersion of all that was applied."""
        listed = parse(self.cluster.kubectl("get", "-k", str(self._overlay), "--output", "json").encode())
        return {
            (text(each, "kind"), text(each, "metadata", "name"), text(each, "metadata", "resourceVersion"))
            for each in items(listed, "items")
        }

    def uninstall(self) -> None:
        self.cluster.kubectl("delete", "-k", str(self._overlay))

    def replica(self, folder: Path, *flags: str) -> Replica:
        """Not started yet. The flags follow those of the manifests."""
        return Replica(self.cluster, folder, self.pod(), *flags)

    def pod(self) -> Pod:
        template = at(
            self.cluster.get(f"/apis/apps/v1/namespaces/{HOME}/deployments/secrets-manager"), "spec", "template"
        )
        (container,) = items(template, "spec", "containers")
        return Pod(
            token=self.cluster.token_of(HOME, text(template, "spec", "serviceAccountName")),
            args=[str(each) for each in items(container, "args")],
            environment=self._environment(container),
            mounted=self._mounted(container, at(template, "spec", "volumes")),
        )

    def _environment(self, container: Json) -> dict[str, str]:
        """What the kubelet makes of `envFrom` and `env`."""
        found: dict[str, str] = {}
        for source in items(container, "envFrom"):
            data = mapping(self.cluster.get(self._path("configmaps", text(source, "configMapRef", "name"))), "data")
            found |= {key: str(value) for key, value in data.items()}
        for each in items(container, "env"):
            if key := text(each, "valueFrom", "secretKeyRef", "key"):
                found[text(each, "name")] = self._secret(at(each, "valueFrom", "secretKeyRef"), "name")[key]
            else:
                found[text(each, "name")] = text(each, "value")
        return found

    def _mounted(self, container: Json, volumes: Json) -> dict[Path, str]:
        """What the kubelet makes of volumes of Secrets."""
        sources = {text(each, "name"): at(each, "secret") for each in items(volumes)}
        return {
            Path(text(mount, "mountPath"), key): value
            for mount in items(container, "volumeMounts")
            for key, value in self._secret(sources[text(mount, "name")], "secretName").items()
        }

    def _secret(self, reference: Json, field: str) -> dict[str, str]:
        """The data of the Secret that a pod names in this field."""
        secret = self.cluster.find(self._path("secrets", text(reference, field)))
        assert secret or at(reference, "optional") is True, "the pod would not start"
        return {key: base64.b64decode(str(value)).decode() for key, value in mapping(secret, "data").items()}

    def _path(self, plural: str, name: str) -> str:
        return f"/api/v1/namespaces/{HOME}/{plural}/{name}"

    def _written(self, way: str) -> Path:
        """The user's own kustomization."""
        overlay = self._folder / "overlay"
        overlay.mkdir()
        vault: Object = {
            "name": "secrets-manager",
            "namespace": HOME,
            "behavior": "merge",
            "literals": [f"VAULT_ADDR={self.bao.url}"],
        }
        kustomization: Object = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(DEPLOY / way, overlay)],
            "components": [os.path.relpath(DEPLOY / each, overlay) for each in ("pod-monitor", "rollout-restart")],
            "configMapGenerator": [vault],
        }
        (overlay / "kustomization.yaml").write_bytes(msgspec.json.encode(kustomization))
        return overlay
