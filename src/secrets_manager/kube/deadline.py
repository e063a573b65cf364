"""A cancel scope whose deadline is checked before each step of a task."""

from collections.abc import Generator
from contextlib import contextmanager

import trio
from trio.abc import Instrument


@contextmanager
def strict_deadline(deadline: float) -> Generator[trio.CancelScope]:
    """Cancel the block at the scope's deadline, which may be moved meanwhile."""
    with trio.CancelScope(deadline=deadline) as scope:
        instrument = _ClockCheck(scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield scope
        finally:
            trio.lowlevel.remove_instrument(instrument)


class _ClockCheck(Instrument):
    """Checks the clock before each step of any task.

    Trio checks it before each batch of steps. A process that is paused within a batch would run the rest of it after
    the deadline, and one of those steps could be a write. The check costs half a microsecond.
    """

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._now = trio.lowlevel.current_clock().current_time

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._now() >= self._scope.deadline:
            self._scope.cancel(f"deadline exceeded before a step of {task.name}")
