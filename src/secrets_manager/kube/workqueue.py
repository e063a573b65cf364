"""A work queue with the contract of client-go's workqueue.

- Fair: keys of a flow are processed in the order in which they were added.
- Stingy: a key that is added several times before it is processed is processed once.
- Multiple producers and consumers: a key is never processed by two workers at a time.
- A key that is added while it is processed is processed again afterwards.

It adds priorities, as controller-runtime's priority queue does, with a share for each, so that none starves. A key that
waits at several priorities is processed once, at the most urgent one.

It adds flows, as API Priority and Fairness has: of those with keys at a priority, the one is served of which the fewest
keys are processed, and among equals the one that waits longest for its turn. So a flow whose keys take long, such as a
namespace with a webhook that hangs, does not hold up the others for longer than one key takes.

Only `get` waits; everything else is synchronous. The queue is not bounded: a key is in it once, so the number of
objects is the bound. Metrics are defined as in client-go.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import chain, islice
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


class NoMetrics:
    """The metrics of a queue without any."""

    def added(self) -> None:
        pass

    def retried(self) -> None:
        pass

    def waited(self, seconds: float, /) -> None:
        pass

    def worked(self, seconds: float, /) -> None:
        pass


class _Flows(Generic[K]):
    """The keys that wait at one priority, each with the time since when."""

    def __init__(self, flow: Callable[[K], Hashable]) -> None:
        self._flow = flow
        self._flows: OrderedDict[Hashable, OrderedDict[K, float]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._flows.values()))

    def __bool__(self) -> bool:
        return bool(self._flows)

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(self._flows.values())

    def __contains__(self, key: K) -> bool:
        return key in self._flows.get(self._flow(key), ())

    def put(self, key: K, since: float) -> None:
        self._flows.setdefault(self._flow(key), OrderedDict())[key] = since

    def pop(self, key: K) -> float:
        """Remove a key. Returns since when it waited."""
        flow = self._flow(key)
        keys = self._flows[flow]
        since = keys.pop(key)
        if not keys:
            del self._flows[flow]
        return since

    def next(self, in_progress: Counter[Hashable]) -> K:
        """Return the key that is next, and let its flow wait for another turn."""
        # One flow more than those with keys in progress has none, or these are all: a choice never looks at all flows.
        flow = min(islice(self._flows, len(in_progress) + 1), key=in_progress.__getitem__)
        self._flows.move_to_end(flow)
        return next(iter(self._flows[flow]))


def _one_flow(_key: Hashable) -> None:
    """Return the flow of all keys."""


class WorkQueue(Generic[K]):
    """The queue. Delayed keys are added while `run` is running. Times are in seconds, of Trio's clock.

    Args:
        metrics: What is counted.
        random: For backoff.
        backoff: Of keys that are rate limited.
        flow: Returns the flow of a key; by default there is one.
    """

    def __init__(
        self,
        *,
        metrics: QueueMetrics,
        random: Random,
        backoff: Backoff = DEFAULT_BACKOFF,
        flow: Callable[[K], Hashable] = _one_flow,
    ) -> None:
        self._metrics = metrics
        self._random = random
        self._backoff = backoff
        self._flow = flow
        self._waiting: dict[Priority, _Flows[K]] = {priority: _Flows(flow) for priority in Priority}
        self._passed: Counter[Priority] = Counter()
        self._processing: dict[K, float] = {}
        self._in_progress: Counter[Hashable] = Counter()
        """The number of keys of each flow that are processed."""
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

    def num_requeues(self, key: K, priority: Priority = Priority.ROUTINE) -> int:
        """How often the key was rate limited since the last `forget`."""
        return self._requeues[Item(key, priority)]

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
            self._in_progress -= Counter((self._flow(key),))
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
            self._waiting[priority].put(key, trio.current_time())
        elif priority < present:
            self._waiting[priority].put(key, self._waiting[present].pop(key))
        self._getters.unpark()

    async def _next(self) -> Item[K]:
        """Wait for a key. No checkpoint separates its choice from marking it, so cancellation can't lose it."""
        await trio.lowlevel.checkpoint()
        while not any(self._waiting.values()):
            await self._getters.park()
        priority = self._next_priority()
        keys = self._waiting[priority]
        key = keys.next(self._in_progress)
        since = keys.pop(key)
        self._processing[key] = now = trio.current_time()
        self._in_progress[self._flow(key)] += 1
        self._metrics.waited(now - since)
        return Item(key, priority)

    def _next_priority(self) -> Priority:
        """Return the most urgent priority with keys, unless another one was passed too often."""
        waiting = [priority for priority, keys in self._waiting.items() if keys]
        chosen = next((each for each in waiting if self._passed[each] >= MAX_PASSES**each), waiting[0])
        del self._passed[chosen]
        self._passed.update(each for each in waiting if each > chosen)
        return chosen
