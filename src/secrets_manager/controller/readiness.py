"""Derive readiness from the reflectors, one line for each namespace.

    pending   the first full list is in progress
    failing   the list fails and is retried: forbidden, no such kind, no response
    synced    both kinds were listed once; this never changes back

The process is ready once no namespace is pending and one is synced. A failing namespace has a line, but does not make
the process unready while another one is synced.
"""

from collections.abc import Sequence
from typing import Protocol


class Reflector(Protocol):
    """A reflector of one kind in one namespace."""

    @property
    def namespace(self) -> str: ...

    @property
    def has_synced(self) -> bool:
        """Whether there was a full list."""
        ...

    @property
    def problem(self) -> str:
        """Why the watch fails; empty while it works."""
        ...


Reflectors = Sequence[Reflector]
"""The reflectors of a namespace."""


def unsynced(namespaces: Sequence[Reflectors]) -> list[str]:
    """Return why the process is not ready, one line each; empty once it is."""
    pending = [
        f"the first list of {reflectors[0].namespace or 'all namespaces'} is in progress"
        for reflectors in namespaces
        if not _has_synced(reflectors) and not _problems(reflectors)
    ]
    return pending if pending or any(map(_has_synced, namespaces)) else ["no namespace can be watched"]


def unwatched(namespaces: Sequence[Reflectors]) -> list[str]:
    """Return what can't be watched, with the reason, one line each."""
    return [problem for reflectors in namespaces for problem in _problems(reflectors)]


def _has_synced(reflectors: Reflectors) -> bool:
    return all(reflector.has_synced for reflector in reflectors)


def _problems(reflectors: Reflectors) -> list[str]:
    return [reflector.problem for reflector in reflectors if reflector.problem]
