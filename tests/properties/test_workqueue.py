"""Any sequence of calls, against a model that says in a few lines what the queue promises."""

from collections import Counter
from contextlib import AbstractAsyncContextManager
from random import Random

import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from trio.testing import MockClock, wait_all_tasks_blocked

from secrets_manager.kube.workqueue import Item, Priority, WorkQueue
from secrets_manager.metrics import QueueMetrics

MAX_PASSES = 9

KEYS = st.sampled_from("abcd")
FLOWS = {"a": 1, "b": 1, "c": 2, "d": 2}
SECONDS = st.integers(0, 20)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.sampled_from(Priority)),
        st.tuples(st.just("add_after"), KEYS, SECONDS, st.sampled_from(Priority)),
        st.tuples(st.just("take")),
        st.tuples(st.just("done"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("wait"), SECONDS),
    ),
    max_size=60,
)


class Model:
    """Dirty keys have something to be done for them, at a priority; those in progress are held by one taker each."""

    def __init__(self) -> None:
        self.dirty: dict[str, Priority] = {}
        self.in_progress: list[Item[str]] = []
        self.due: dict[Item[str], float] = {}

    @property
    def ready(self) -> dict[str, Priority]:
        held = {item.key for item in self.in_progress}
        return {key: priority for key, priority in self.dirty.items() if key not in held}

    def add(self, key: str, priority: Priority) -> None:
        self.dirty[key] = min(priority, self.dirty.get(key, priority))

    def take(self, item: Item[str]) -> None:
        assert self.ready.get(item.key) == item.priority, "nothing was to be done for it at that, or it is processed"
        rivals = {FLOWS[key] for key, priority in self.ready.items() if priority == item.priority}
        busy = Counter(FLOWS[held.key] for held in self.in_progress)
        assert busy[FLOWS[item.key]] == min(busy[flow] for flow in rivals), "another flow has fewer in progress"
        del self.dirty[item.key]
        self.in_progress.append(item)

    def advance(self, now: float) -> None:
        for key, priority in [item for item, time in self.due.items() if time <= now]:
            self.add(key, priority)
            del self.due[Item(key, priority)]


class Run:
    """The queue and the model side by side."""

    def __init__(self) -> None:
        self.model = Model()
        metrics = QueueMetrics(CollectorRegistry(), "test")
        self.queue = WorkQueue[str](metrics=metrics, random=Random(0), flow=FLOWS.__getitem__)
        self.held: list[AbstractAsyncContextManager[Item[str]]] = []

    async def play(self, calls: list[tuple[object, ...]]) -> None:
        for call in calls:
            await self.make(call)
            assert len(self.queue) == len(self.model.ready)
            most_urgent = min(self.model.ready.values(), default=None)
            assert [self.queue.has_waiting(each) for each in Priority] == [
                most_urgent is not None and most_urgent <= each for each in Priority
            ]
        await self.finish()

    async def make(self, call: tuple[object, ...]) -> None:
        match call:
            case ("add", str(key), Priority() as priority):
                self.queue.add(key, priority)
                self.model.add(key, priority)
            case ("add_after", str(key), int(seconds), Priority() as priority):
                delay = seconds + 0.5  # no call is made at such a moment, so the order is plain
                self.queue.add_after(key, delay, priority)
                item, time = Item(key, priority), trio.current_time() + delay
                self.model.due[item] = min(self.model.due.get(item, time), time)
            case ("take",) if self.model.ready:
                await self.take()
            case ("done", int(index), bool(well)) if index < len(self.held):
                await self.done(index, well=well)
            case ("wait", int(seconds)):
                await self.wait(seconds)
            case _:
                pass

    async def take(self) -> None:
        taking = self.queue.get()
        self.model.take(await taking.__aenter__())
        self.held.append(taking)

    async def done(self, index: int, *, well: bool) -> None:
        item = self.model.in_progress.pop(index)
        taking = self.held.pop(index)
        if well:
            await taking.__aexit__(None, None, None)
        else:
            error = ValueError("the work failed")
            assert not await taking.__aexit__(ValueError, error, None)
            self.model.add(item.key, item.priority)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)
        await wait_all_tasks_blocked()
        self.model.advance(trio.current_time())

    async def finish(self) -> None:
        """Nothing is lost: what is to be done comes, once each, and then nothing more."""
        while self.held:
            await self.done(0, well=True)
        await self.wait(100)
        while self.model.ready:
            await self.take()
            await self.done(0, well=True)
        assert repr(self.queue) == "<WorkQueue 0 urgent, 0 routine, 0 background, 0 in progress, 0 again, 0 delayed>"


@given(CALLS)
def test_no_key_is_lost_nor_held_twice_and_a_dirty_one_comes_again(calls: list[tuple[object, ...]]) -> None:
    async def main() -> None:
        run = Run()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.queue.run)
            await run.play(calls)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(st.lists(st.tuples(st.integers(), st.sampled_from(Priority)), max_size=300))
def test_each_priority_keeps_its_order_and_gets_its_share(adds: list[tuple[int, Priority]]) -> None:
    async def main() -> list[int]:
        queue = WorkQueue[int](metrics=QueueMetrics(CollectorRegistry(), "test"), random=Random(0))
        for key, priority in adds:
            queue.add(key, priority)
        taken: list[int] = []
        while queue:
            async with queue.get() as (key, _):
                taken.append(key)
        return taken

    priority_of: dict[int, Priority] = {}
    for key, priority in adds:
        priority_of[key] = min(priority, priority_of.get(key, priority))
    taken = trio.run(main)

    assert sorted(taken) == sorted(priority_of)
    for priority in Priority:
        added = list(dict.fromkeys(key for key, given in adds if given is priority and priority_of[key] is priority))
        assert [key for key in taken if priority_of[key] is priority] == added
        longest = MAX_PASSES**priority + (
            1 if priority is Priority.BACKGROUND else 0
        )  # a routine item may come just before it
        for number, place in enumerate(
            (place for place, key in enumerate(taken) if priority_of[key] is priority), start=1
        ):
            assert priority is Priority.URGENT or place < number * (longest + 1)
