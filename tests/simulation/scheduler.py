"""Make a run deterministic: the order of tasks and of sets follows from the seed.

Trio shuffles the tasks that may run next: two private names make that follow from a seed, as hypothesis does it. The
order of a set follows from the hashes of what is in it. That of a text is fixed by PYTHONHASHSEED (runner.py), but that
of None is its address before Python 3.12, and so is that of a class, which a struct's begins with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch

from trio._core import _run

from secrets_manager.backends.base import Folder, Source


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed the scheduler of Trio and the hashes of the program."""
    with (
        patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        patch.object(_run, "_r", Random(seed)),
        patch.object(Source, "__hash__", _hash_of_source),
        patch.object(Folder, "__hash__", _hash_of_folder),
    ):
        yield


def _hash_of_source(source: Source) -> int:
    return hash((source.path, source.version or "", source.identity))


def _hash_of_folder(folder: Folder) -> int:
    return hash((folder.path, folder.identity))
