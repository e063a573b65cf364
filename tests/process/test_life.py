"""The life of the process: it is quiet at rest, stops in order, and publishes no secret."""

import re
import socket
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from fake_kubernetes.documents import Object
from tests.process.running import World, world
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.full_pipe import full_pipe
from tests.real.kube_api import wait_until
from tests.real.network import Passed, network
from tests.real.openbao import OpenBao

CANARY = "canary-8f1e77"
DEFINITIONS = 20
PERIODS = 6
PERIOD_SECONDS = 0.5


def test_at_rest_without_the_right_to_list_it_asks_vault_once_a_period_for_each_path_and_kubernetes_for_nothing(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with overheard_world(control_plane, openbao, tmp_path, may_list=False) as (here, passed):
        for number in range(DEFINITIONS):
            here.define(f"app-{number}", {"k": here.write(f"app-{number}", k="value") + "#k"})
        shared = here.write("shared", k="value")
        here.define("one", {"k": f"{shared}#k"})
        here.define("other", {"k": f"{shared}#k", "again": f"{shared}#k"})
        here.program.started()
        for name in ("one", "other", *(f"app-{number}" for number in range(DEFINITIONS))):
            here.wait_for_reason(name, "Synced")
        wait_until(lambda: len(here.events()) == DEFINITIONS + 2)

        requests = settled(passed)
        since, began = len(openbao.reads()), time.monotonic()
        time.sleep(PERIODS * PERIOD_SECONDS)
        read, took = Counter(openbao.reads()[since:]), time.monotonic() - began

        assert passed[requests:] == []
        assert read.keys() == {shared, *(f"{here.home}/app-{number}" for number in range(DEFINITIONS))}
        assert min(read.values()) >= PERIODS
        assert max(read.values()) <= took / PERIOD_SECONDS + 1


def test_at_rest_one_listing_of_a_folder_takes_the_place_of_its_reads(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    quick = "-vault.list-period=200ms"
    with overheard_world(control_plane, openbao, tmp_path, quick) as (here, passed):
        for number in range(DEFINITIONS):
            here.define(f"app-{number}", {"k": here.write(f"app-{number}", k="value") + "#k"})
        here.program.started()
        for number in range(DEFINITIONS):
            here.wait_for_reason(f"app-{number}", "Synced")
        wait_until(lambda: len(here.events()) == DEFINITIONS)
        wait_until(lambda: openbao.count("LIST", here.listing) > 0)
        requests = settled(passed)  # and the reads that were due before have been made
        since, listed = len(openbao.reads()), listings(here)
        wait_until(lambda: listings(here) >= listed + PERIODS)

        assert passed[requests:] == []
        assert openbao.reads()[since:] == []

        here.write("app-7", k="changed")
        here.wait_for("app-7", {"k": "changed"})
        assert openbao.reads()[since:] == [f"{here.home}/app-7"]


def listings(here: World) -> int:
    return here.bao.count("LIST", here.listing)


@contextmanager
def overheard_world(
    cluster: ControlPlane, bao: OpenBao, folder: Path, *flags: str, may_list: bool = True
) -> Generator[tuple[World, list[Passed]]]:
    """A world, and the requests that its program makes to Kubernetes."""
    passed: list[Passed] = []
    with network(cluster, "us", see=passed.append) as links:
        login = kubeconfig(folder / "kubeconfig", url=links["us"].url, token=cluster.admin_token)
        with world(cluster, bao, folder, *flags, may_list=may_list, kubeconfig=login) as here:
            yield here, passed


def settled(passed: list[Passed]) -> int:
    """How many there are once none has come for a period."""
    counts = [len(passed)]

    def stands_still() -> bool:
        time.sleep(PERIOD_SECONDS)
        counts.append(len(passed))
        return counts[-1] == counts[-2]

    wait_until(stands_still)
    return counts[-1]


def test_sigterm_ends_it_workers_first(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        here.define("app", {"k": here.write("app", k="value") + "#k"})
        here.program.started()
        here.wait_for("app", {"k": "value"})

        assert here.program.terminate() == 0
        messages = re.findall(r'"msg": ?"([^"]*)"', here.program.output.read_text())
        assert messages[-3:] == ["stopping", "workers stopped", "server stopped"]


def test_metrics_show_the_version_the_leader_and_the_requests_to_kubernetes(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    def shows(metric: str) -> bool:
        return f"\n{metric}" in here.program.answer("/metrics")

    host = urlsplit(control_plane.url).netloc
    with world(control_plane, openbao, tmp_path, "-enable-leader-election") as here:
        here.define("app", {"k": here.write("app", k="value") + "#k"})
        here.program.started()
        here.wait_for_reason("app", "Synced")

        assert shows(f'secrets_manager_build_info{{version="{version("secrets-manager")}"}} 1.0')
        assert shows('leader_election_master_status{name="5ac9a181.secrets-manager.tuenti.io"} 1.0')
        assert shows(f'rest_client_requests_total{{code="201",host="{host}",method="POST"}}')
        assert shows("process_open_fds")


def test_an_unread_log_stops_nothing_and_is_whole_when_it_is_read(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here, full_pipe(here.program.output) as log:
        here.define("app", {"k": here.write("app", k="value") + "#k"})
        here.program.start()
        here.wait_for("app", {"k": "value"})
        here.wait_for_reason("app", "Synced")
        assert here.program.answer("/healthz") == "ok\n"
        assert here.program.answer("/readyz") == "ok\n"

        wait_until(lambda: '"in sync"' in log.read())
        messages = re.findall(r'"msg": ?"([^"]*)"', log.read())
        assert messages == ["logged in to Vault", "Secret written", "in sync"]

        log.fill()
        here.write("app", k="changed")
        here.wait_for("app", {"k": "changed"})
        assert here.program.terminate() == 0


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with world(control_plane, openbao, tmp_path, f"-metrics-addr={address}") as here:
            here.program.start()

            assert here.program.ended() == 1
            assert here.program.output.read_text() == (
                f"secrets-manager: metrics-addr {address}: "
                "the port is in use: stop the other process, or choose another port\n"
            )


def test_no_output_contains_a_value_a_token_or_a_secret_id(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path, "-enable-debug-log") as here:
        good = here.write("good", k=CANARY, number=8177001)
        bad = here.write("bad", k=f"{CANARY}!", none=None)
        here.define("good", {"k": f"{good}#k"}, type="Opaque")
        here.define_as_it_is("bad", {"name": "bad", "keysMap": {"k": {"path": bad, "key": "k", "encoding": "base64"}}})
        here.define("null", {"k": f"{bad}#none", "more": f"{bad}#k"})
        here.define("docker", {".dockerconfigjson": f"{good}#k"}, type="kubernetes.io/dockerconfigjson")
        here.program.started()
        here.wait_for("good", {"k": CANARY})
        here.wait_for_reason("bad", "SourceInvalid")
        here.wait_for_reason("null", "SourceInvalid")
        here.wait_for_reason("docker", "SecretRejected")
        here.cluster.patch(here.path_of_secret("good"), {"data": {"k": "ZWRpdGVk"}})
        here.wait_for("good", {"k": CANARY})
        wait_until(lambda: ("SecretReverted", "good") in here.events())

        published = [
            here.program.answer("/metrics"),
            here.program.answer("/readyz"),
            here.program.answer("/healthz"),
            *(str(document) for document in everything_but_secrets(here)),
        ]
        here.program.terminate()
        published.append(here.program.output.read_text())

        for canary in (CANARY, "8177001", here.credentials.secret_id, here.credentials.role_id):
            assert [text for text in published if canary in text] == []
        token = re.compile(r"\b(s|b|hvs|hvb)\.[A-Za-z0-9_-]{20,}")
        assert [found[0] for text in published if (found := token.search(text))] == []


def everything_but_secrets(here: World) -> list[Object]:
    return [
        *here.cluster.list(here.path_of_definition("").rstrip("/")),
        *here.cluster.list(f"/apis/events.k8s.io/v1/namespaces/{here.namespace}/events"),
    ]
