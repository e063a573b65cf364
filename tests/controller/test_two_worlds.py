"""Both worlds are in trouble at once, and people go on working: afterwards all is right again, within a bound.

By default each trouble of either side is met by one or two of the other. With TWO_WORLDS=all in the environment each is
met by all, which takes a quarter of an hour.
"""

import os

import pytest
import trio
from trio.testing import MockClock

from tests.controller.component import keys_map, running
from tests.controller.troubles import DURATION, KUBE, VAULT, in_trouble, recovery
from tests.controller.two_worlds import PERIOD, SHOP, TENANT, TwoWorlds, two_worlds
from tests.doubles import faults as fault

QUIET = 65.0
"""Seconds: longer than any backoff, and than the rest that contention asks for."""
SOURCES, DEFINITIONS = 8, 8
"""So many there are at a time, at most."""
ACTIONS = 9
"""What people do meanwhile. Each may lead to the reads of one definition, which has two sources at most."""
PROBES = 8 + DURATION / 7.5
"""Of a store that is down: they are 0.5 s apart at first, and 7.5 s to 15 s later on."""
TRIES = 10
"""To write one Secret or status within that time: the backoff begins with 0.05 s to 0.1 s, and doubles."""


def chosen() -> list[tuple[str, str]]:
    if os.environ.get("TWO_WORLDS") == "all":
        return [(of_vault, of_kube) for of_vault in VAULT for of_kube in KUBE]
    of_vault = list(VAULT)
    return [(of_vault[9 * number % len(of_vault)], of_kube) for number, of_kube in enumerate(KUBE)]


async def go_on_working(worlds: TwoWorlds) -> None:
    """What people do in the meantime. The watches can't go on from where they were, so they have to list again."""
    await trio.sleep(1)
    worlds.rotate("shop/one")
    worlds.rotate("tenant-b/two")
    worlds.edit((SHOP, "shop-0"))
    await trio.sleep(3)
    worlds.scene.cluster.end_watches()
    worlds.define((SHOP, "shop-4"), {"a": "shop/four", "b": "shop/one"})
    worlds.edit((TENANT, "tenant-b-0"))
    worlds.scene.compact()
    await trio.sleep(5)
    worlds.change((SHOP, "shop-3"), {"a": "shop/three", "c": "shop/two"})
    await trio.sleep(5)
    worlds.rotate("shop/two")
    worlds.rotate("tenant-b/one")
    await trio.sleep(5)
    worlds.delete((TENANT, "tenant-b-2"))


def test_all_troubles_are_met() -> None:
    assert {of_vault for of_vault, _ in chosen()} == VAULT.keys()
    assert {of_kube for _, of_kube in chosen()} == KUBE.keys()


@pytest.mark.parametrize(("of_vault", "of_kube"), chosen())
async def test_all_is_right_again_soon_after_both_worlds_were_in_trouble(
    of_vault: str, of_kube: str, autojump_clock: MockClock
) -> None:
    troubles = VAULT[of_vault], (kube := KUBE[of_kube])
    async with two_worlds() as worlds, trio.open_nursery() as nursery:
        asked, written = worlds.asked_of_vault(), worlds.written_to_kubernetes()
        with in_trouble(worlds, nursery, *troubles), trio.move_on_after(DURATION):
            await go_on_working(worlds)
            await trio.sleep_forever()
        assert worlds.asked_of_vault() - asked <= SOURCES * (DURATION / PERIOD + 1) + PROBES + 2 * ACTIONS
        assert worlds.written_to_kubernetes() - written <= (kube.attempts + 1) * DEFINITIONS * TRIES

        await trio.sleep(recovery(*troubles))
        assert worlds.problems() == []
        asked, called = worlds.asked_of_vault(), len(worlds.scene.faults.calls)
        revision = worlds.scene.cluster.storage.revision
        await trio.sleep(QUIET)
        assert worlds.problems() == []
        assert worlds.scene.cluster.storage.revision == revision
        assert len(worlds.scene.faults.calls) == called
        assert worlds.asked_of_vault() - asked <= SOURCES * (QUIET / PERIOD + 1)

        assert worlds.leaks_to_others() == []
        assert worlds.oldest_item <= kube.longest


async def test_folders_that_take_turns_are_all_listed_again_after_both_worlds_were_in_trouble(
    autojump_clock: MockClock,
) -> None:
    folders, names = [f"folder-{number}" for number in range(20)], "abcde"

    async with running() as scene:

        def rotate(word: str) -> None:
            for folder in folders:
                for name in names:
                    scene.write(f"{folder}/{name}", value=f"{word}-{folder}-{name}")

        def is_in_sync(word: str) -> bool:
            wanted = {folder: {name: f"{word}-{folder}-{name}" for name in names} for folder in folders}
            return {folder: scene.values(folder) for folder in folders} == wanted

        rotate("first")
        for folder in folders:
            keys = keys_map(**{name: f"{folder}/{name}#value" for name in names})
            scene.define_as_it_is(folder, {"name": folder, "keysMap": keys})
        await scene.settled()
        assert is_in_sync("first")

        shed = fault.answer(429, reason="TooManyRequests", headers={"Retry-After": "3"})
        with scene.vault.sealed():
            scene.faults.always(shed)
            rotate("second")
            await trio.sleep(DURATION)
        scene.faults.heal()
        await scene.settled()
        assert is_in_sync("second")

        asked = len(scene.vault.requests)
        await trio.sleep(60)
        listings = [request for request in scene.vault.requests[asked:] if "detailed-metadata" in request.path]
        assert len(listings) == 20 * 60 / 2
        rotate("third")
        await trio.sleep(3)
        assert is_in_sync("third")
