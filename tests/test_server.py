import socket
from functools import partial

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter

from secrets_manager.errors import StartError
from secrets_manager.server import Reply, listen, reply_to, serve


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
    registry = CollectorRegistry()

    assert reply_to("/healthz", registry, WELL, WELL) == Reply(200, b"ok\n")
    assert reply_to("/readyz", registry, WELL, WELL) == Reply(200, b"ok\n")


def test_what_only_a_restart_helps_is_unhealthy_but_no_reason_to_leave_the_service() -> None:
    patient = Patient(failures=("the work has ended", "the lease has expired"))

    assert reply_to("/healthz", CollectorRegistry(), patient, patient) == Reply(
        503, b"the work has ended\nthe lease has expired\n"
    )
    assert reply_to("/readyz", CollectorRegistry(), patient, patient) == Reply(200, b"ok\n")


def test_every_watch_that_has_no_list_yet_is_named() -> None:
    patient = Patient(unsynced=("the first list of shop is under way", "the first list of web is under way"))

    assert reply_to("/readyz", CollectorRegistry(), patient, patient) == Reply(
        503, b"the first list of shop is under way\nthe first list of web is under way\n"
    )
    assert reply_to("/healthz", CollectorRegistry(), patient, patient) == Reply(200, b"ok\n")


def test_what_can_not_be_watched_has_its_line_and_is_no_reason_to_be_not_ready() -> None:
    refusal = "can't watch secrets in shop: 403 Forbidden"
    ready, starting = Patient(unwatched=(refusal,)), Patient(unsynced=("no list yet",), unwatched=(refusal,))

    assert reply_to("/readyz", CollectorRegistry(), ready, ready) == Reply(200, f"ok\n{refusal}\n".encode())
    assert reply_to("/readyz", CollectorRegistry(), starting, starting) == Reply(
        503, f"no list yet\n{refusal}\n".encode()
    )
    assert reply_to("/healthz", CollectorRegistry(), ready, ready) == Reply(200, b"ok\n")


def test_any_other_path_says_what_there_is() -> None:
    assert reply_to("/", CollectorRegistry(), WELL, WELL) == Reply(404, b"try /metrics, /healthz or /readyz\n")


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "[::1]:0", "localhost:0"])
async def test_metrics_are_served_at_every_form_of_address(address: str) -> None:
    registry = CollectorRegistry()
    Counter("apples", "How many.", registry=registry).inc(3)
    with listen(address) as listener:
        host, port = listener.getsockname()[:2]
        if host in {"::", "0.0.0.0"}:
            host = "127.0.0.1"
        url = f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, listener, registry, WELL, WELL))
            async with httpx.AsyncClient(trust_env=False) as client:
                reply = await client.get(url)
            nursery.cancel_scope.cancel()

    assert reply.status_code == 200
    assert "apples_total 3.0" in reply.text.splitlines()


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(StartError) as raised, listen(address):
            pass

    assert str(raised.value) == f"metrics-addr {address}: the port is in use: stop what uses it, or choose another port"


def test_an_address_of_another_machine_is_one_clear_error() -> None:
    with pytest.raises(StartError) as raised, listen("192.0.2.1:8080"):
        pass

    assert str(raised.value) == "metrics-addr 192.0.2.1:8080: can't listen there: Cannot assign requested address"
