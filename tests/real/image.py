"""The image, built from this source on the base that `.ci/base-image` has made, and containers of it.

A container has what a strict cluster gives to one: a user id that no file of the image knows, no capability, and no
place that it can write to.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec
import pytest

from tests.real.cluster import ControlPlane
from tests.real.pod import SECRETS, secrets_in, variables
from tests.real.program import Program

ROOT = Path(__file__).parents[2]
SETTINGS = Path.home() / ".cache" / "base-image"
NO_BASE = "no base for the image in ~/.cache/base-image. Make it, on Debian as root, with: .ci/base-image"
SANDBOX = (
    "--read-only", "--read-only-tmpfs=false", "--ipc=none", "--cap-drop=all", "--security-opt=no-new-privileges",
)  # fmt: skip
USER = "1000680000:0"
"""As OpenShift chooses one."""


class _Config(msgspec.Struct, rename="pascal"):
    labels: dict[str, str] = {}


class _Described(msgspec.Struct, rename="pascal"):
    """What podman tells of an image, as far as it is needed."""

    size: int
    config: _Config


class Image:
    """An image in the storage that tests have for themselves."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    @cached_property
    def described(self) -> _Described:
        (described,) = msgspec.json.decode(podman("image", "inspect", self.tag).stdout, type=tuple[_Described])
        return described

    @property
    def size(self) -> int:
        """Bytes of all layers, not compressed."""
        return self.described.size

    @property
    def labels(self) -> dict[str, str]:
        return self.described.config.labels

    def run(self, *arguments: str, options: Sequence[str] = (), user: str = USER) -> "subprocess.CompletedProcess[str]":
        """Run a container to its end."""
        return podman("run", "--rm", *SANDBOX, f"--user={user}", *options, self.tag, *arguments)

    def python(self, code: str) -> str:
        """What the image's Python prints, after nothing has failed."""
        done = self.run("-c", code, options=["--entrypoint=python"])
        assert done.returncode == 0, done.stderr
        return done.stdout


class Container(Program):
    """One that runs on, as a pod does whose ServiceAccount has this token."""

    def __init__(
        self,
        image: Image,
        *arguments: str,
        cluster: ControlPlane,
        token: str,
        namespace: str,
        folder: Path,
        environment: dict[str, str],
        mounted: Mapping[Path, str] | None = None,
        user: str = USER,
    ) -> None:
        files = secrets_in(folder, cluster, token=token, namespace=namespace, mounted=mounted)
        self.output = folder / "output.log"
        self._name = f"test-{secrets.token_hex(4)}"
        in_it = [f"--env={name}={value}" for name, value in (environment | variables(cluster)).items()]
        # Its end comes also where the test run dies without a chance to clean up.
        command = ["podman", "run", "--rm", "--timeout=300", f"--name={self._name}", *SANDBOX, f"--user={user}", *in_it]
        command += [f"--volume={files}:{SECRETS}:ro", image.tag, *arguments]
        super().__init__(command, log=self.output, environment=_environment())

    def kill(self) -> None:
        podman("rm", "--force", "--ignore", "--time=0", self._name)
        super().kill()


def base() -> Image:
    """The one that the Dockerfile names. The test that asks for it is skipped where it was not made."""
    (line,) = (line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG PYTHON="))
    tag = line.partition("=")[2]
    if shutil.which("podman") is None or not SETTINGS.exists() or podman("image", "exists", tag).returncode:
        pytest.skip(NO_BASE)
    return Image(tag)


def build(tag: str) -> Image:
    """From the source as it is: what has not changed since `.ci/base-image` is not built again."""
    done = subprocess.run(
        [ROOT / ".ci" / "image", tag], env=_environment(), capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Image(tag)


def podman(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["podman", *arguments]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False, timeout=120)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(SETTINGS / "storage.conf"),
        "CONTAINERS_CONF": str(SETTINGS / "containers.conf"),
        "BUILDAH_ISOLATION": "chroot",
    }
