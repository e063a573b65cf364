"""The real program between the real OpenBao and the real control plane, and what a test asks of either side."""

import base64
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from fake_kubernetes.documents import Json, Object, text
from tests.definitions import CRD, condition_of
from tests.real.cluster import ControlPlane
from tests.real.kube_api import Query, wait_until
from tests.real.openbao import OpenBao
from tests.real.program import Program, free_port

API_VERSION = "secrets-manager.tuenti.io/v1alpha1"
PERIOD = "500ms"


class SecretsManager(Program):
    """One process of it."""

    def __init__(self, folder: Path, *, flags: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.output = folder / "secrets-manager.log"
        command = [sys.executable, "-m", "secrets_manager", f"-metrics-addr=127.0.0.1:{self.port}", *flags]
        super().__init__(command, log=self.output, environment={**os.environ, **environment})

    def started(self) -> None:
        self.start()
        self.ready()

    def ready(self) -> None:
        self.wait_until(lambda: self.answer("/readyz").startswith("ok"), seconds=20)

    def answer(self, path: str) -> str:
        """What its HTTP server says; empty while there is none."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=5).text
        except httpx.HTTPError:
            return ""


class Namespace:
    """One namespace of the cluster: what users do there, and what they see."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def define(self, name: str, keys: Mapping[str, str], /, **spec: Json) -> Object:
        """Make a definition. `keys` maps keys of the Secret to path#key."""
        keys_map: Object = {}
        for key, place in keys.items():
            path, _, source_key = place.partition("#")
            keys_map[key] = {"path": path, "key": source_key}
        whole: Object = {"name": name, "keysMap": keys_map}
        return self.define_as_it_is(name, whole | spec)

    def define_as_it_is(self, name: str, spec: Json) -> Object:
        metadata: Object = {"name": name, "namespace": self.namespace}
        return self.cluster.apply(
            {"apiVersion": API_VERSION, "kind": "SecretDefinition", "metadata": metadata, "spec": spec}
        )

    def definition(self, name: str) -> Object:
        return self.cluster.get(self.path_of_definition(name))

    def kubectl(self, *arguments: str) -> str:
        """Return what kubectl prints in this namespace. Raises: KubectlError."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def path_of_definition(self, name: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/secretdefinitions/{name}"

    def path_of_secret(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets" + (f"/{name}" if name else "")

    def secret(self, name: str) -> Object | None:
        return self.cluster.find(self.path_of_secret(name))

    def values(self, name: str) -> dict[str, str] | None:
        """The Secret's data in clear, or None where there is no such Secret."""
        secret = self.secret(name)
        if secret is None:
            return None
        data = secret.get("data") or {}
        assert isinstance(data, dict)
        return {key: base64.b64decode(str(value)).decode() for key, value in data.items()}

    def reason(self, name: str) -> str:
        """The reason of the definition's Ready condition; empty while there is none."""
        return text(condition_of(self.definition(name)), "reason")

    def message(self, name: str) -> str:
        return text(condition_of(self.definition(name)), "message")

    def events(self) -> list[tuple[str, str]]:
        """Reason and object's name of each Event of the namespace."""
        listed = self.cluster.list(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")
        return [(text(each, "reason"), text(each, "regarding", "name")) for each in listed]

    def wait_for(self, name: str, values: Mapping[str, str] | None) -> None:
        """Until the Secret holds just this; None until there is none."""
        wait_until(lambda: self.values(name) == values)

    def wait_for_reason(self, name: str, reason: str) -> None:
        wait_until(lambda: self.reason(name) == reason)

    def version(self, path: str) -> str:
        return text(self.cluster.get(path), "metadata", "resourceVersion")

    def changes_of_secrets(self, *, since: str) -> list[tuple[str, str]]:
        """Type of event and name of each change of a Secret since a resourceVersion."""
        query: Query = {"watch": "1", "resourceVersion": since, "timeoutSeconds": 1}
        lines = self.cluster.lines(self.path_of_secret(), query)
        return [(text(line, "type"), text(line, "object", "metadata", "name")) for line in lines]


class Place(Namespace):
    """One namespace of the cluster and one folder of the store: what users do there, and what they see."""

    def __init__(self, cluster: ControlPlane, bao: OpenBao, *, namespace: str, may_list: bool = True) -> None:
        super().__init__(cluster, namespace)
        self.bao = bao
        self.home = f"secret/data/{bao.fresh()}"
        self.listing = self.home.replace("/data/", "/detailed-metadata/") + "/"
        paths = (f"{self.home}/*", *((f"{self.listing}*",) if may_list else ()))
        self.credentials = bao.reader(*paths, default_policy=False)
        self.vault = {
            "VAULT_ADDR": bao.url,
            "VAULT_ROLE_ID": self.credentials.role_id,
            "VAULT_SECRET_ID": self.credentials.secret_id,
        }

    def write(self, name: str, **values: Json) -> str:
        """Write a secret of the store. Returns its full path."""
        path = f"{self.home}/{name}"
        self.bao.write_kv(path, values)
        return path


class World(Place):
    """A place of its own, and the program that watches it."""

    def __init__(
        self,
        cluster: ControlPlane,
        bao: OpenBao,
        folder: Path,
        *flags: str,
        may_list: bool = True,
        url: str = "",
        kubeconfig: Path | None = None,
    ) -> None:
        super().__init__(cluster, bao, namespace=cluster.namespace(), may_list=may_list)
        login = {"KUBECONFIG": str(kubeconfig or cluster.kubeconfig)}
        self.environment = {**login, **self.vault, "VAULT_ADDR": url or bao.url}
        usual = (f"-watch-namespaces={self.namespace}", f"-reconcile-period={PERIOD}")
        self.program = SecretsManager(folder, flags=(*usual, *flags), environment=self.environment)


@contextmanager
def world(
    cluster: ControlPlane,
    bao: OpenBao,
    folder: Path,
    *flags: str,
    may_list: bool = True,
    url: str = "",
    kubeconfig: Path | None = None,
) -> Generator[World]:
    """A world whose program is not started yet; it is killed in the end.

    `url` is where Vault seems to be, and `kubeconfig` how the program logs in if not as the administrator.
    """
    cluster.install(CRD)
    made = World(cluster, bao, folder, *flags, may_list=may_list, url=url, kubeconfig=kubeconfig)
    with made.program:
        yield made
