"""Where the process starts: SIGTERM has a handler before anything else is imported, which takes up to a second.

As PID 1, in a container, a process is not sent a signal that it has no handler for.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""See cli/main.py."""


def main() -> int:
    """Run the command line of this process. Return the exit code."""
    signal.signal(signal.SIGTERM, _end)

    from secrets_manager.cli import main as cli  # noqa: PLC0415 - takes time

    return cli.main()


def _end(_: int, __: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)
