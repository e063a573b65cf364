"""Whether files have changed, without reading them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from secrets_manager.net.tls import UnusableFile

CHECK_INTERVAL = 10.0
"""Seconds between two checks."""


class Look(NamedTuple):
    """One file, as it was. It is another one where the link to it leads elsewhere, as in mounted volumes."""

    name: str
    inode: int
    size: int
    changed_at: int


def look_at(names: Iterable[str]) -> list[Look]:
    """Look at files. It blocks on the disk. Raises: UnusableFile."""
    return [_look_at(name) for name in names]


def _look_at(name: str) -> Look:
    try:
        found = Path(name).stat()
    except OSError as error:
        raise UnusableFile(f"{name} can't be read ({error.strerror})") from None
    return Look(name, found.st_ino, found.st_size, found.st_mtime_ns)
