"""A process on this machine that finds what a container finds in its pod.

The files of the ServiceAccount and of mounted Secrets stand where Kubernetes mounts them, two variables name the API
server, and the root file system can't be written. All that is in a mount namespace of its own: nothing of it is left on
the machine.
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
mkdir /run/secrets
mount --rbind "$1" /run/secrets
mount -o remount,bind,ro /
shift
exec "$@"
"""
SECRETS = Path("/var/run/secrets")
"""Where a pod finds the files of its ServiceAccount, and of the Secrets that are mounted."""
ACCOUNT = SECRETS / "kubernetes.io" / "serviceaccount"
NO_NAMESPACES = "this user may not make mount namespaces: `unshare --mount --map-root-user` fails"


class Container(Program):
    """A command in a pod whose ServiceAccount has this token and whose namespace is this one.

    `mounted` holds the files of Secrets by their paths, all below `SECRETS`.
    """

    def __init__(
        self,
        command: list[str],
        *,
        cluster: ControlPlane,
        token: str,
        namespace: str,
        folder: Path,
        environment: Mapping[str, str],
        mounted: Mapping[Path, str] | None = None,
    ) -> None:
        if not namespaces_work():
            pytest.skip(NO_NAMESPACES)
        self._files = secrets_in(folder, cluster, token=token, namespace=namespace, mounted=mounted)
        of_the_pod = {"PATH": os.environ["PATH"], **variables(cluster)}
        self.output = folder / "output.log"
        super().__init__(entering(self._files, command), log=self.output, environment=of_the_pod | dict(environment))

    def mount(self, mounted: Mapping[Path, str]) -> None:
        """Put files of Secrets there, as the kubelet does also while the pod runs."""
        write(self._files, mounted)


def secrets_in(
    folder: Path, cluster: ControlPlane, *, token: str, namespace: str, mounted: Mapping[Path, str] | None = None
) -> Path:
    """A folder with what Kubernetes mounts at `SECRETS`."""
    of_the_account = {"token": token, "ca.crt": cluster.ca_file.read_text(), "namespace": namespace}
    made = folder / "secrets"
    write(made, {ACCOUNT / name: text for name, text in of_the_account.items()})
    write(made, mounted or {})
    return made


def write(folder: Path, files: Mapping[Path, str]) -> None:
    """Write what is to stand at `SECRETS`."""
    for path, text in files.items():
        file = folder / path.relative_to(SECRETS)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def variables(cluster: ControlPlane) -> dict[str, str]:
    """Those that name the API server."""
    server = urlsplit(cluster.url)
    return {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}


def entering(files: Path, command: list[str]) -> list[str]:
    """The command, which becomes that of the pod in place of what runs it: its process id stays the same."""
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", ENTER, "enter", str(files), *command]


@cache
def namespaces_work() -> bool:
    return subprocess.run(entering(Path("/"), ["true"]), check=False, capture_output=True).returncode == 0
