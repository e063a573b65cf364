"""A process that is stopped, as by SIGSTOP, while the rest of the world goes on in the same run of Trio.

Each task knows which replica it is of. While that is stopped, what would wake a task is noted and not carried out: the
task goes on after the replica does, as it finds the world then. Trio offers no such thing, so its runner's own way to
wake a task is replaced for the length of a run; that is the one place where the simulator lays hands on Trio, beside
the seed of its scheduler (chance.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from unittest.mock import patch

import outcome
from trio._core import _run
from trio.lowlevel import Task

REPLICA: ContextVar[str] = ContextVar("replica", default="")
"""Whose task this is; empty for the rest of the world."""


class Freezer:
    """Those that are stopped, and their tasks that would be awake."""

    def __init__(self) -> None:
        self._held: dict[str, list[Task]] = {}

    def freeze(self, replica: str) -> None:
        self._held.setdefault(replica, [])

    def thaw(self, replica: str) -> None:
        _run.GLOBAL_RUN_CONTEXT.runner.runq.extend(self._held.pop(replica, ()))

    def is_frozen(self, replica: str) -> bool:
        return replica in self._held

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let Trio ask here whether a task may be woken."""
        wake = _run.Runner.reschedule

        def reschedule(runner: _run.Runner, task: Task, next_send: outcome.Outcome[object] = _run._NO_SEND) -> None:
            wake(runner, task, next_send)
            if self._held and (held := self._held.get(task.context.get(REPLICA, ""))) is not None:
                held.append(runner.runq.pop())

        with patch.object(_run.Runner, "reschedule", reschedule):
            yield
