"""The Kubernetes API for contract tests, twice: the double, and the real server where there is one."""

from collections.abc import AsyncIterator

import httpx
import pytest

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Object
from fake_kubernetes.requests import Request
from tests.contracts.kube_api import Api
from tests.contracts.vault import Vault
from tests.contracts.widgets import METERS, OLD_WIDGETS, WIDGETS
from tests.doubles.kube_transport import KubeTransport
from tests.doubles.vault import VaultState
from tests.real.cluster import ControlPlane


@pytest.fixture
def double() -> Cluster:
    """The double with the tests' kinds and a namespace `test`."""
    cluster = Cluster(crds=[WIDGETS, METERS, OLD_WIDGETS])
    cluster.handle(Request("POST", "/api/v1/namespaces", body=b'{"metadata": {"name": "test"}}'))
    return cluster


@pytest.fixture(scope="session")
def real(control_plane: ControlPlane) -> ControlPlane:
    """The real API with the tests' kinds."""
    crds: list[Object] = [WIDGETS, METERS, OLD_WIDGETS]
    control_plane.install(*crds)
    return control_plane


@pytest.fixture(params=["double", pytest.param("real", marks=pytest.mark.real)])
def chosen(request: pytest.FixtureRequest) -> Cluster | ControlPlane:
    """One of both; the real one is not started for the double's sake."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Cluster | ControlPlane)
    return found


@pytest.fixture
async def api(chosen: Cluster | ControlPlane) -> AsyncIterator[Api]:
    if isinstance(chosen, Cluster):
        async with httpx.AsyncClient(transport=KubeTransport(chosen), base_url="http://double") as client:
            yield Api(client, namespace="test", cluster=chosen)
    else:
        async with chosen.async_client() as client:
            yield Api(client, namespace=chosen.namespace("contract"), cluster=None)


@pytest.fixture(params=["double", pytest.param("openbao", marks=pytest.mark.real)])
def vault(request: pytest.FixtureRequest) -> Vault:
    """One of both; the real one is not started for the double's sake."""
    if request.param == "double":
        return VaultState()
    real: Vault = request.getfixturevalue("openbao")
    return real
