"""A real Kubernetes control plane without nodes: etcd, kube-apiserver, and the controllers that clean up.

It starts in a few seconds, keeps its data in memory where the machine has a place for that, and is thrown away at the
end. RBAC is on. The garbage collector learns of new kinds only every 30 s, so `install` restarts it.
"""

import base64
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from fake_kubernetes.documents import Json, Object, at, items, parse, text
from tests.real.kube_api import KubeApi, over_http, wait_until
from tests.real.program import Program, free_port

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager")
READY_WITHIN = 60.0
CONTROLLERS = "clusterrole-aggregation,garbagecollector,namespace,serviceaccount,resourcequota"


def assets() -> Path | None:
    """Where the control plane's programs are, or None when one of them is missing."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or Path.home() / ".cache" / "envtest")
    return folder if all((folder / name).exists() for name in BINARIES) else None


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def served_version(crd: Object) -> str:
    version = next(each for each in items(crd, "spec", "versions") if at(each, "served"))
    return f"{text(crd, 'spec', 'group')}/{text(version, 'name')}"


def kubeconfig(file: Path, *, url: str, ca_file: Path | None = None, token: str = "") -> Path:
    """Write a kubeconfig file for one server and one user."""
    cluster: Object = {"server": url}
    if ca_file:
        cluster["certificate-authority"] = str(ca_file)
    user: Object = {"token": token} if token else {}
    document: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    file.write_bytes(msgspec.json.encode(document))
    return file


class ControlPlane(KubeApi):
    """What a test may do with the cluster. `url` and `kubeconfig` are for the program under test."""

    def __init__(
        self, folder: Path, *, url: str, etcd_url: str, token: str, apiserver: Program, controllers: Program
    ) -> None:
        self.url = url
        self.etcd_url = etcd_url
        self.ca_file = folder / "server.crt"
        self.admin_token = token
        self.apiserver = apiserver
        self.controllers = controllers
        self._folder = folder
        self.kubeconfig = self.kubeconfig_for(token, name="admin")
        self._client = self.client_for(token)
        super().__init__(over_http(self._client))

    def __repr__(self) -> str:
        return f"ControlPlane({self.url})"

    def client_for(self, token: str) -> httpx.Client:
        trust = ssl.create_default_context(cafile=self.ca_file)
        return httpx.Client(base_url=self.url, verify=trust, headers=bearer(token), timeout=60)

    def async_client(self, token: str = "") -> httpx.AsyncClient:
        """A plain client for async tests; as the administrator unless another token is given."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        headers = bearer(token or self.admin_token)
        return httpx.AsyncClient(base_url=self.url, verify=trust, headers=headers, timeout=60)

    def kubeconfig_for(self, token: str, *, name: str) -> Path:
        """Write a kubeconfig file that logs in with the token."""
        return kubeconfig(self._folder / f"{name}.kubeconfig", url=self.url, ca_file=self.ca_file, token=token)

    def namespace(self, prefix: str = "test") -> str:
        """Make a namespace of a name not used before."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def install(self, *crds: Object) -> None:
        """Make kinds known to the API server and, if any is new, to the garbage collector."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        before = self.list(path)
        for crd in crds:
            self.apply(crd)
        for crd in crds:
            collection = f"/apis/{served_version(crd)}/{text(crd, 'spec', 'names', 'plural')}"
            wait_until(partial(self.serves, collection))
        if len(self.list(path)) > len(before):
            self.controllers.kill()
            self.start_controllers()

    def serves(self, collection: str) -> bool:
        """Whether a new kind can be listed. For a moment its storage answers 429 instead."""
        try:
            return self.find(collection) is not None
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            return False

    def service_account_token(self, namespace: str, name: str, *, rules: list[Json], cluster: bool = False) -> str:
        """The token of a new ServiceAccount which may do what the rules say: in its namespace, or everywhere."""
        scope: Object = {} if cluster else {"namespace": namespace}
        prefix = "Cluster" if cluster else ""
        unique = f"{namespace}-{name}" if cluster else name
        rbac = "rbac.authorization.k8s.io"
        account: Object = {"namespace": namespace, "name": name}
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        named: Object = {"name": unique}
        role: Object = {"apiVersion": f"{rbac}/v1", "metadata": named | scope}
        self.create({**role, "kind": f"{prefix}Role", "rules": rules})
        reference: Json = {"apiGroup": rbac, "kind": f"{prefix}Role", "name": unique}
        subject: Json = account | {"kind": "ServiceAccount"}
        self.create({**role, "kind": f"{prefix}RoleBinding", "roleRef": reference, "subjects": [subject]})
        return self.token_of(namespace, name)

    def token_of(self, namespace: str, service_account: str) -> str:
        """A token as the kubelet gets it for a pod."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        asked: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        return text(self.request("POST", path, body=asked), "status", "token")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Return what kubectl prints, as the administrator. Raises: KubectlError."""
        return run_kubectl(*arguments, kubeconfig=self.kubeconfig, stdin=stdin)

    def change_stored(self, key: str, change: Callable[[Object], Object]) -> None:
        """Change an object below the API server, which no longer accepts what older versions have stored.

        Args:
            key: Where etcd has it, such as `/registry/services/specs/default/kubernetes`. It must be kept as JSON.
        """
        name = base64.b64encode(key.encode()).decode()
        with httpx.Client(base_url=f"{self.etcd_url}/v3/kv/") as etcd:
            (found,) = items(parse(etcd.post("range", json={"key": name}).raise_for_status().content), "kvs")
            changed = msgspec.json.encode(change(parse(base64.b64decode(text(found, "value")))))
            etcd.post("put", json={"key": name, "value": base64.b64encode(changed).decode()}).raise_for_status()

    def request_counts(self) -> dict[tuple[str, str], int]:
        """How often each (verb, resource) was asked for since the API server started, by any client."""
        counts: dict[tuple[str, str], int] = {}
        for labels, value in self._samples("apiserver_request_total"):
            key = (labels["verb"], labels["resource"])
            counts[key] = counts.get(key, 0) + int(value)
        return counts

    def counted(self, metric: str, **labels: str) -> int:
        """The sum of those of the metric's samples that have these labels."""
        return sum(int(value) for has, value in self._samples(metric) if labels.items() <= has.items())

    def _samples(self, metric: str) -> list[tuple[dict[str, str], float]]:
        lines = self._client.get("/metrics").text.splitlines()  # to parse them all takes seconds
        families = text_string_to_metric_families("".join(f"{line}\n" for line in lines if line.startswith(metric)))
        return [(each.labels, each.value) for family in families for each in family.samples if each.name == metric]

    def start_apiserver(self) -> None:
        self.apiserver.start()
        self.apiserver.wait_until(self._ready, seconds=READY_WITHIN)

    def start_controllers(self) -> None:
        """Start what cleans up. Raises: ProgramFailed when it ends at once."""
        self.controllers.start()
        self.controllers.wait_until(self._controllers_work, seconds=READY_WITHIN)

    def restart(self) -> None:
        """Kills and starts the API server; address, objects and tokens stay. Only for a cluster of one's own."""
        self.apiserver.kill()
        self.start_apiserver()

    def close(self) -> None:
        self._client.close()

    def _controllers_work(self) -> bool:
        return self.find("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _ready(self) -> bool:
        try:
            return self._client.get("/readyz").is_success and self.find("/api/v1/namespaces/default") is not None
        except httpx.HTTPError:
            return False


@contextmanager
def running_cluster(binaries: Path) -> Generator[ControlPlane]:
    """A control plane that is ready, for the length of the block.

    Raises: ProgramFailed with the tail of the log of the program that failed.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="control-plane-", dir=memory if os.access(memory, os.W_OK) else None
    ) as made:
        folder = Path(made)
        token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        make_certificate(folder)
        etcd_port, peer_port, port = free_port(), free_port(), free_port()
        url = f"https://127.0.0.1:{port}"
        etcd = Program(etcd_command(binaries, folder, etcd_port, peer_port), log=folder / "etcd.log")
        apiserver = Program(apiserver_command(binaries, folder, etcd_port, port), log=folder / "kube-apiserver.log")
        controllers = Program(controllers_command(binaries, folder), log=folder / "kube-controller-manager.log")
        with etcd, apiserver, controllers:
            cluster = ControlPlane(
                folder,
                url=url,
                etcd_url=f"http://127.0.0.1:{etcd_port}",
                token=token,
                apiserver=apiserver,
                controllers=controllers,
            )
            try:
                etcd.start()
                cluster.start_apiserver()
                cluster.start_controllers()
                yield cluster
            finally:
                cluster.close()


def make_certificate(folder: Path) -> None:
    """One key for the server and for the tokens of service accounts; the certificate is its own authority."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", folder / "server.key", "-out", folder / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip


def etcd_command(binaries: Path, folder: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(binaries / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=error",
    ]


def apiserver_command(binaries: Path, folder: Path, etcd_port: int, port: int) -> list[str]:
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={folder / 'server.crt'}",
        f"--tls-private-key-file={folder / 'server.key'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        # Stricter than the defaults, as OpenShift is: who names an owner needs rights for that.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'server.key'}",
        f"--service-account-signing-key-file={folder / 'server.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
    ]


def controllers_command(binaries: Path, folder: Path) -> list[str]:
    return [
        str(binaries / "kube-controller-manager"),
        f"--kubeconfig={folder / 'admin.kubeconfig'}",
        f"--controllers={CONTROLLERS}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--concurrent-gc-syncs=5",
        "--controller-start-interval=0s",
    ]


class KubectlError(Exception):
    """What kubectl wrote to stderr before it failed."""


def run_kubectl(*arguments: str, kubeconfig: Path, stdin: str = "") -> str:
    """Return what kubectl prints. Raises: KubectlError."""
    done = subprocess.run(
        [kubectl_program(), *arguments], env=kubectl_environment(kubeconfig), input=stdin,
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise KubectlError(done.stderr)
    return done.stdout


def kubectl_program() -> str:
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    program = shutil.which("kubectl", path=os.pathsep.join(folders))
    assert program, "the development environment brings kubectl"
    return program


def kubectl_environment(kubeconfig: Path) -> dict[str, str]:
    """Keep kubectl's configuration and caches to the test's own folder."""
    kept = {name: os.environ[name] for name in ("PATH", "KUBE_EDITOR", "KUBECTL_APPLYSET") if name in os.environ}
    return kept | {"KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)}
