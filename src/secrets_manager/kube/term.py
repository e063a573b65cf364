"""One term of office: a cancel scope around the work. It ends when the clock says so, whatever anybody waits for."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.abc import Instrument


@contextmanager
def term_until(end: float) -> Iterator[trio.CancelScope]:
    """Cancel what runs in the block at the scope's deadline, which may be put off meanwhile."""
    with trio.CancelScope(deadline=end) as term:
        watchman = _Watchman(term)
        trio.lowlevel.add_instrument(watchman)
        try:
            yield term
        finally:
            trio.lowlevel.remove_instrument(watchman)


class _Watchman(Instrument):
    """Looks at the clock before each step of any task.

    Trio itself does so only before each batch of steps. A process that is stopped in the middle of a batch goes on with
    the rest of it, and one of those steps could be a write. Costs half a microsecond a step.
    """

    def __init__(self, term: trio.CancelScope) -> None:
        self._term = term
        self._now = trio.lowlevel.current_clock().current_time

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._now() >= self._term.deadline:
            self._term.cancel(f"the term ended before a step of {task.name}")
