from random import Random

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.kube.errors import Unreachable
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from tests.kube.scripted import FOREVER, ScriptedClient, Step, event, page
from tests.kube.things import THINGS, Thing, thing

A, B = thing("a", version=1), thing("b", version=2)
UNREADABLE = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "20"}, "colour": 7}

Changes = list[tuple[Thing | None, Thing | None]]


@pytest.fixture
def store() -> Store[Thing]:
    return Store()


def reflector_of(client: ScriptedClient, store: Store[Thing], changes: Changes) -> Reflector[Thing]:
    watcher = Watcher(client, THINGS, random=Random(0), namespace="ns", label_selector="team=a")
    return Reflector(watcher, store=store, on_change=lambda old, new: changes.append((old, new)))


async def test_the_store_follows_the_cluster_and_each_change_is_reported(
    store: Store[Thing], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    changed, changes = thing("a", version=4, colour="blue"), Changes()
    stream = event("MODIFIED", changed) + event("DELETED", thing("b", version=5))
    client = ScriptedClient(lists=[page([A, B], "3")], watches=[[stream, FOREVER]])

    await nursery.start(reflector_of(client, store, changes).run)
    await trio.sleep(1)

    assert changes == [(None, A), (None, B), (A, changed), (B, None)]
    assert list(store) == [changed]


async def test_it_is_started_and_synced_once_the_first_full_list_is_in_the_store(
    store: Store[Thing], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reflector = reflector_of(ScriptedClient(lists=[Unreachable("down"), page([A], "3")]), store, [])
    nursery.start_soon(reflector.run)
    await trio.sleep(0.3)
    assert (reflector.synced.is_set(), reflector.problem) == (False, "can't watch things in ns: down")

    await trio.sleep(1)

    assert (reflector.synced.is_set(), reflector.problem, list(store)) == (True, "", [A])
    assert reflector.namespace == "ns"


async def test_what_has_not_changed_is_not_reported(
    store: Store[Thing], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The echo of our own write, an event twice, and a second list of the same."""
    own, changes = thing("a", version=4, colour="blue"), Changes()
    stream: list[Step] = [1.0, event("MODIFIED", own), event("MODIFIED", own), event("ERROR", {"code": 410})]
    client = ScriptedClient(lists=[page([A], "3"), page([own], "5")], watches=[stream])

    await nursery.start(reflector_of(client, store, changes).run)
    store.apply(own)
    await trio.sleep(2)

    assert client.requests[-1] == ("watch", "5")
    assert changes == [(None, A)]
    assert list(store) == [own]


async def test_an_object_that_can_no_longer_be_decoded_stays_as_it_was(
    store: Store[Thing], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stream: list[Step] = [1.0, event("MODIFIED", UNREADABLE), event("ERROR", {"code": 410})]
    client = ScriptedClient(lists=[page([A], "3"), page([], "21", "", [ObjectKey("ns", "a")])], watches=[stream])

    await nursery.start(reflector_of(client, store, []).run)
    await trio.sleep(2)

    assert client.requests[-1] == ("watch", "21")
    assert list(store) == [A]
