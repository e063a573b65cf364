"""Print what a command waits for, if it takes longer."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import trio

QUIET = 1.0
"""Seconds after which the line is printed."""

Progress = Callable[[str], None]
"""Called with a line about what takes longer."""


def silent(line: str) -> None:
    """Print nothing."""


@contextmanager
def announced(progress: Progress, line: str) -> Generator[None]:
    """Print `line` if the block is still running after a second."""
    scope = trio.CancelScope()

    async def announce() -> None:
        with scope:
            await trio.sleep(QUIET)
            progress(line)

    trio.lowlevel.spawn_system_task(announce)
    try:
        yield
    finally:
        scope.cancel("the block has ended")
