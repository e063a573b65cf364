"""A real OpenBao that limits, is sealed or slow: sync goes on, and no message shows what is of another definition."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_kubernetes.documents import Object
from tests.process.running import Namespace, World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao_stored import StoredOpenBao, running_stored_openbao
from tests.real.tcp_proxy import Road, tcp_proxy

QUICK = "-vault.list-period=200ms"
LONG = 60.0
"""Seconds, for a machine that is busy; a period and what is left of a backoff of 15 s is what it takes."""
DELAY = 3.0
"""Of an answer over a slow road."""
UNAVAILABLE = "BackendUnavailable"


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredOpenBao]:
    with running_stored_openbao(tmp_path_factory.mktemp("openbao")) as bao:
        yield bao


@contextmanager
def limited(bao: StoredOpenBao, per_second: float) -> Generator[None]:
    """All requests to secret/ together, root's too."""
    quota = f"sys/quotas/rate-limit/{bao.fresh()}"
    bao.request("POST", quota, {"rate": per_second, "interval": "1s", "path": "secret/"})
    try:
        yield
    finally:
        bao.request("DELETE", quota)


def in_sync(here: World, count: int) -> list[str]:
    """Definitions of one folder, and the program at rest: its folder is listed."""
    names = [f"app-{number}" for number in range(count)]
    for name in names:
        here.define(name, {"k": here.write(name, k="first") + "#k"})
    here.program.started()
    wait_until_all_hold(here, names, "first")
    if count > 1:
        wait_until(lambda: listings(here) > 0, seconds=LONG)
    return names


def wait_until_all_hold(here: World, names: list[str], value: str) -> None:
    wait_until(lambda: all(here.values(name) == {"k": value} for name in names), seconds=LONG)
    wait_until(lambda: all(here.reason(name) == "Synced" for name in names), seconds=LONG)


def metric(here: World, name: str, label: str = "") -> float:
    """The sum of its samples that have such a label."""
    found = re.findall(rf"^{name}\S*{label}\S* (\S+)$", here.program.answer("/metrics"), re.MULTILINE)
    return sum(map(float, found))


def is_up(here: World) -> bool:
    return metric(here, "secrets_manager_backend_up") == 1.0


def listings(here: World) -> float:
    return metric(here, "secrets_manager_vault_request_duration_seconds_count", 'operation="list",status="200"')


def test_changes_beyond_a_quota_arrive_once_it_is_gone(
    control_plane: ControlPlane, bao: StoredOpenBao, tmp_path: Path
) -> None:
    with world(control_plane, bao, tmp_path, QUICK) as here:
        names = in_sync(here, 30)
        here.program.pause()
        for name in names[:20]:
            here.write(name, k="second")
        with limited(bao, 3):
            here.program.resume()
            wait_until(lambda: not is_up(here), seconds=LONG)
        wait_until_all_hold(here, names[:20], "second")
        here.write(names[25], k="third")
        here.wait_for(names[25], {"k": "third"})


def test_reads_that_are_forced_while_it_is_sealed_stop_no_sync(
    control_plane: ControlPlane, bao: StoredOpenBao, tmp_path: Path
) -> None:
    """All of it between two listings."""
    with world(control_plane, bao, tmp_path, "-vault.list-period=6s") as here:
        names = in_sync(here, 10)
        seen = listings(here)
        wait_until(lambda: listings(here) > seen, seconds=LONG)
        with bao.sealed():
            for name in names[:4]:
                forced: Object = {"metadata": {"annotations": {"secrets-manager.tuenti.io/force-sync": "now"}}}
                here.cluster.patch(here.path_of_definition(name), forced)
            wait_until(lambda: not is_up(here), seconds=LONG)
        for name in names:
            here.write(name, k="second")
        wait_until_all_hold(here, names, "second")


@pytest.mark.parametrize("count", [1, 2])
def test_backend_up_shows_an_outage_of_few_sources(
    count: int, control_plane: ControlPlane, bao: StoredOpenBao, tmp_path: Path
) -> None:
    with world(control_plane, bao, tmp_path) as here:
        in_sync(here, count)
        assert is_up(here)
        with bao.sealed():
            wait_until(lambda: not is_up(here), seconds=LONG)
        wait_until(lambda: is_up(here), seconds=LONG)


def test_no_message_shows_the_paths_of_another_namespace(
    control_plane: ControlPlane, bao: StoredOpenBao, tmp_path: Path
) -> None:
    ours, other = (Namespace(control_plane, control_plane.namespace()) for _ in range(2))
    with world(control_plane, bao, tmp_path, f"-watch-namespaces={ours.namespace},{other.namespace}") as here:
        for number in range(3):
            ours.define(f"own-{number}", {"k": here.write(f"own/{number}", k="first") + "#k"})
            other.define(f"canary-{number}", {"k": here.write(f"canary/{number}", k="first") + "#k"})
        here.program.started()
        for number in range(3):
            ours.wait_for_reason(f"own-{number}", "Synced")
            other.wait_for_reason(f"canary-{number}", "Synced")
        with limited(bao, 0.001):
            wait_until(lambda: {ours.reason(f"own-{number}") for number in range(3)} == {UNAVAILABLE}, seconds=LONG)
            wait_until(lambda: not is_up(here), seconds=LONG)
            messages = [ours.message(f"own-{number}") for number in range(3)]
        assert [message for message in messages if "limits the rate of requests" not in message] == []
        assert [message for message in messages if "canary" in message] == []


def test_many_folders_of_a_slow_one_keep_no_item_of_the_queue_busy(
    control_plane: ControlPlane, bao: StoredOpenBao, tmp_path: Path
) -> None:
    port = int(bao.url.rpartition(":")[2])
    with tcp_proxy(port) as proxy, world(control_plane, bao, tmp_path, url=proxy.url) as here:
        for number in range(40):
            paths = {name: here.write(f"team-{number}/{name}", k="first") + "#k" for name in ("a", "b")}
            here.define(f"app-{number}", paths)
        here.program.started()
        wait_until(lambda: here.reason("app-39") == "Synced", seconds=LONG)
        proxy.road = Road.SLOW
        quick, ages = listings(here), [0.0]

        def has_listed_many_slowly() -> bool:
            assert here.program.answer("/healthz") == "ok\n"
            ages.append(metric(here, "workqueue_longest_running_processor_seconds"))
            return listings(here) >= quick + 20

        wait_until(has_listed_many_slowly, seconds=2 * LONG)
        assert max(ages) < 3 * DELAY


def test_series_of_failed_reads_end_with_their_definitions(
    control_plane: ControlPlane, bao: StoredOpenBao, tmp_path: Path
) -> None:
    with world(control_plane, bao, tmp_path) as here:
        here.program.started()
        for number in range(5):
            here.define(f"wrong-{number}", {"k": f"{here.home}/missing-{number}#k"})
            here.wait_for_reason(f"wrong-{number}", "SourceNotFound")
        wait_until(lambda: here.program.answer("/metrics").count("/missing-") >= 5)
        for number in range(5):
            here.cluster.delete(here.path_of_definition(f"wrong-{number}"))
        wait_until(lambda: "/missing-" not in here.program.answer("/metrics"), seconds=LONG)
