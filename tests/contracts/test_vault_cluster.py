"""A real OpenBao of three nodes; vault.url is a standby. The last test kills the active node."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import trio

from secrets_manager.backends import Source, Unavailable
from secrets_manager.backends.vault.backend import VaultBackend, open_vault
from secrets_manager.config import VaultConfig
from secrets_manager.doctor import clock, connection
from secrets_manager.doctor.finding import State
from tests.backends.vault.recorded import RecordedMetrics
from tests.real.http_proxy import HttpProxy, http_proxy
from tests.real.openbao_cluster import OpenBaoCluster, running_openbao_cluster
from tests.real.openbao_stored import StoredOpenBao

pytestmark = pytest.mark.real

PATH = Source("secret/data/app")
NEW_LEADER_WITHIN = 30.0
"""Seconds."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBaoCluster]:
    with running_openbao_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    with http_proxy() as made:
        monkeypatch.setenv("HTTP_PROXY", f"http://{made.address}")
        yield made


def login(cluster: OpenBaoCluster, *, url: str) -> VaultConfig:
    credentials = cluster.leader.reader(PATH.path)
    return VaultConfig(url=url, role_id=credentials.role_id, secret_id=credentials.secret_id)


async def value(backend: VaultBackend) -> str | None:
    return (await backend.read(PATH)).values["k"]


async def value_in_the_end(backend: VaultBackend) -> str | None:
    """Whatever fails meanwhile must be such that a retry can help."""
    with trio.fail_after(NEW_LEADER_WITHIN):
        while True:
            with suppress(Unavailable):
                return await value(backend)
            await trio.sleep(0.1)


async def test_redirects_of_a_standby_lead_to_the_active_node(cluster: OpenBaoCluster, proxy: HttpProxy) -> None:
    """The standby is asked by a road on which it may not forward what it is asked."""
    proxy.adds = "X-Vault-No-Request-Forwarding: true"
    leader, standby = cluster.leader, cluster.standby
    leader.write_kv(PATH.path, {"k": "v"})
    home = standby.url.replace("127.0.0.1", "standby.test")
    async with open_vault(login(cluster, url=home), RecordedMetrics()) as backend:
        assert [await value(backend) for _ in range(3)] == ["v", "v", "v"]
        assert proxy.asked == [
            f"POST {home}/v1/auth/approle/login",
            f"GET {home}/v1/sys/leader",
        ]

        step_down(leader)

        assert await value_in_the_end(backend) == "v"
        cluster.leader.write_kv(PATH.path, {"k": "of the new leader"})
        assert await value(backend) == "of the new leader"


async def test_doctor_tells_a_standby_from_the_active_node_and_by_how_much_its_clock_differs(
    cluster: OpenBaoCluster,
) -> None:
    def behind() -> datetime:
        return datetime.now(UTC) - timedelta(minutes=10)

    standby = await connection.check(VaultConfig(url=cluster.standby.url), behind, transport=None)
    active = await connection.check(VaultConfig(url=cluster.leader.url), lambda: datetime.now(UTC), transport=None)

    assert [(each.check, each.state) for each in standby.findings] == [
        ("vault-connection", State.OK),
        ("vault-server", State.WARNING),
    ]
    assert "is a standby" in standby.findings[1].message
    assert [each.state for each in active.findings] == [State.OK, State.OK]
    assert standby.value is not None
    assert active.value is not None
    skewed, same = (clock.judge("vault-clock", "Vault", each.skew) for each in (standby.value, active.value))
    assert (skewed.state, same.state) == (State.FAILURE, State.OK)
    assert "s ahead of that of this machine" in skewed.message


async def test_reads_through_a_standby_go_on_when_the_active_node_dies(cluster: OpenBaoCluster) -> None:
    leader, standby = cluster.leader, cluster.standby
    leader.write_kv(PATH.path, {"k": "v"})
    async with open_vault(login(cluster, url=standby.url), RecordedMetrics()) as backend:
        assert await value(backend) == "v"

        leader.program.kill()

        assert await value_in_the_end(backend) == "v"
        assert cluster.leader is not leader
        cluster.leader.write_kv(PATH.path, {"k": "of the new leader"})
        assert await value(backend) == "of the new leader"


def step_down(leader: StoredOpenBao) -> None:
    with suppress(httpx.HTTPError):  # it may be gone before it has answered
        leader.request("PUT", "sys/step-down")
    leader.program.wait_until(lambda: not leader.serves(), seconds=NEW_LEADER_WITHIN)
