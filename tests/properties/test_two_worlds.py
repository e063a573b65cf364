"""Whatever people do, and whatever befalls Vault and Kubernetes meanwhile: once both are well again, all is right.

TWO_WORLDS_EXAMPLES in the environment has more courses tried out.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.controller.troubles import KUBE, KUBE_TIMEOUT, LOGIN, PROBE, QUEUE, VAULT
from tests.controller.two_worlds import BEGINNING, PERIOD, SHOP, TENANT, Name, TwoWorlds, two_worlds

REWRITE_INTERVAL = 60.0

EXAMPLES = int(os.environ.get("TWO_WORLDS_EXAMPLES", "10"))
QUIET = 65.0
"""Seconds: longer than any backoff, and than the rest that contention asks for."""
RECOVERED = 2 * PERIOD + PROBE + LOGIN + QUEUE + KUBE_TIMEOUT + 2 * REWRITE_INTERVAL
"""Seconds within which all is right again. Who edits a Secret again and again has to wait."""
RENEWALS = 2
"""Of the two watches, which end within six minutes."""

PATHS = ("shop/one", "shop/two", "shop/three", "shop/four", "tenant-b/one", "tenant-b/two", "tenant-b/three")
NAMES: tuple[Name, ...] = (*BEGINNING, (SHOP, "shop-4"), (TENANT, "tenant-b-3"))


class Rotate(NamedTuple):
    path: str

    def __call__(self, worlds: TwoWorlds) -> None:
        worlds.rotate(self.path)


class Want(NamedTuple):
    """A definition is made, or changed."""

    name: Name
    numbers: tuple[int, ...]

    def __call__(self, worlds: TwoWorlds) -> None:
        own = [path for path in PATHS if path.startswith(self.name[0])]
        keys = dict(zip("ab", (own[number % len(own)] for number in self.numbers), strict=False))
        if self.name in worlds.wanted:
            worlds.change(self.name, keys)
        else:
            worlds.define(self.name, keys)


class Delete(NamedTuple):
    name: Name

    def __call__(self, worlds: TwoWorlds) -> None:
        if self.name in worlds.wanted:
            worlds.delete(self.name)


class Edit(NamedTuple):
    """A Secret is changed by hand."""

    name: Name

    def __call__(self, worlds: TwoWorlds) -> None:
        worlds.edit(self.name)


class Compact(NamedTuple):
    """All watches end, and can't go on from where they were."""

    def __call__(self, worlds: TwoWorlds) -> None:
        worlds.scene.cluster.end_watches()
        worlds.scene.compact()


class OfVault(NamedTuple):
    trouble: str


class OfKube(NamedTuple):
    trouble: str


class Heal(NamedTuple):
    """Both are well again."""


Action = Callable[[TwoWorlds], None]
Step = Action | OfVault | OfKube | Heal

names = st.sampled_from(NAMES)
ACTIONS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Rotate, st.sampled_from(PATHS)),
    st.builds(Want, names, st.tuples(st.integers(0, 9)) | st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.builds(Delete, names),
    st.builds(Edit, names),
    st.builds(Compact),
)
TROUBLES: st.SearchStrategy[Step] = st.one_of(
    st.builds(OfVault, st.sampled_from(sorted(VAULT))),
    st.builds(OfKube, st.sampled_from(sorted(KUBE))),
    st.builds(Heal),
)
PAUSES = st.sampled_from([0.01, 0.3, 1.0, 4.0, 11.0])
FIRST = st.tuples(st.builds(OfVault, st.sampled_from(sorted(VAULT))), st.builds(OfKube, st.sampled_from(sorted(KUBE))))
COURSES = st.lists(st.tuples(ACTIONS | TROUBLES, PAUSES), min_size=4, max_size=16)


class Course:
    """Takes the steps. Each side has one trouble at a time."""

    def __init__(self, worlds: TwoWorlds, nursery: trio.Nursery) -> None:
        self._worlds = worlds
        self._nursery = nursery
        self._of_vault = ExitStack()

    def take(self, step: Step) -> None:
        match step:
            case OfVault(trouble):
                self._of_vault.close()
                self._of_vault.enter_context(VAULT[trouble].begin(self._worlds)(self._worlds.scene.vault))
            case OfKube(trouble):
                self._worlds.scene.faults.heal()
                kube = KUBE[trouble]
                self._worlds.scene.faults.always(kube.fault(self._worlds, self._nursery), when=kube.kind)
                self._worlds.scene.cluster.end_watches()
            case Heal():
                self.heal()
            case _:
                step(self._worlds)

    def heal(self) -> None:
        self._of_vault.close()
        self._worlds.scene.faults.heal()


@settings(deadline=None, max_examples=EXAMPLES)
@given(FIRST, COURSES, st.integers(0, 2**16))
def test_all_is_right_in_the_end(first: tuple[Step, Step], steps: list[tuple[Step, float]], seed: int) -> None:
    async def main() -> None:
        async with two_worlds(seed=seed) as worlds, trio.open_nursery() as nursery:
            course = Course(worlds, nursery)
            for step in first:
                course.take(step)
            for step, pause in steps:
                course.take(step)
                await trio.sleep(pause)
            course.heal()
            await trio.sleep(RECOVERED)
            assert worlds.problems() == []
            called, revision = len(worlds.scene.faults.calls), worlds.scene.cluster.storage.revision
            asked = worlds.asked_of_vault()
            await trio.sleep(QUIET)
            assert worlds.problems() == []
            assert len(worlds.scene.faults.calls) - called <= RENEWALS
            assert worlds.scene.cluster.storage.revision == revision
            assert worlds.asked_of_vault() - asked <= len(PATHS) * (QUIET / PERIOD + 1)
            assert worlds.leaks_to_others() == []

    trio.run(main, clock=MockClock(autojump_threshold=0))
