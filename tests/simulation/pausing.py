"""Pause a process, as SIGSTOP does, while the rest of the simulation goes on in the same run of Trio.

Each task belongs to a replica, by a context variable. While a replica is paused, its tasks that become runnable are
held back, and run when it is resumed. Trio has no interface for that, so `Runner.reschedule` is patched for the length
of a run. Only this module and scheduler.py patch Trio.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from unittest.mock import patch

import outcome
from trio._core import _run
from trio.lowlevel import Task

REPLICA: ContextVar[str] = ContextVar("replica", default="")
"""The replica that a task belongs to; empty for the rest of the simulation."""


class Freezer:
    """The paused replicas, and their tasks that are held back."""

    def __init__(self) -> None:
        self._held: dict[str, list[Task]] = {}

    def freeze(self, replica: str) -> None:
        self._held.setdefault(replica, [])

    def thaw(self, replica: str) -> None:
        _run.GLOBAL_RUN_CONTEXT.runner.runq.extend(self._held.pop(replica, ()))

    def is_frozen(self, replica: str) -> bool:
        return replica in self._held

    @contextmanager
    def installed(self) -> Generator[None]:
        """Patch Trio to hold back the tasks of paused replicas."""
        wake = _run.Runner.reschedule

        def reschedule(runner: _run.Runner, task: Task, next_send: outcome.Outcome[object] = _run._NO_SEND) -> None:
            wake(runner, task, next_send)
            if self._held and (held := self._held.get(task.context.get(REPLICA, ""))) is not None:
                held.append(runner.runq.pop())

        with patch.object(_run.Runner, "reschedule", reschedule):
            yield
