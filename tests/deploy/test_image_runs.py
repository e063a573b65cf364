"""The image itself, built from this source, and what runs in it."""

import re
from pathlib import Path

import pytest

from fake_kubernetes.documents import items, parse, text
from tests.deploy.features import MakesSecrets
from tests.deploy.installation import HOME, Installation, answer
from tests.kube.test_kubeconfig import write
from tests.real import image as images
from tests.real.image import Container, Image
from tests.real.kube_api import wait_until
from tests.real.program import free_port

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
MB = 1_000_000
READY = 20.0
VERSION = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]

WRITABLE = """
import os
no_files = ("/proc", "/dev/mqueue")
folders = [folder for folder, _, _ in os.walk("/") if not folder.startswith(no_files)]
print([folder for folder in folders if os.access(folder, os.W_OK)])
"""
INSTALLED = """
import importlib.metadata
for each in importlib.metadata.distributions():
    print(each.metadata["Name"], each.version)
"""
VAULT = ["--env=VAULT_ADDR=http://127.0.0.1:1", "--env=VAULT_ROLE_ID=r", "--env=VAULT_SECRET_ID=s"]
COMPILED_NOW = re.compile(r"^# code object from (\S+\.py)$", re.MULTILINE)
"""What Python says, with PYTHONVERBOSE set, of a module without bytecode."""


class Running(Container):
    """The container of the Deployment."""

    def __init__(self, image: Image, here: Installation, folder: Path, *, user: str, **environment: str) -> None:
        self.port = free_port()
        pod = here.pod()
        super().__init__(
            image, *pod.args, f"--metrics-addr=127.0.0.1:{self.port}",
            cluster=here.cluster, token=pod.token, namespace=HOME, folder=folder,
            environment=pod.environment | environment, mounted=pod.mounted, user=user,
        )  # fmt: skip

    def started(self) -> None:
        self.start()
        self.wait_until(lambda: answer(self.port, "/readyz").startswith("ok"), seconds=READY)


@pytest.fixture(scope="module")
def base() -> Image:
    return images.base()


@pytest.fixture(scope="module")
def image(base: Image) -> Image:
    return images.build("secrets-manager:test")


@pytest.mark.parametrize("user", [pytest.param("65532:65532", id="its own"), pytest.param(images.USER, id="any")])
def test_it_keeps_secrets_in_sync_in_a_pod_and_ends_when_it_is_asked_to(
    image: Image, namespaced: Installation, tmp_path: Path, user: str
) -> None:
    feature = MakesSecrets(namespaced)
    feature.act()
    with Running(image, namespaced, tmp_path, user=user) as running:
        running.started()

        wait_until(feature.seen, seconds=READY)
        assert running.terminate() == 0


def test_nothing_is_compiled_at_the_start(image: Image, namespaced: Installation, tmp_path: Path) -> None:
    feature = MakesSecrets(namespaced)
    feature.act()
    with Running(image, namespaced, tmp_path, user=images.USER, PYTHONVERBOSE="1") as running:
        running.started()
        wait_until(feature.seen, seconds=READY)
        assert running.terminate() == 0

    output = running.output.read_text()
    assert "/opt/secrets-manager/bytecode/" in output
    assert COMPILED_NOW.findall(output) == []


def test_nothing_is_compiled_when_azure_is_the_backend(image: Image) -> None:
    code = "import secrets_manager.backends.azure.backend"

    done = image.run("-v", "-c", code, options=["--entrypoint=python"])

    assert done.returncode == 0
    assert COMPILED_NOW.findall(done.stderr) == []


def test_the_container_of_these_tests_can_write_nowhere(image: Image) -> None:
    assert image.python(WRITABLE) == "[]\n"


def test_it_says_its_version_which_is_that_of_the_label(image: Image) -> None:
    assert image.run("--version").stdout == f"secrets-manager {VERSION}\n"
    assert image.labels["org.opencontainers.image.version"] == VERSION


def test_the_labels_say_what_it_was_built_of(image: Image, base: Image) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()}

    assert base.tag == labels["base.name"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ|.*\+00:00", labels["created"])


def test_it_weighs_little_more_than_its_base(image: Image, base: Image) -> None:
    """Of 42 MB, cryptography is 12, bytecode 16, and what Liquid brings 4."""
    assert image.size - base.size < 44 * MB


def test_it_has_neither_pip_nor_the_demo_nor_the_package_kubernetes(image: Image) -> None:
    found = "import importlib.util; print([name for name in {} if importlib.util.find_spec(name)])"
    names = ["pip", "setuptools", "kubernetes", "secrets_manager.demo"]

    assert image.python(found.format(names)) == "[]\n"
    assert image.run("demo").returncode == 2


def test_a_kubeconfig_with_an_auth_provider_is_an_error_that_names_what_is_missing(
    image: Image, tmp_path: Path
) -> None:
    plugin: dict[str, object] = {"auth-provider": {"name": "oidc"}}
    file = write(tmp_path / "config", user=plugin)

    done = image.run("--kubeconfig=/config", options=[f"--volume={file}:/config:ro", *VAULT])

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "an auth-provider needs the Python package kubernetes" in line


def test_its_list_of_packages_is_what_is_installed(image: Image) -> None:
    listed = parse((ROOT / "dist" / "secrets-manager.cdx.json").read_bytes())

    packages = {f"{text(each, 'name')} {text(each, 'version')}" for each in items(listed, "components")}

    assert text(listed, "bomFormat") == "CycloneDX"
    assert packages | {f"secrets-manager {VERSION}"} == set(image.python(INSTALLED).splitlines())
