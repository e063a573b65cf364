import gzip
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from prometheus_client import Counter, Metric
from prometheus_client.openmetrics import parser as openmetrics

from secrets_manager.metrics import ControllerMetrics, KubeMetrics, Registry, register_process_metrics
from secrets_manager.server.message import Header, Request, Response, immediate
from secrets_manager.server.metrics import metrics
from secrets_manager.server.router import Route, Router
from tests.server.serving import serving


def apples() -> Registry:
    registry = Registry()
    Counter("apples", "How many.", registry=registry).inc(3)
    return registry


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "[::1]:0", "localhost:0"])
async def test_metrics_are_served_at_every_form_of_address(address: str) -> None:
    async with serving(Router(metrics(apples())), address) as client:
        response = await client.get("/metrics")

    assert response.status_code == 200
    assert "apples_total 3.0" in response.text.splitlines()


async def test_metrics_come_as_gzip_where_that_is_accepted_and_plain_elsewhere() -> None:
    async with serving(Router(metrics(apples()))) as client:
        packed = await client.get("/metrics", headers={"Accept-Encoding": "gzip"})
        plain = await client.get("/metrics", headers={"Accept-Encoding": "identity"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.text == plain.text


async def test_metrics_come_as_open_metrics_where_prometheus_asks_for_it() -> None:
    asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    async with serving(Router(metrics(whole()))) as client:
        response = await client.get("/metrics", headers={"Accept": asked})

    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    parsed = openmetrics.text_string_to_metric_families(response.text)  # type: ignore[no-untyped-call]  # has no annotations
    families = {family.name: family.type for family in parsed}
    assert families["secrets_manager_controller_sync_errors"] == "counter"
    assert families["secrets_manager_build"] == "info"


async def test_metrics_come_as_text_where_nothing_is_asked_for() -> None:
    async with serving(Router(metrics(whole()))) as client:
        response = await client.get("/metrics", headers={"Accept": "*/*"})

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'secrets_manager_build_info{version="3.0.0"} 1.0' in response.text.splitlines()


def whole() -> Registry:
    """With a sample of each sort of family."""
    registry = Registry()
    register_process_metrics(registry, version="3.0.0")
    KubeMetrics(registry, url="https://kube").request("GET", "200")
    controller = ControllerMetrics(registry)
    controller.secrets.wants(("shop", "db"), "db")
    controller.secrets.synced(("shop", "db"), ok=True)
    controller.reconciled(0.5)
    return registry


class Slow:
    """A collector that renders when it is let."""

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()
        self.scrapes = 0

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        self.scrapes += 1
        return self._families()

    def _families(self) -> Iterator[Metric]:
        self.begun.set()
        assert self.let.wait(60)
        yield from ()


async def test_others_are_served_while_metrics_are_rendered_and_these_are_of_one_moment() -> None:
    registry, slow = Registry(), Slow()
    registry.register(slow)
    apples = Counter("apples", "How many.", registry=registry)
    healthy = Route(immediate(lambda _: Response(200, b"ok")))
    async with serving(Router({**metrics(registry), "/healthz": healthy})) as client, trio.open_nursery() as nursery:
        texts: list[str] = []

        async def scrape() -> None:
            texts.append((await client.get("/metrics")).text)

        nursery.start_soon(scrape)
        assert await trio.to_thread.run_sync(slow.begun.wait, 60)
        assert (await client.get("/healthz")).text == "ok"
        apples.inc()
        nursery.start_soon(scrape)
        slow.let.set()

    assert ["apples_total 0.0" in texts[0], "apples_total 1.0" in texts[1]] == [True, True]


async def test_all_who_come_during_a_rendering_share_the_next_one_in_the_form_that_each_wants() -> None:
    registry, slow = Registry(), Slow()
    registry.register(slow)
    apples = Counter("apples", "How many.", registry=registry)
    handle = metrics(registry)["/metrics"].handle
    early, late, packed = list[Response](), list[Response](), list[Response]()

    async def scrape(to: list[Response], *headers: Header) -> None:
        to.append(await handle(Request("/metrics", headers=headers)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scrape, early)
        assert await trio.to_thread.run_sync(slow.begun.wait, 60)
        apples.inc()
        for number in range(100):
            nursery.start_soon(scrape, late, (b"accept", b"application/openmetrics-text; version=9.%d" % number))
            nursery.start_soon(scrape, packed, (b"accept-encoding", b"gzip"))
        await trio.testing.wait_all_tasks_blocked()
        slow.let.set()

    assert slow.scrapes == 3
    assert b"apples_total 0.0" in early[0].body
    assert [b"apples_total 1.0" in each.body for each in late] == [True] * 100
    assert [b"apples_total 1.0" in gzip.decompress(each.body) for each in packed] == [True] * 100


async def test_scrapes_one_after_the_other_are_each_of_their_time() -> None:
    registry = Registry()
    apples = Counter("apples", "How many.", registry=registry)
    handle = metrics(registry)["/metrics"].handle
    bodies: list[bytes] = []
    for _ in range(2):
        bodies.append((await handle(Request("/metrics"))).body)
        apples.inc()

    assert [b"apples_total 0.0" in bodies[0], b"apples_total 1.0" in bodies[1]] == [True, True]


@pytest.mark.parametrize("version", ["none", "1.x", "", "1..0"])
async def test_form_that_makes_no_sense_is_answered_by_one_that_there_is(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Router(metrics(apples()))) as client:
        response = await client.get("/metrics", headers={"Accept": f"application/openmetrics-text;version={version}"})

    assert response.status_code == 200
    assert "apples_total 3.0" in response.text.splitlines()
    assert caplog.records == []
