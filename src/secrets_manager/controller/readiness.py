"""What the watches say about being ready, one line for each namespace.

    pending    a first full list is under way
    refused    it can't be had, and is tried again: no right, no such kind, no answer
    listed     both kinds were listed once: it stays that, whatever becomes of the watches

The process is ready once nothing is pending and a namespace is listed. So one that is refused has a line, and is no
reason to be not ready while there is another one.
"""

from collections.abc import Sequence
from typing import Protocol


class Follower(Protocol):
    """Follows one kind in one namespace."""

    @property
    def namespace(self) -> str: ...

    @property
    def listed(self) -> bool:
        """Whether there was a full list."""
        ...

    @property
    def problem(self) -> str:
        """Why the cluster's present state isn't known just now; empty while all is well."""
        ...


Followers = Sequence[Follower]
"""Those of one namespace."""


def unsynced(namespaces: Sequence[Followers]) -> list[str]:
    """Why the process is not ready, a line each; empty once it is."""
    pending = [
        f"the first list of {followers[0].namespace or 'all namespaces'} is under way"
        for followers in namespaces
        if not _listed(followers) and not _problems(followers)
    ]
    return pending if pending or any(map(_listed, namespaces)) else ["no namespace can be watched"]


def unwatched(namespaces: Sequence[Followers]) -> list[str]:
    """What can't be watched just now, with the reason, a line each."""
    return [problem for followers in namespaces for problem in _problems(followers)]


def _listed(followers: Followers) -> bool:
    return all(follower.listed for follower in followers)


def _problems(followers: Followers) -> list[str]:
    return [follower.problem for follower in followers if follower.problem]
