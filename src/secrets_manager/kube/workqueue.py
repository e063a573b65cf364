"""A work queue with the contract of client-go's workqueue.

- Fair: keys are processed in the order in which they were added.
- Stingy: a key that is added several times before it is processed is processed once.
- Multiple producers and consumers: a key is never processed by two workers at a time.
- A key that is added while it is processed is processed again afterwards.

It adds priorities, as controller-runtime's priority queue does, with a share for each, so that none starves. A key that
waits at several priorities is processed once, at the most urgent one.

Only `get` waits; everything else is synchronous. The queue is not bounded: a key is in it once, so the number of
objects is the bound. Metrics are defined as in client-go.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from enum import IntEnum
from random import Random
from typing import Generic, NamedTuple, NoReturn, Protocol, TypeVar

import trio

from secrets_manager.backoff import Backoff
from secrets_manager.timer import Timer

K = TypeVar("K", bound=Hashable)

DEFAULT_BACKOFF = Backoff(initial=0.1, maximum=60.0)
MAX_PASSES = 9
"""Keys in a row that may pass a key of the next priority; its square for the priority after that."""


class Priority(IntEnum):
    """The order of keys: the lowest number first."""

    URGENT = 0
    ROUTINE = 1
    BACKGROUND = 2


class Item(NamedTuple, Generic[K]):
    """A key, and the priority at which it waited."""

    key: K
    priority: Priority


class QueueMetrics(Protocol):
    """The metrics of a queue, as in client-go."""

    def added(self) -> None:
        """A key was added that was not waiting."""

    def retried(self) -> None:
        """A key was added with a backoff."""

    def waited(self, seconds: float, /) -> None:
        """A key waited for this many seconds."""

    def worked(self, seconds: float, /) -> None:
        """A key was processed for this many seconds."""


class WorkQueue(Generic[K]):
    """The queue. Delayed keys are added while `run` is running. Times are in seconds, of Trio's clock."""

    def __init__(self, *, metrics: QueueMetrics, random: Random, backoff: Backoff = DEFAULT_BACKOFF) -> None:
        self._metrics = metrics
        self._random = random
        self._backoff = backoff
        self._waiting: dict[Priority, OrderedDict[K, float]] = {priority: OrderedDict() for priority in Priority}
        self._passed: Counter[Priority] = Counter()
        self._processing: dict[K, float] = {}
        self._dirty: dict[K, Priority] = {}
        self._requeues: Counter[Item[K]] = Counter()
        self._getters = trio.lowlevel.ParkingLot()
        self._delayed = Timer[Item[K]]()

    def add(self, key: K, priority: Priority = Priority.URGENT) -> None:
        """Add a key. While it is processed, it is marked dirty, and added afterwards."""
        if key not in self._dirty and self._priority_of(key) is None:
            self._metrics.added()
        if key in self._processing:
            self._dirty[key] = min(priority, self._dirty.get(key, priority))
        else:
            self._put(key, priority)

    def add_after(self, key: K, seconds: float, priority: Priority = Priority.ROUTINE) -> None:
        """Add the key after some seconds. An earlier time that is set already stays."""
        self._delayed.set(Item(key, priority), trio.current_time() + seconds)

    def add_rate_limited(self, key: K, priority: Priority = Priority.ROUTINE, *, at_least: float = 0.0) -> None:
        """Add the key after its backoff, and not before `at_least` seconds."""
        item = Item(key, priority)
        self._requeues[item] += 1
        self._metrics.retried()
        self.add_after(key, max(at_least, self._backoff.delay(self._requeues[item], self._random)), priority)

    def forget(self, key: K, priority: Priority = Priority.ROUTINE) -> None:
        """Reset the key's backoff at this priority."""
        self._requeues.pop(Item(key, priority), None)

    def has_waiting(self, priority: Priority) -> bool:
        """Whether a key waits at this priority or a more urgent one."""
        return any(self._waiting[each] for each in Priority if each <= priority)

    @asynccontextmanager
    async def get(self) -> AsyncGenerator[Item[K]]:
        """Wait for a key, and process it in the body of `async with`.

        If the body raises, or is cancelled, the key is added again.
        """
        item = await self._next()
        key = item.key
        try:
            yield item
        except BaseException:
            self.add(key, item.priority)
            raise
        finally:
            self._metrics.worked(trio.current_time() - self._processing.pop(key))
            if key in self._dirty:
                self._put(key, self._dirty.pop(key))

    async def run(self) -> NoReturn:
        """Add delayed keys when they are due, until cancelled."""
        while True:
            for key, priority in await self._delayed.due():
                self.add(key, priority)

    @property
    def in_progress(self) -> int:
        """The number of keys that are processed."""
        return len(self._processing)

    def longest_running(self) -> float:
        """Return the seconds for which the longest running key has been processed; 0 if there is none."""
        now = trio.current_time()
        return now - min(self._processing.values(), default=now)

    def unfinished_work(self) -> float:
        """Return the sum of these seconds over all keys."""
        return len(self._processing) * trio.current_time() - sum(self._processing.values())

    def __len__(self) -> int:
        """Return the number of waiting keys."""
        return sum(map(len, self._waiting.values()))

    def __repr__(self) -> str:
        waiting = ", ".join(f"{len(keys)} {priority.name.lower()}" for priority, keys in self._waiting.items())
        rest = f"{len(self._processing)} in progress, {len(self._dirty)} again, {len(self._delayed)} delayed"
        return f"<WorkQueue {waiting}, {rest}>"

    def _priority_of(self, key: K) -> Priority | None:
        return next((priority for priority, keys in self._waiting.items() if key in keys), None)

    def _put(self, key: K, priority: Priority) -> None:
        """Let the key wait. A more urgent priority and the time of the first addition are kept."""
        present = self._priority_of(key)
        if present is None:
            self._waiting[priority][key] = trio.current_time()
        elif priority < present:
            self._waiting[priority][key] = self._waiting[present].pop(key)
        self._getters.unpark()

    async def _next(self) -> Item[K]:
        """Wait for a key. No checkpoint separates its choice from marking it, so cancellation can't lose it."""
        await trio.lowlevel.checkpoint()
        while not self:
            await self._getters.park()
        priority = self._next_priority()
        key, since = self._waiting[priority].popitem(last=False)
        self._processing[key] = now = trio.current_time()
        self._metrics.waited(now - since)
        return Item(key, priority)

    def _next_priority(self) -> Priority:
        """Return the most urgent priority with keys, unless another one was passed too often."""
        waiting = [priority for priority, keys in self._waiting.items() if keys]
        chosen = next((each for each in waiting if self._passed[each] >= MAX_PASSES**each), waiting[0])
        del self._passed[chosen]
        self._passed.update(each for each in waiting if each > chosen)
        return chosen
