"""Keys that are due at a time, for one task that waits for them."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import trio

from secrets_manager.schedule import Schedule

K = TypeVar("K", bound=Hashable)


class Timer(Generic[K]):
    """Each key has at most one time on Trio's clock: the earliest that was set since it was last due."""

    def __init__(self) -> None:
        self._schedule = Schedule[K]()
        self._earlier = trio.Event()

    def __len__(self) -> int:
        return len(self._schedule)

    def set(self, key: K, time: float) -> None:
        """Let the key be due at this time, or earlier if an earlier time is set already."""
        if time < self._schedule.next_time:
            self._earlier.set()
        self._schedule.set(key, time)

    async def due(self) -> list[K]:
        """Wait until keys are due; take them out, in the order of their times."""
        await trio.lowlevel.checkpoint()
        while not (keys := self._schedule.pop_due(trio.current_time())):
            self._earlier = trio.Event()
            with trio.CancelScope(deadline=self._schedule.next_time):
                await self._earlier.wait()
        return keys
