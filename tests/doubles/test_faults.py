"""Each fault does to a request what its name says, and nothing to the others."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.cluster import Cluster
from tests.contracts.kube_api import Api
from tests.contracts.widgets import secret
from tests.doubles import faults as fault
from tests.doubles.faults import Call, Faults
from tests.doubles.kube_transport import KubeTransport, virtual_time


@pytest.fixture
def faults() -> Faults:
    return Faults(KubeTransport(Cluster(now=virtual_time)))


@pytest.fixture
async def api(faults: Faults) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(transport=faults, base_url="http://double", timeout=10) as client:
        yield Api(client, namespace="default", cluster=None)


async def names(api: Api, faults: Faults) -> list[str]:
    faults.heal()
    return (await api.get(api.secrets)).names


async def test_all_requests_are_written_down_in_order(api: Api, faults: Faults) -> None:
    faults.at(2, fault.lose_request())
    await api.get(api.secrets)
    with pytest.raises(httpx.ConnectError):
        await api.post(api.secrets, secret())
    assert faults.calls == [Call("GET", api.secrets), Call("POST", api.secrets)]
    assert faults.count(lambda call: call.method == "POST") == 1


async def test_a_body_falls_silent_and_its_reader_has_had_enough_after_its_time(
    api: Api, faults: Faults, autojump_clock: MockClock
) -> None:
    faults.next(fault.silent_after(100), when=fault.is_watch)
    got: list[float] = []
    began = trio.current_time()
    params = {"watch": "1", "allowWatchBookmarks": "true"}
    async with api.client.stream("GET", api.secrets, params=params, timeout=90) as response:
        chunks = response.aiter_raw()
        await anext(chunks)
        got.append(trio.current_time() - began)
        with pytest.raises(httpx.ReadTimeout):
            await anext(chunks)

    assert got == [60]
    assert trio.current_time() - began == 60 + 90


async def test_a_lost_request_never_arrives(api: Api, faults: Faults) -> None:
    faults.at(1, fault.lose_request())
    with pytest.raises(httpx.ConnectError):
        await api.post(api.secrets, secret())
    assert await names(api, faults) == []


async def test_a_lost_reply_belongs_to_a_write_that_happened(api: Api, faults: Faults) -> None:
    faults.next(fault.lose_reply(), when=fault.is_write)
    assert (await api.get(api.secrets)).code == 200
    with pytest.raises(httpx.ReadError):
        await api.post(api.secrets, secret())
    assert await names(api, faults) == ["one"]


@pytest.mark.parametrize(("kill", "left"), [(fault.kill_before, []), (fault.kill_after, ["one"])])
async def test_a_program_can_die_around_any_request(
    api: Api, faults: Faults, kill: fault.Killer, left: list[str]
) -> None:
    with trio.CancelScope() as program:
        faults.at(1, kill(program))
        await api.post(api.secrets, secret())
    assert program.cancelled_caught
    assert await names(api, faults) == left


async def test_a_late_answer(api: Api, faults: Faults, autojump_clock: MockClock) -> None:
    faults.next(fault.late(7))
    start = trio.current_time()
    assert (await api.post(api.secrets, secret())).code == 201
    assert trio.current_time() - start == 7


async def test_an_answer_later_than_the_client_waits_is_a_timeout(
    api: Api, faults: Faults, autojump_clock: MockClock
) -> None:
    faults.next(fault.late(60))
    start = trio.current_time()
    with pytest.raises(httpx.ReadTimeout):
        await api.post(api.secrets, secret())
    assert trio.current_time() - start == 10
    assert await names(api, faults) == ["one"]


async def test_a_delayed_request_arrives_after_the_client_gave_up(
    api: Api, faults: Faults, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    faults.next(fault.delayed(5, nursery=nursery))
    with pytest.raises(httpx.ReadTimeout):
        await api.post(api.secrets, secret())
    assert await names(api, faults) == []
    await trio.sleep(6)
    assert await names(api, faults) == ["one"]


async def test_a_request_that_arrives_twice(api: Api, faults: Faults) -> None:
    faults.next(fault.twice)
    assert (await api.post(api.secrets, secret())).outcome == (409, "AlreadyExists")


async def test_any_status_until_healed(api: Api, faults: Faults) -> None:
    faults.always(fault.answer(503, reason="ServiceUnavailable"), when=fault.on_path(ends="/secrets"))
    refused = [(await api.get(api.secrets)).outcome for _ in range(3)]
    assert refused == [(503, "ServiceUnavailable")] * 3
    assert (await api.get("/api/v1/namespaces")).code == 200
    assert await names(api, faults) == []


async def test_a_body_cut_short(api: Api, faults: Faults) -> None:
    whole = (await api.client.get(api.secrets)).content
    faults.next(fault.cut(17))
    faults.next(fault.cut(5, error=True))
    assert (await api.client.get(api.secrets)).content == whole[:17]
    with pytest.raises(httpx.RemoteProtocolError):
        await api.client.get(api.secrets)


async def test_a_watch_cut_short(api: Api, faults: Faults) -> None:
    await api.post(api.secrets, secret())
    faults.next(fault.cut(17), when=fault.is_watch)
    assert (await api.client.get(api.secrets, params={"watch": "1"})).content == b'{"type":"ADDED","'


async def test_an_earlier_state(api: Api, faults: Faults) -> None:
    start = int((await api.get(api.secrets)).version)
    await api.post(api.secrets, secret())
    faults.next(fault.as_of(start))
    assert (await api.get(api.secrets)).names == []
    assert await names(api, faults) == ["one"]


async def test_rubbish(api: Api, faults: Faults) -> None:
    faults.next(fault.rubbish(b"<html>"))
    assert (await api.client.get(api.secrets)).content == b"<html>"
