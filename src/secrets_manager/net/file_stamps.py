"""Whether files have changed, without reading them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from secrets_manager.net.tls import UnusableFile

CHECK_INTERVAL = 10.0
"""Seconds between two checks."""


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
