"""Where the process starts: signals have a handler before anything else is imported, which takes up to a second.

As PID 1, in a container, a process is not sent a signal that it has no handler for, and Python's own handler of SIGINT
prints a traceback.
"""

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> int:
    """Run the command line of this process. Return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    interrupt = signal.signal(signal.SIGINT, _end)

    from secrets_manager.cli import main as cli  # noqa: PLC0415 - takes time

    signal.signal(signal.SIGINT, interrupt)
    return cli.main()


def _end(signum: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + signum)
