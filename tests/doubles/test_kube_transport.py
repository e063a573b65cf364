"""What only the double can be made to do: virtual time, compaction, bookmarks, held-back clean-up."""

import math
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import at, items, mapping, text, with_metadata
from tests.contracts.kube_api import Api, pump, without_bookkeeping
from tests.contracts.widgets import WIDGETS, owned_by, secret, widget
from tests.doubles.kube_transport import AS_OF, KubeTransport, administrator, virtual_time


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(now=virtual_time, crds=[WIDGETS], bookmark_every=3)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(transport=KubeTransport(cluster), base_url="http://double") as client:
        yield Api(client, namespace="default", cluster=cluster)


async def test_timestamps_follow_the_virtual_clock(api: Api, autojump_clock: MockClock) -> None:
    await trio.sleep(3600)
    made = await api.post(api.secrets, secret())
    assert made.text("metadata", "creationTimestamp") == "2026-01-01T01:00:00Z"


async def test_a_silent_watch_runs_into_the_read_timeout(api: Api, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    with pytest.raises(httpx.ReadTimeout):
        await api.client.get(api.secrets, params={"watch": "1"}, timeout=httpx.Timeout(None, read=30))
    assert trio.current_time() - start == 30


async def test_each_event_restarts_the_read_timeout(api: Api, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def write_at_20_seconds() -> None:
        await trio.sleep(20)
        await api.post(api.secrets, secret())

    start = trio.current_time()
    nursery.start_soon(write_at_20_seconds)
    with pytest.raises(httpx.ReadTimeout):
        await api.client.get(api.secrets, params={"watch": "1"}, timeout=httpx.Timeout(None, read=30))
    assert trio.current_time() - start == 50


async def test_a_watch_ends_when_its_own_time_is_up(api: Api, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    params = {"watch": "1", "timeoutSeconds": "300"}
    done = await api.client.get(api.secrets, params=params, timeout=httpx.Timeout(None, read=305))
    assert (done.status_code, done.content, trio.current_time() - start) == (200, b"", 300)


async def test_a_cancelled_reader_leaves_nothing_behind(
    api: Api, cluster: Cluster, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    listening = len(cluster.storage.listeners)
    async with api.client.stream("GET", api.secrets, params={"watch": "1"}, timeout=None) as response:
        send, receive = trio.open_memory_channel[bytes](math.inf)
        with receive:
            nursery.start_soon(pump, response, send)
            await wait_all_tasks_blocked()
            assert len(cluster.storage.listeners) == listening + 1
            nursery.cancel_scope.cancel()
    assert len(cluster.storage.listeners) == listening


async def test_compaction_expires_continue_tokens(api: Api, cluster: Cluster) -> None:
    for name in "ab":
        await api.post(api.secrets, secret(name))
    token = (await api.get(api.secrets, limit=1)).text("metadata", "continue")
    await api.post(api.secrets, secret("c"))
    cluster.compact()
    assert (await api.get(api.secrets, limit=1, **{"continue": token})).outcome == (410, "Expired")


async def test_compaction_expires_watches_from_before(api: Api, cluster: Cluster) -> None:
    start = (await api.get(api.secrets)).version
    await api.post(api.secrets, secret())
    cluster.compact()
    async with api.watch(api.secrets, resourceVersion=start) as events:
        assert events.code == 200
        event = await events.next()
        with pytest.raises(trio.EndOfChannel):
            await events.next()
    assert (event["type"], at(event, "object", "code"), at(event, "object", "reason")) == ("ERROR", 410, "Expired")


async def test_a_watch_that_is_up_to_date_survives_compaction(api: Api, cluster: Cluster) -> None:
    start = (await api.get(api.secrets)).version
    cluster.compact()
    async with api.watch(api.secrets, resourceVersion=start) as events:
        await api.post(api.secrets, secret())
        assert await events.take(1) == [("ADDED", "one")]


async def test_bookmarks_come_after_so_many_revisions_and_when_asked_for(api: Api, cluster: Cluster) -> None:
    start = (await api.get(api.widgets)).version
    async with api.watch(api.widgets, resourceVersion=start, allowWatchBookmarks="true") as events:
        for name in "abc":
            await api.post(api.secrets, secret(name))
        counted = await events.next()
        await api.post(api.secrets, secret("d"))
        cluster.send_bookmarks()
        asked = await events.next()
    assert [counted["type"], asked["type"]] == ["BOOKMARK", "BOOKMARK"]
    assert mapping(counted, "object", "metadata") == {"resourceVersion": str(int(start) + 3)}
    assert text(asked, "object", "metadata", "resourceVersion") == str(int(start) + 4)


async def test_bookmarks_come_each_minute_and_two_seconds_before_the_end(api: Api, autojump_clock: MockClock) -> None:
    params = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "200"}
    began = trio.current_time()
    came: list[float] = []
    async with api.client.stream("GET", api.secrets, params=params, timeout=90) as response:
        async for line in response.aiter_lines():
            came.append(trio.current_time() - began)
            assert "BOOKMARK" in line

    assert came == [60, 120, 180, 198]
    assert trio.current_time() - began == 200


async def test_watches_can_be_ended_by_the_server(api: Api, cluster: Cluster) -> None:
    async with api.watch(api.secrets) as events:
        cluster.end_watches()
        with pytest.raises(trio.EndOfChannel):
            await events.next()


async def test_reads_can_be_answered_from_an_earlier_state(api: Api) -> None:
    old = await api.post(api.secrets, secret(data={"a": ""}))
    await api.patch(f"{api.secrets}/one", {"data": {"b": ""}})
    await api.post(api.secrets, secret("two"))
    extensions = {AS_OF: int(old.version)}
    seen = await api.client.get(f"{api.secrets}/one", extensions=extensions)
    listed = await api.client.get(api.secrets, extensions=extensions)
    assert without_bookkeeping(seen.json()) == old.document
    assert [item["metadata"]["name"] for item in listed.json()["items"]] == ["one"]
    assert listed.json()["metadata"]["resourceVersion"] == old.version


async def test_the_same_client_as_for_a_real_cluster(api: Api, cluster: Cluster) -> None:
    admin = administrator(cluster)
    admin.apply(with_metadata(secret(data={"a": ""}), namespace="default"))
    found = admin.get(f"{api.secrets}/one")
    assert (await api.get(f"{api.secrets}/one")).document == without_bookkeeping(found)
    assert text(items(found, "metadata", "managedFields")[0], "manager") == "administrator"


async def test_garbage_can_be_left_to_lie(api: Api, cluster: Cluster) -> None:
    owner = await api.post(api.widgets, widget())
    await api.post(api.secrets, owned_by(secret(), owner.document))
    cluster.cleans_up = False
    await api.delete(f"{api.widgets}/one")
    assert (await api.get(f"{api.secrets}/one")).code == 200
    cluster.clean_up()
    assert (await api.get(f"{api.secrets}/one")).code == 404


async def test_garbage_is_found_also_when_its_creation_is_not_in_the_history_any_more(
    api: Api, cluster: Cluster
) -> None:
    cluster.cleans_up = False
    owner = await api.post(api.widgets, widget())
    await api.post(api.secrets, owned_by(secret(), owner.document))
    cluster.compact()
    cluster.clean_up()
    await api.delete(f"{api.widgets}/one")
    cluster.clean_up()
    assert (await api.get(f"{api.secrets}/one")).code == 404
