"""Objects with their history: every write is one revision, every earlier revision can be read until compaction.

As in etcd, one counter serves all kinds. Snapshots are made by walking the history backwards, so a list continued
page by page, a stale read and a watch all come from the same record.
"""

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from fake_kubernetes.documents import Object, with_metadata
from fake_kubernetes.refusals import expired


class Key(NamedTuple):
    """The address of one object; cluster-wide ones have an empty namespace. Sorts as lists do."""

    resource: str
    namespace: str
    name: str


class Change(NamedTuple):
    """One write: `before` is None for a creation, `after` for a removal."""

    revision: int
    key: Key
    before: Object | None
    after: Object | None


class Storage:
    """`forget_after`: how many changes are kept; the oldest are compacted away."""

    def __init__(self, *, forget_after: int = 10_000) -> None:
        self.revision = 1
        self.compacted = 1
        self.listeners: set[Callable[[], None]] = set()
        self._forget_after = forget_after
        self._objects: dict[str, dict[Key, Object]] = {}
        self._changes: list[Change] = []

    def __repr__(self) -> str:
        return f"Storage(revision={self.revision}, compacted={self.compacted})"

    def get(self, key: Key, *, revision: int | None = None) -> Object | None:
        return self.objects(key.resource, revision=revision).get(key)

    def objects(self, resource: str, *, revision: int | None = None) -> dict[Key, Object]:
        """Show all objects of a resource, now or as they were; not to be changed. Raises: Refusal (410)."""
        current = self._objects.get(resource, {})
        if revision is None or revision >= self.revision:
            return current
        past = dict(current)
        for change in reversed(self.changes_after(revision)):
            if change.key.resource != resource:
                continue
            if change.before is None:
                past.pop(change.key, None)
            else:
                past[change.key] = change.before
        return past

    def changes_after(self, revision: int) -> list[Change]:
        """List what happened since. Raises: Refusal (410) when that was compacted."""
        if revision < self.compacted:
            raise expired(f"too old resource version: {revision} ({self.compacted})")
        return list(islice(self._changes, revision - self.compacted, None))

    def put(self, key: Key, document: Object) -> Object:
        """Store a new state of an object, which gets the next revision as its resourceVersion."""
        stored = with_metadata(document, resourceVersion=str(self.revision + 1))
        before = self.get(key)
        self._objects.setdefault(key.resource, {})[key] = stored
        self._record(key, before, stored)
        return stored

    def remove(self, key: Key) -> None:
        """Take an object away. Raises: KeyError when it is not there."""
        before = self._objects[key.resource].pop(key)
        self._record(key, before, None)

    def compact(self) -> None:
        """Forget the history: who asks for an earlier revision gets 410."""
        self.compacted = self.revision
        self._changes.clear()
        self._tell()

    def _record(self, key: Key, before: Object | None, after: Object | None) -> None:
        self.revision += 1
        self._changes.append(Change(self.revision, key, before, after))
        if len(self._changes) > 2 * self._forget_after:
            del self._changes[: self._forget_after]
            self.compacted += self._forget_after
        self._tell()

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()
