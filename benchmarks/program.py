"""The program that is measured, in the set-up that docs/vault.md recommends, and what it has used up to now.

Any command that takes the flags of `secrets-manager` can be measured. By default it gets a kubeconfig; in a pod, which
is a mount namespace here, it finds what a container finds there.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fake_kubernetes.documents import Object
from tests.definitions import CRD
from tests.real.cluster import ControlPlane, assets, running_cluster
from tests.real.kube_api import KubeApi
from tests.real.openbao import OpenBao, running_openbao
from tests.real.pod import entering, secrets_in, variables
from tests.real.program import Program, free_port

API_VERSION = "secrets-manager.tuenti.io/v1alpha1"
KINDS = ("secrets", "secretdefinitions", "events")
"""What the program asks Kubernetes for; leases are left out, since the API server renews one of its own."""
TICKS = os.sysconf("SC_CLK_TCK")


class Setup(NamedTuple):
    """How the program is started."""

    vault_url: str
    readable: tuple[str, ...]
    """Paths that its policy lets it read or list."""
    default_policy: bool
    namespace: str
    """Its own."""
    in_pod: bool
    flags: tuple[str, ...] = ()
    log: Path = Path(os.devnull)


class Measured(Program):
    """One process, with its figures as the kernel and its own /metrics tell them."""

    def __init__(self, command: list[str], setup: Setup, *, cluster: ControlPlane, bao: OpenBao, folder: Path) -> None:
        port = free_port()
        self._metrics = f"http://127.0.0.1:{port}/metrics"
        credentials = bao.reader(*setup.readable, default_policy=setup.default_policy)
        environment = {
            **os.environ,
            **variables(cluster),
            "VAULT_ADDR": setup.vault_url,
            "VAULT_ROLE_ID": credentials.role_id,
            "VAULT_SECRET_ID": credentials.secret_id,
        }
        flags = [f"-metrics-addr=127.0.0.1:{port}", *setup.flags]
        if setup.in_pod:
            files = secrets_in(folder, cluster, token=cluster.admin_token, namespace=setup.namespace)
            command = entering(files, command)
        else:
            flags.append(f"-kubeconfig={cluster.kubeconfig}")
        super().__init__([*command, *flags], log=setup.log, environment=environment)

    @property
    def cpu(self) -> float:
        """Seconds."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    @property
    def resident(self) -> float:
        """MB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    @property
    def descriptors(self) -> list[str]:
        """What each open file descriptor leads to. One may be closed meanwhile."""
        found = []
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(str(each.readlink()))
        return found

    def metrics(self) -> list[Metric]:
        """Raises: httpx.HTTPError."""
        text = httpx.get(self._metrics, trust_env=False, timeout=10).raise_for_status().text
        return list(text_string_to_metric_families(text))


class Usage(NamedTuple):
    """What the program has used since its start, in seconds of CPU and in requests that the servers counted."""

    at: float
    cpu: float
    reads: int
    listings: int
    requests: int
    """To Kubernetes."""

    @classmethod
    def of(cls, program: Measured, cluster: ControlPlane, bao: OpenBao) -> Self:
        return cls(
            at=time.monotonic(),
            cpu=program.cpu,
            reads=bao.counted("read"),
            listings=bao.counted("list"),
            requests=sum(count for (_, kind), count in cluster.request_counts().items() if kind in KINDS),
        )

    def rates_since(self, before: "Usage") -> dict[str, float]:
        span = self.at - before.at
        return {
            "reads/s": (self.reads - before.reads) / span,
            "listings/s": (self.listings - before.listings) / span,
            "Kubernetes requests/s": (self.requests - before.requests) / span,
            "CPU at rest, cores": (self.cpu - before.cpu) / span,
        }


@contextmanager
def running_servers(folder: Path) -> Generator[tuple[ControlPlane, OpenBao]]:
    """Both, with the CRD installed. The servers end with the block."""
    binaries = assets()
    assert binaries, "no control plane: get it by `just envtest`"
    with running_cluster(binaries) as cluster, running_openbao(folder, audited=False) as bao:
        cluster.install(CRD)
        yield cluster, bao


def make_namespace(cluster: KubeApi, name: str) -> None:
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def definition(namespace: str, name: str, spec: Object) -> Object:
    metadata: Object = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "SecretDefinition", "metadata": metadata, "spec": spec}


def show(line: str) -> None:
    print(line, flush=True)
