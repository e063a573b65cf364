"""Fixtures of the real control plane, as a pytest plugin: one cluster for a whole run, a namespace for each test.

Where its programs are not there, tests that ask for it are skipped and the run's last lines say so. With
REQUIRE_CLUSTER=1, as in CI, that is an error instead.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.cluster import ControlPlane, assets, running_cluster

MISSING = "no etcd, kube-apiserver and kube-controller-manager in $KUBEBUILDER_ASSETS or ~/.cache/envtest"
SKIPPED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("REQUIRE_CLUSTER") == "1" and assets() is None:
        raise pytest.UsageError(f"REQUIRE_CLUSTER=1, but {MISSING}. Get them with: just envtest")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(SKIPPED, False):
        terminalreporter.write_sep("=", "cluster tests did not run", yellow=True)
        terminalreporter.write_line(f"{MISSING}. Get them with: just envtest")


def binaries_or_skip(config: pytest.Config) -> Path:
    """Where the control plane's programs are; the test that asks is skipped where they are missing."""
    binaries = assets()
    if binaries is None:
        config.stash[SKIPPED] = True
        pytest.skip(MISSING)
    return binaries


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """The cluster that all tests share: leave the API server running, and keep to your own namespace."""
    with running_cluster(binaries_or_skip(pytestconfig)) as cluster:
        yield cluster


@pytest.fixture
def own_control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A cluster for one test, which may kill, pause and restart its parts."""
    with running_cluster(binaries_or_skip(pytestconfig)) as cluster:
        yield cluster


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A fresh namespace of the shared cluster."""
    return control_plane.namespace()
