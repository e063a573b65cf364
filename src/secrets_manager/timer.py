"""Wait for keys that are due at a time."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import trio

from secrets_manager.schedule import Schedule

K = TypeVar("K", bound=Hashable)


class Timer(Generic[K]):
    """A schedule on Trio's clock. Each key has at most one time: the earliest set since it was last due."""

    def __init__(self) -> None:
        self._schedule = Schedule[K]()
        self._earlier = trio.Event()

    def __len__(self) -> int:
        return len(self._schedule)

    def set(self, key: K, time: float) -> None:
        """Schedule the key for this time; an earlier time that is set already stays."""
        if time < self._schedule.next_time:
            self._earlier.set()
        self._schedule.set(key, time)

    async def due(self) -> list[K]:
        """Wait until keys are due, and remove them, in the order of their times."""
        await trio.lowlevel.checkpoint()
        while not (keys := self._schedule.pop_due(trio.current_time())):
            self._earlier = trio.Event()
            with trio.CancelScope(deadline=self._schedule.next_time):
                await self._earlier.wait()
        return keys
