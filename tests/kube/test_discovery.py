"""What an API server says of itself."""

import pytest

from fake_kubernetes.cluster import Cluster
from secrets_manager.controller.definition import API_VERSION, KIND
from secrets_manager.kube.client import open_client
from secrets_manager.kube.discovery import resources, schema, server_version
from secrets_manager.kube.errors import MalformedResponse, NotFound
from tests.definitions import CRD
from tests.doubles.faults import Faults, rubbish
from tests.doubles.kube_transport import DOUBLE, KubeTransport

TWO_KINDS = b"""{"components": {"schemas": {
    "list": {"x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "ThingList"}], "a": 1},
    "thing": {"x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Thing"}], "a": 2},
    "meta": {"a": 3}
}}}"""


@pytest.fixture
def server() -> Faults:
    return Faults(KubeTransport(Cluster(crds=(CRD,))))


async def test_version_and_resources_are_discovered(server: Faults) -> None:
    async with open_client(DOUBLE, transport=server) as client:
        assert await server_version(client) == ("v1.34.0", "")
        assert await resources(client, API_VERSION) == {"secretdefinitions", "secretdefinitions/status"}
        with pytest.raises(NotFound):
            await resources(client, "nothing.example/v1")


async def test_the_schema_is_that_of_the_kind(server: Faults) -> None:
    server.always(rubbish(TWO_KINDS))

    async with open_client(DOUBLE, transport=server) as client:
        found = await schema(client, "g/v1", "Thing", dict[str, object])
        none = await schema(client, "g/v1", "Other", dict[str, object])

    assert found is not None
    assert (found["a"], none) == (2, None)


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b"\xff"])
async def test_another_response_is_malformed(server: Faults, body: bytes) -> None:
    server.always(rubbish(body))

    async with open_client(DOUBLE, transport=server) as client:
        for asked in (
            server_version(client),
            resources(client, "g/v1"),
            schema(client, "g/v1", KIND, dict[str, object]),
        ):
            with pytest.raises(MalformedResponse):
                await asked
