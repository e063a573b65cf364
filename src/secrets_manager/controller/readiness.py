"""Derive readiness from the informers, one line for each namespace.

    pending   the first full list is in progress
    failing   the list fails and is retried: forbidden, no such kind, no response
    synced    both kinds were listed once; this never changes back

The process is ready once no namespace is pending and one is synced. A failing namespace has a line, but does not make
the process unready while another one is synced.
"""

from collections.abc import Sequence
from typing import Protocol


class Informer(Protocol):
    """An informer of one kind in one namespace."""

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


Informers = Sequence[Informer]
"""The informers of a namespace."""


def unsynced(namespaces: Sequence[Informers]) -> list[str]:
    """Return why the process is not ready, one line each; empty once it is."""
    pending = [
        f"the first list of {informers[0].namespace or 'all namespaces'} is in progress"
        for informers in namespaces
        if not _has_synced(informers) and not _problems(informers)
    ]
    return pending if pending or any(map(_has_synced, namespaces)) else ["no namespace can be watched"]


def unwatched(namespaces: Sequence[Informers]) -> list[str]:
    """Return what can't be watched, with the reason, one line each."""
    return [problem for informers in namespaces for problem in _problems(informers)]


def _has_synced(informers: Informers) -> bool:
    return all(informer.has_synced for informer in informers)


def _problems(informers: Informers) -> list[str]:
    return [informer.problem for informer in informers if informer.problem]
