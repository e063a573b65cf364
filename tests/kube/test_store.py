import pytest

from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Change, Store, is_older
from tests.kube.things import Thing, thing

MAX_TOMBSTONES = 1_000

A = ObjectKey("ns", "a")


@pytest.fixture
def store() -> Store[Thing]:
    return Store(indices={"colour": lambda obj: obj.colour.split()})


def test_what_is_applied_is_stored_and_notified_as_a_change(store: Store[Thing]) -> None:
    first, second = thing("a", version=1), thing("a", version=2)

    assert store.apply(first) == Change(None, first)
    assert store.apply(second) == Change(first, second)
    assert store.get(A) == second
    assert (len(store), list(store), repr(store)) == (1, [second], "<Store of 1 objects>")


@pytest.mark.parametrize("version", [9, 10])
def test_an_object_that_is_not_newer_causes_no_notification(store: Store[Thing], version: int) -> None:
    known = thing("a", version=10, colour="red")
    store.apply(known)

    assert store.apply(thing("a", version=version, colour="blue")) is None
    assert store.get(A) == known


def test_the_result_of_a_write_is_stored_where_the_object_was_not_replaced_meanwhile(store: Store[Thing]) -> None:
    older, before, after = (thing("a", version=version) for version in (1, 2, 3))
    store.apply(before)
    store.advance(before, after)
    assert store.get(A) == after

    store.replace([older], namespace="", resource_version="1")  # by a server that lags behind
    store.advance(before, after)
    assert store.get(A) == older
    assert store.apply(before) == Change(older, before), "so that the watch tells what has changed"


def test_versions_are_compared_as_numbers() -> None:
    assert is_older("9", than="10")
    assert not is_older("10", than="9")
    assert not is_older("7", than="7")


def test_versions_that_are_no_numbers_are_only_equal_or_different(store: Store[Thing]) -> None:
    store.apply(thing("a", version="zz"))

    assert store.apply(thing("a", version="zz", colour="blue")) is None
    assert store.apply(thing("a", version="aa")) is not None
    assert store.remove(A, "0x") is not None


def test_a_recreated_object_replaces_the_old_one(store: Store[Thing]) -> None:
    old, new = thing("a", version=1, uid="u1"), thing("a", version=3, uid="u2")
    store.apply(old)

    assert store.apply(new) == Change(old, new)


def test_a_removal_is_reported_once(store: Store[Thing]) -> None:
    known = thing("a", version=1)
    store.apply(known)

    assert store.remove(A, "2") == Change(known, None)
    assert store.remove(A, "2") is None
    assert (store.get(A), len(store)) == (None, 0)


def test_an_old_removal_does_not_take_a_recreated_object(store: Store[Thing]) -> None:
    recreated = thing("a", version=3, uid="u2")
    store.apply(recreated)

    assert store.remove(A, "2") is None
    assert store.get(A) == recreated


def test_an_object_that_leaves_the_selection_by_our_own_write_is_removed_by_its_echo(store: Store[Thing]) -> None:
    store.apply(thing("a", version=5))

    assert store.remove(A, "5") is not None


def test_a_late_reply_does_not_bring_back_what_is_gone(store: Store[Thing]) -> None:
    store.apply(thing("a", version=1))
    store.remove(A, "3")

    assert store.apply(thing("a", version=2)) is None
    store.remove(A, "1")  # an even older echo doesn't weaken that
    assert store.apply(thing("a", version=2)) is None
    assert store.apply(thing("a", version=4, uid="u2")) is not None


def test_a_late_reply_does_not_bring_back_what_a_list_no_longer_has(store: Store[Thing]) -> None:
    store.apply(thing("a", version=1))
    store.replace([], namespace="ns", resource_version="9")

    assert store.apply(thing("a", version=8)) is None
    assert store.apply(thing("a", version=10, uid="u2")) is not None


