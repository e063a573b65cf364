"""Whether files have changed, without reading them; and a thread to read them in."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from secrets_manager.net.tls import UnusableFile

CHECK_INTERVAL = 10.0
"""Seconds between two checks."""
READ_TIMEOUT = 30.0
"""Seconds for reading files. Those of a network may never answer."""

T = TypeVar("T")


class FileStamp(NamedTuple):
    """A file at one time. The stamp also changes where a link leads to another file, as in mounted volumes."""

    name: str
    inode: int
    size: int
    changed_at: int


def stat_files(names: Iterable[str]) -> list[FileStamp]:
    """Return the stamp of each file. It blocks on the disk. Raises: UnusableFile."""
    return [_stat(name) for name in names]


def _stat(name: str) -> FileStamp:
    try:
        found = Path(name).stat()
    except OSError as error:
        raise UnusableFile(f"{name} can't be read ({error.strerror})") from None
    return FileStamp(name, found.st_ino, found.st_size, found.st_mtime_ns)


async def read_in_thread(read: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    """Read files in a thread. One that hangs is abandoned; `limiter` keeps it the only one.

    Raises:
        UnusableFile: They did not answer in time.
    """
    with trio.move_on_after(READ_TIMEOUT):
        return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=limiter)
    raise UnusableFile(f"a file does not answer within {READ_TIMEOUT:g} s")
