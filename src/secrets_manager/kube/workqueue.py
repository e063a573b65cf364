"""The queue between what happens and those who work on it; its contract is that of client-go's workqueue.

- Fair: keys come out in the order in which they went in.
- Stingy: a key that is added several times before it is taken is worked on once.
- Many may add, many may take: no key is ever worked on twice at the same time.
- A key that is added while it is worked on comes again afterwards, for it may have changed since it was looked at.

Lanes go beyond that contract: what somebody waits for goes before what is merely due again, and that before what can
wait. Each lane gets its share of the turns all the same, so a busy cluster can't starve one. Keys that come back after
a delay are routine.

Only `take` waits; everything else is synchronous, so that it can be called from anywhere and nothing is half done. The
queue has no bound of its own: no key is in it twice, so the number of objects is the bound.

What is counted, and from when to when, is as in client-go too.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from enum import IntEnum
from random import Random
from typing import Generic, NoReturn, Protocol, TypeVar

import trio

from secrets_manager.backoff import Backoff
from secrets_manager.kube.schedule import Schedule

K = TypeVar("K", bound=Hashable)

RETRY = Backoff(initial=0.1, maximum=60.0)
PASSED = 9
"""So many keys in a row may pass one that waits in the next lane; in the lane after that, so many times as many."""


class Lane(IntEnum):
    """Which key goes first."""

    URGENT = 0
    ROUTINE = 1
    BACKGROUND = 2


class QueueMetrics(Protocol):
    """What is told of the life of keys, times in seconds."""

    def added(self) -> None:
        """A key has to be worked on that had not before."""

    def retried(self) -> None:
        """A key comes again after a backoff."""

    def waited(self, seconds: float) -> None:
        """A key was taken after so long."""

    def worked(self, seconds: float) -> None:
        """A key was held for so long."""


class WorkQueue(Generic[K]):
    """Keys to work on. `run` must be running for delayed keys to come; times are Trio's."""

    def __init__(self, *, metrics: QueueMetrics, random: Random, backoff: Backoff = RETRY) -> None:
        self._metrics = metrics
        self._random = random
        self._backoff = backoff
        self._lanes: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        self._passed: Counter[Lane] = Counter()
        self._in_progress: dict[K, float] = {}
        self._again: dict[K, Lane] = {}
        self._failures: Counter[K] = Counter()
        self._takers = trio.lowlevel.ParkingLot()
        self._delayed: Schedule[K] = Schedule()
        self._earlier = trio.Event()

    def add(self, key: K, lane: Lane = Lane.URGENT) -> None:
        """Have the key worked on: now if nobody does, else once more when that is done."""
        if key not in self._again and self._lane_of(key) is None:
            self._metrics.added()
        if key in self._in_progress:
            self._again[key] = min(lane, self._again.get(key, lane))
        else:
            self._put(key, lane)

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key after a while. If it waits for an earlier time already, that stays."""
        time = trio.current_time() + seconds
        if time < self._delayed.next_time:
            self._earlier.set()
        self._delayed.set(key, time)

    def add_rate_limited(self, key: K, *, at_least: float = 0.0) -> float:
        """Add the key after its next backoff delay, but not before `at_least`. Returns the seconds."""
        self._failures[key] += 1
        self._metrics.retried()
        delay = max(at_least, self._backoff.delay(self._failures[key], self._random))
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Let the key's backoff start anew."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often in a row the key was rate limited."""
        return self._failures[key]

    @asynccontextmanager
    async def take(self) -> AsyncIterator[K]:
        """Wait for a key and hold it for the body of `async with`; no other taker gets it meanwhile.

        A body that ends with an exception, cancellation too, has not done its work: the key is added again.
        """
        key, lane = await self._next()
        try:
            yield key
        except BaseException:
            self.add(key, lane)
            raise
        finally:
            self._metrics.worked(trio.current_time() - self._in_progress.pop(key))
            if key in self._again:
                self._put(key, self._again.pop(key))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Add the delayed keys when their times come: one task for all of them."""
        task_status.started()
        while True:
            self._earlier = trio.Event()
            for key in self._delayed.pop_due(trio.current_time()):
                self.add(key, Lane.ROUTINE)
            with trio.CancelScope(deadline=self._delayed.next_time):
                await self._earlier.wait()

    def oldest_in_progress(self) -> float:
        """For how many seconds the oldest key has been worked on; 0 if there is none."""
        now = trio.current_time()
        return now - min(self._in_progress.values(), default=now)

    def all_in_progress(self) -> float:
        """The same of all keys, in sum."""
        return len(self._in_progress) * trio.current_time() - sum(self._in_progress.values())

    def __len__(self) -> int:
        """How many keys wait for a taker."""
        return sum(map(len, self._lanes.values()))

    def __repr__(self) -> str:
        waiting = ", ".join(f"{len(keys)} {lane.name.lower()}" for lane, keys in self._lanes.items())
        rest = f"{len(self._in_progress)} in progress, {len(self._again)} again, {len(self._delayed)} delayed"
        return f"<WorkQueue {waiting}, {rest}>"

    def _lane_of(self, key: K) -> Lane | None:
        return next((lane for lane, keys in self._lanes.items() if key in keys), None)

    def _put(self, key: K, lane: Lane) -> None:
        """Let the key wait in its lane: a more urgent one is kept, and so is the time since when it waits."""
        present = self._lane_of(key)
        if present is None:
            self._lanes[lane][key] = trio.current_time()
        elif lane < present:
            self._lanes[lane][key] = self._lanes[present].pop(key)
        self._takers.unpark()

    async def _next(self) -> tuple[K, Lane]:
        """No checkpoint lies between the choice of a key and its being in progress, so no cancellation loses it."""
        await trio.lowlevel.checkpoint()
        while not self:
            await self._takers.park()
        lane = self._next_lane()
        key, since = self._lanes[lane].popitem(last=False)
        self._in_progress[key] = now = trio.current_time()
        self._metrics.waited(now - since)
        return key, lane

    def _next_lane(self) -> Lane:
        """The first that has keys, if no later one was passed too often."""
        waiting = [lane for lane, keys in self._lanes.items() if keys]
        chosen = next((lane for lane in waiting if self._passed[lane] >= PASSED**lane), waiting[0])
        del self._passed[chosen]
        self._passed.update(lane for lane in waiting if lane > chosen)
        return chosen
