import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics import parser as openmetrics

from secrets_manager.errors import StartError
from secrets_manager.metrics import ControllerMetrics, KubeMetrics, register_process_metrics
from secrets_manager.server import Response, listen, respond, serve


class Patient:
    """A process in the state that the test wants."""

    def __init__(
        self, *, failures: tuple[str, ...] = (), unsynced: tuple[str, ...] = (), unwatched: tuple[str, ...] = ()
    ) -> None:
        self.failures = list(failures)
        self.unsynced = list(unsynced)
        self.unwatched = list(unwatched)


WELL = Patient()


def test_probes_say_ok_while_all_is_well() -> None:
    assert respond("/healthz", WELL, WELL) == Response(200, b"ok\n")
    assert respond("/readyz", WELL, WELL) == Response(200, b"ok\n")


def test_what_only_a_restart_helps_is_unhealthy_but_no_reason_to_leave_the_service() -> None:
    patient = Patient(failures=("the work has ended", "the lease has expired"))

    assert respond("/healthz", patient, patient) == Response(503, b"the work has ended\nthe lease has expired\n")
    assert respond("/readyz", patient, patient) == Response(200, b"ok\n")


def test_every_watch_that_has_no_list_yet_is_named() -> None:
    patient = Patient(unsynced=("the first list of shop is under way", "the first list of web is under way"))

    assert respond("/readyz", patient, patient) == Response(
        503, b"the first list of shop is under way\nthe first list of web is under way\n"
    )
    assert respond("/healthz", patient, patient) == Response(200, b"ok\n")


def test_what_can_not_be_watched_has_its_line_and_is_no_reason_to_be_not_ready() -> None:
    refusal = "can't watch secrets in shop: 403 Forbidden"
    ready, starting = Patient(unwatched=(refusal,)), Patient(unsynced=("no list yet",), unwatched=(refusal,))

    assert respond("/readyz", ready, ready) == Response(200, f"ok\n{refusal}\n".encode())
    assert respond("/readyz", starting, starting) == Response(503, f"no list yet\n{refusal}\n".encode())
    assert respond("/healthz", ready, ready) == Response(200, b"ok\n")


def test_any_other_path_says_what_there_is() -> None:
    assert respond("/", WELL, WELL) == Response(404, b"try /metrics, /healthz or /readyz\n")


@asynccontextmanager
async def serving(registry: CollectorRegistry, address: str = "127.0.0.1:0") -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a server at this address."""
    with listen(address) as listener:
        host, port = listener.getsockname()[:2]
        if host in {"::", "0.0.0.0"}:
            host = "127.0.0.1"
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, listener, registry, WELL, WELL))
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                yield client
            nursery.cancel_scope.cancel()


def apples() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("apples", "How many.", registry=registry).inc(3)
    return registry


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "[::1]:0", "localhost:0"])
async def test_metrics_are_served_at_every_form_of_address(address: str) -> None:
    async with serving(apples(), address) as client:
        response = await client.get("/metrics")

    assert response.status_code == 200
    assert "apples_total 3.0" in response.text.splitlines()


async def test_metrics_come_as_gzip_where_that_is_accepted_and_plain_elsewhere() -> None:
    async with serving(apples()) as client:
        packed = await client.get("/metrics", headers={"Accept-Encoding": "gzip"})
        plain = await client.get("/metrics", headers={"Accept-Encoding": "identity"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.text == plain.text


async def test_metrics_come_as_open_metrics_where_prometheus_asks_for_it() -> None:
    asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    async with serving(whole()) as client:
        response = await client.get("/metrics", headers={"Accept": asked})

    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    parsed = openmetrics.text_string_to_metric_families(response.text)  # type: ignore[no-untyped-call]  # has no annotations
    families = {family.name: family.type for family in parsed}
    assert families["secrets_manager_controller_sync_errors"] == "counter"
    assert families["secrets_manager_build"] == "info"


async def test_metrics_come_as_text_where_nothing_is_asked_for() -> None:
    async with serving(whole()) as client:
        response = await client.get("/metrics", headers={"Accept": "*/*"})

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'secrets_manager_build_info{version="2.0.0"} 1.0' in response.text.splitlines()


def whole() -> CollectorRegistry:
    """With a sample of each sort of family."""
    registry = CollectorRegistry()
    register_process_metrics(registry, version="2.0.0")
    KubeMetrics(registry, url="https://kube").request("GET", "200")
    metrics = ControllerMetrics(registry)
    metrics.secrets.wants(("shop", "db"), "db")
    metrics.secrets.synced(("shop", "db"), ok=True)
    metrics.reconciled(0.5)
    return registry


async def test_a_request_that_makes_no_sense_ends_nothing_else() -> None:
    async with serving(apples()) as client:
        await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=none"})
        response = await client.get("/metrics")

    assert response.status_code == 200


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(StartError) as raised, listen(address):
            pass

    problem = "the port is in use: stop the other process, or choose another port"
    assert str(raised.value) == f"metrics-addr {address}: {problem}"


def test_an_address_of_another_machine_is_one_clear_error() -> None:
    with pytest.raises(StartError) as raised, listen("192.0.2.1:8080"):
        pass

    assert str(raised.value) == "metrics-addr 192.0.2.1:8080: can't listen there: Cannot assign requested address"