def test_a_late_reply_does_not_bring_back_what_was_gone_before_it_was_ever_known(store: Store[Thing]) -> None:
    store.replace([], namespace="ns", resource_version="9")

    assert store.apply(thing("a", version=8)) is None
    assert store.apply(thing("a", version=8, namespace="elsewhere")) is not None
    store.replace([], namespace="", resource_version="12")
    assert store.apply(thing("a", version=11, namespace="everywhere")) is None


def test_the_memory_of_removals_is_bounded(store: Store[Thing]) -> None:
    for number in range(MAX_TOMBSTONES + 10):
        store.remove(ObjectKey("ns", f"n{number}"), "5")

    assert len(store._tombstones) == MAX_TOMBSTONES
    assert ObjectKey("ns", "n9") not in store._tombstones


def test_a_removal_that_is_reported_again_is_remembered_longest(store: Store[Thing]) -> None:
    first, second = ObjectKey("ns", "first"), ObjectKey("ns", "second")
    for key, version in ((first, "5"), (second, "6"), (first, "7")):
        store.remove(key, version)
    for number in range(MAX_TOMBSTONES - 1):
        store.remove(ObjectKey("ns", f"n{number}"), "8")

    assert first in store._tombstones
    assert second not in store._tombstones


def test_a_removal_is_forgotten_once_the_object_is_there_again(store: Store[Thing]) -> None:
    store.remove(A, "5")
    store.apply(thing("a", version=6))

    assert store._tombstones == {}


def test_a_full_list_shows_what_went_came_and_changed(store: Store[Thing]) -> None:
    goes, stays, changes = thing("a", version=1), thing("b", version=2), thing("c", version=3)
    changed, comes = thing("c", version=5), thing("d", version=6)
    for obj in (goes, stays, changes):
        store.apply(obj)

    found = store.replace([stays, changed, comes], namespace="", resource_version="7")

    assert found == [Change(goes, None), Change(changes, changed), Change(None, comes)]
    assert list(store) == [stays, changed, comes]


def test_a_list_of_one_namespace_speaks_of_that_one_alone(store: Store[Thing]) -> None:
    here, there = thing("a", version=1, namespace="here"), thing("a", version=2, namespace="there")
    store.apply(here)
    store.apply(there)

    assert store.replace([], namespace="here", resource_version="3") == [Change(here, None)]
    assert list(store) == [there]


def test_what_is_to_be_kept_stays_though_it_is_not_in_the_list(store: Store[Thing]) -> None:
    known = thing("a", version=1)
    store.apply(known)

    assert store.replace([], namespace="ns", resource_version="3", keep=[A]) == []
    assert store.get(A) == known


def test_a_list_is_believed_even_if_its_versions_are_older(store: Store[Thing]) -> None:
    """A server restored from a backup counts from an earlier version; so do objects that are made there afterwards."""
    before, restored = thing("a", version=1_000), thing("a", version=400)
    gone = ObjectKey("ns", "gone")
    store.apply(before)
    store.remove(gone, "1000")

    assert store.replace([restored], namespace="ns", resource_version="500") == [Change(before, restored)]
    assert store.apply(thing("gone", version=510)) is not None


def test_an_index_follows_every_change(store: Store[Thing]) -> None:
    store.apply(thing("a", version=1, colour="red green"))
    store.apply(thing("b", version=2, colour="green"))
    assert [obj.key.name for obj in store.by_index("colour", "green")] == ["a", "b"]

    store.apply(thing("a", version=3, colour="blue blue"))
    store.remove(ObjectKey("ns", "b"), "4")

    assert (store.by_index("colour", "red"), store.by_index("colour", "green")) == ([], [])
    assert store.by_index("colour", "blue") == [thing("a", version=3, colour="blue blue")]
    store.replace([], namespace="", resource_version="5")
    assert store._indices["colour"]._keys == {}


def test_an_unknown_index_is_a_mistake_of_the_caller(store: Store[Thing]) -> None:
    with pytest.raises(KeyError):
        store.by_index("size", "big")


def test_the_store_may_change_while_it_is_gone_through(store: Store[Thing]) -> None:
    store.apply(thing("a", version=1))
    store.apply(thing("b", version=2))

    for obj in store:
        store.remove(obj.key, "9")

    assert len(store) == 0
