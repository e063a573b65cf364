"""The queue of names between what happens and the workers; its contract is that of client-go's workqueue.

- Fair: keys come out in the order in which they went in.
- Stingy: a key that is added several times before it is taken is worked on once.
- Many may add, many may take: no key is ever worked on by two workers at the same time.
- A key that is added while it is worked on comes again afterwards, for it may have changed since it was looked at.

Priorities go beyond that contract, as in controller-runtime's priority queue: what a user waits for goes before what is
due again, and that before what can wait. Each priority gets its share of the turns all the same, so a busy cluster
can't starve one. A key that waits at several priorities is taken once, at the most urgent of them, and the taker learns
which.

Only `take` waits; everything else is synchronous, so that it can be called from anywhere and nothing is half done. The
queue has no bound of its own: no key is in it twice, so the number of objects is the bound.

What is counted, and from when to when, is as in client-go too.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from enum import IntEnum
from random import Random
from typing import Generic, NamedTuple, NoReturn, Protocol, TypeVar

import trio

from secrets_manager.backoff import Backoff
from secrets_manager.timer import Timer

K = TypeVar("K", bound=Hashable)

RETRY = Backoff(initial=0.1, maximum=60.0)
PASSED = 9
"""Keys in a row that may pass one of the next priority; of the priority after that, this many times as many."""


class Priority(IntEnum):
    """Which key goes first."""

    URGENT = 0
    ROUTINE = 1
    BACKGROUND = 2


class Item(NamedTuple, Generic[K]):
    """A key that was taken, and the priority at which it waited."""

    key: K
    priority: Priority


class QueueMetrics(Protocol):
    """What is counted of the life of keys, times in seconds."""

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
        self._waiting: dict[Priority, OrderedDict[K, float]] = {priority: OrderedDict() for priority in Priority}
        self._passed: Counter[Priority] = Counter()
        self._in_progress: dict[K, float] = {}
        self._again: dict[K, Priority] = {}
        self._failures: Counter[Item[K]] = Counter()
        self._takers = trio.lowlevel.ParkingLot()
        self._delayed = Timer[Item[K]]()

    def add(self, key: K, priority: Priority = Priority.URGENT) -> None:
        """Have the key worked on: now if no worker has it, else once more when that one is done."""
        if key not in self._again and self._priority_of(key) is None:
            self._metrics.added()
        if key in self._in_progress:
            self._again[key] = min(priority, self._again.get(key, priority))
        else:
            self._put(key, priority)

    def add_after(self, key: K, seconds: float, priority: Priority = Priority.ROUTINE) -> None:
        """Add the key at this priority after a while. If it waits there for an earlier time already, that stays."""
        self._delayed.set(Item(key, priority), trio.current_time() + seconds)

    def add_rate_limited(self, key: K, priority: Priority = Priority.ROUTINE, *, at_least: float = 0.0) -> float:
        """Add the key after its next backoff delay, but not before `at_least`. Returns the seconds."""
        item = Item(key, priority)
        self._failures[item] += 1
        self._metrics.retried()
        delay = max(at_least, self._backoff.delay(self._failures[item], self._random))
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: K, priority: Priority = Priority.ROUTINE) -> None:
        """Reset the key's backoff at this priority."""
        self._failures.pop(Item(key, priority), None)

    def failures(self, key: K, priority: Priority = Priority.ROUTINE) -> int:
        """How often in a row the key was rate limited."""
        return self._failures[Item(key, priority)]

    def waits_at(self, priority: Priority) -> bool:
        """Whether any key waits at this priority or at a more urgent one."""
        return any(self._waiting[each] for each in Priority if each <= priority)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Item[K]]:
        """Wait for a key and hold it for the body of `async with`; no other taker gets it meanwhile.

        A body that ends with an exception, cancellation too, has not done its work: the key is added again.
        """
        item = await self._next()
        key = item.key
        try:
            yield item
        except BaseException:
            self.add(key, item.priority)
            raise
        finally:
            self._metrics.worked(trio.current_time() - self._in_progress.pop(key))
            if key in self._again:
                self._put(key, self._again.pop(key))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Add the delayed keys when their times come: one task for all of them."""
        task_status.started()
        while True:
            for key, priority in await self._delayed.due():
                self.add(key, priority)

    def oldest_in_progress(self) -> float:
        """For how many seconds the oldest key has been worked on; 0 if there is none."""
        now = trio.current_time()
        return now - min(self._in_progress.values(), default=now)

    def all_in_progress(self) -> float:
        """The same of all keys, in sum."""
        return len(self._in_progress) * trio.current_time() - sum(self._in_progress.values())

    def __len__(self) -> int:
        """How many keys wait for a taker."""
        return sum(map(len, self._waiting.values()))

    def __repr__(self) -> str:
        waiting = ", ".join(f"{len(keys)} {priority.name.lower()}" for priority, keys in self._waiting.items())
        rest = f"{len(self._in_progress)} in progress, {len(self._again)} again, {len(self._delayed)} delayed"
        return f"<WorkQueue {waiting}, {rest}>"

    def _priority_of(self, key: K) -> Priority | None:
        return next((priority for priority, keys in self._waiting.items() if key in keys), None)

    def _put(self, key: K, priority: Priority) -> None:
        """Let the key wait: a more urgent priority is kept, and so is the time since when it waits."""
        present = self._priority_of(key)
        if present is None:
            self._waiting[priority][key] = trio.current_time()
        elif priority < present:
            self._waiting[priority][key] = self._waiting[present].pop(key)
        self._takers.unpark()

    async def _next(self) -> Item[K]:
        """No checkpoint lies between the choice of a key and its being in progress, so no cancellation loses it."""
        await trio.lowlevel.checkpoint()
        while not self:
            await self._takers.park()
        priority = self._next_priority()
        key, since = self._waiting[priority].popitem(last=False)
        self._in_progress[key] = now = trio.current_time()
        self._metrics.waited(now - since)
        return Item(key, priority)

    def _next_priority(self) -> Priority:
        """The first that has keys, if no later one was passed too often."""
        waiting = [priority for priority, keys in self._waiting.items() if keys]
        chosen = next((each for each in waiting if self._passed[each] >= PASSED**each), waiting[0])
        del self._passed[chosen]
        self._passed.update(each for each in waiting if each > chosen)
        return chosen
