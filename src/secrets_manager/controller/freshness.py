"""When each definition was last verified: its Secret was written, or was equal to what the store was known to have.

    Waiting   something calls for a reconcile, or it is in progress, or it has failed: the time stands still
    Resting   a reconcile has succeeded, and nothing has called for another one since it began

A definition at rest is verified whenever a poll or a listing confirms its sources. That is computed when it is asked
for, so a definition at rest costs nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

import msgspec
import trio

from secrets_manager.controller.definition import Reason
from secrets_manager.kube.objects import ObjectKey


class VerifiedSource(Protocol):
    """A source of a definition. Times are those of Trio's clock."""

    @property
    def verified_at(self) -> float:
        """When the store was last known to have the content that was read."""
        ...


class _Waiting(msgspec.Struct):
    """A definition that waits for a reconcile to succeed."""

    time: float
    """When it was last verified, or became known."""
    verified: bool
    """Whether this process has ever verified it."""
    again: bool = True
    """Whether it needs another reconcile than the one in progress."""


class Freshness:
    """All definitions. `sources_of` returns the sources of one."""

    def __init__(self, sources_of: Callable[[ObjectKey], Sequence[VerifiedSource]]) -> None:
        self._sources_of = sources_of
        self._resting: dict[ObjectKey, Sequence[VerifiedSource]] = {}
        self._waiting: dict[ObjectKey, _Waiting] = {}
        self._started_at = inf

    def start(self) -> None:
        """Begin to count: this process reconciles from now on."""
        self._started_at = trio.current_time()

    def call_for(self, key: ObjectKey) -> None:
        """Record that the definition must be reconciled, before its sources change."""
        sources = self._resting.pop(key, None)
        if sources is not None:
            self._waiting[key] = _Waiting(_verified_at(sources), verified=True)
        elif key in self._waiting:
            self._waiting[key].again = True
        else:
            self._waiting[key] = _Waiting(trio.current_time(), verified=False)

    def begin(self, key: ObjectKey) -> None:
        """Record that a reconcile begins. One of a definition that was forgotten counts for nothing."""
        if key in self._resting or key in self._waiting:
            self.call_for(key)
            self._waiting[key].again = False

    def succeed(self, key: ObjectKey) -> None:
        """Record that it has found the Secret equal, or has written it. The definition may have been deleted."""
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.again:
            del self._waiting[key]
            self._resting[key] = self._sources_of(key)

    def forget(self, key: ObjectKey) -> None:
        """Forget a definition that is deleted, or is being deleted."""
        self._resting.pop(key, None)
        self._waiting.pop(key, None)

    def last_verified(self, key: ObjectKey) -> float:
        """Return when the definition was last verified; -infinity if never by this process."""
        sources = self._resting.get(key)
        if sources is not None:
            return _verified_at(sources)
        waiting = self._waiting.get(key)
        return waiting.time if waiting is not None and waiting.verified else -inf

    def ages(self, reason_of: Callable[[ObjectKey], str]) -> dict[str, list[float]]:
        """Return the seconds since each definition was verified, by the reason of its Ready condition.

        Empty before the start. It takes less than a microsecond for a definition at rest with one source.
        """
        now = trio.current_time()
        if now < self._started_at:
            return {}
        ages = defaultdict(list, {str(Reason.SYNCED): [now - _verified_at(each) for each in self._resting.values()]})
        for key, waiting in self._waiting.items():
            ages[reason_of(key)].append(now - max(waiting.time, self._started_at))
        return {reason: seconds for reason, seconds in ages.items() if seconds}


def _verified_at(sources: Sequence[VerifiedSource]) -> float:
    """Return when all sources were verified. Without any, there is nothing that could be old."""
    if len(sources) == 1:  # nearly always
        return sources[0].verified_at
    return min((source.verified_at for source in sources), default=trio.current_time())
