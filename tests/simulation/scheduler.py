"""Make a run deterministic and its time virtual: the order of tasks and of sets follows from the seed.

Trio shuffles the tasks that may run next: two private names make that follow from a seed, as hypothesis does it. The
order of a set follows from the hashes of what is in it. That of a text is fixed by PYTHONHASHSEED (runner.py), but that
of None is its address before Python 3.12, and so is that of a class, which a struct's begins with.

A run has no I/O: so Trio's loop hardly polls the system, and MockClock is reduced to a number, without the real clock
below it. It jumps to the next deadline when Trio asks how long to sleep, which saves a turn of the loop for each jump.
"""

from collections.abc import Generator, MutableSequence
from contextlib import contextmanager
from math import inf
from random import Random
from unittest.mock import patch

from trio._core import _io_epoll, _run
from trio.testing import MockClock

from secrets_manager.backends import Folder, Source


class _Shuffler(Random):
    def shuffle(self, x: MutableSequence[object]) -> None:
        """Draw nothing where there is one order only, as for most batches of tasks."""
        if len(x) > 1:
            super().shuffle(x)


@contextmanager
def deterministic(seed: int) -> Generator[None]:
    """Seed the scheduler of Trio and the hashes of the program, and leave I/O out of Trio's loop."""
    with (
        patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        patch.object(_run, "_r", _Shuffler(seed)),
        patch.object(_io_epoll.EpollIOManager, "get_events", _events),
        patch.object(MockClock, "current_time", _current_time),
        patch.object(MockClock, "deadline_to_sleep_time", _sleep_time),
        patch.object(Source, "__hash__", _hash_of_source),
        patch.object(Folder, "__hash__", _hash_of_folder),
    ):
        yield


_poll = _io_epoll.EpollIOManager.get_events


def _events(manager: _io_epoll.EpollIOManager, timeout: float) -> list[tuple[int, int]]:
    """Poll for nothing but Trio's own wake-up, by which it ends and finalizes generators."""
    runner = _run.GLOBAL_RUN_CONTEXT.runner
    if runner.runq or (runner.deadlines._active and not runner.entry_queue.size()):
        return []
    return _poll(manager, timeout)


def _current_time(clock: MockClock) -> float:
    return clock._virtual_base


def _sleep_time(clock: MockClock, deadline: float) -> float:
    """Jump to the deadline: no task can run now. Not where Trio still has to wake itself up."""
    if clock._virtual_base < deadline < inf and not _run.GLOBAL_RUN_CONTEXT.runner.entry_queue.size():
        clock._virtual_base = deadline
    return inf if deadline > clock._virtual_base else 0.0


def _hash_of_source(source: Source) -> int:
    return hash((source.path, source.version or "", source.identity))


def _hash_of_folder(folder: Folder) -> int:
    return hash((folder.path, folder.identity))
