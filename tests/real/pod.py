"""A process on this machine that finds what a container finds in its pod.

The files of the ServiceAccount stand where Kubernetes mounts them, two variables name the API server, and the root
file system can't be written. All that is in a mount namespace of its own: nothing of it is left on the machine.
"""

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.real.cluster import ControlPlane
from tests.real.program import Program

ENTER = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --rbind "$1" /run/secrets/kubernetes.io/serviceaccount
mount -o remount,bind,ro /
shift
exec "$@"
"""
NO_NAMESPACES = "this user may not make mount namespaces: `unshare --mount --map-root-user` fails"


class Container(Program):
    """A command in a pod whose ServiceAccount has this token and whose namespace is this one."""

    def __init__(
        self,
        command: list[str],
        *,
        cluster: ControlPlane,
        token: str,
        namespace: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        if not namespaces_work():
            pytest.skip(NO_NAMESPACES)
        account = account_in(folder, cluster, token=token, namespace=namespace)
        of_the_pod = {"PATH": os.environ["PATH"], **variables(cluster)}
        self.output = folder / "output.log"
        super().__init__(entering(account, command), log=self.output, environment=of_the_pod | dict(environment))


def account_in(folder: Path, cluster: ControlPlane, *, token: str, namespace: str) -> Path:
    """The files that Kubernetes mounts for a ServiceAccount."""
    account = folder / "serviceaccount"
    account.mkdir(parents=True)
    (account / "token").write_text(token)
    (account / "ca.crt").write_bytes(cluster.ca_file.read_bytes())
    (account / "namespace").write_text(namespace)
    return account


def variables(cluster: ControlPlane) -> dict[str, str]:
    """Those that name the API server."""
    server = urlsplit(cluster.url)
    return {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}


def entering(account: Path, command: list[str]) -> list[str]:
    """The command, which becomes that of the pod in place of what runs it: its process id stays the same."""
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", ENTER, "enter", str(account), *command]


@cache
def namespaces_work() -> bool:
    return subprocess.run(entering(Path("/"), ["true"]), check=False, capture_output=True).returncode == 0
