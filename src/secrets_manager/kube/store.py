"""A cache of the objects of one kind, by key and by index: client-go's Indexer.

The reflector writes the events of the watch. The reconciler writes the responses to its own requests, so that it reads
its own writes, and the echo from the watch is not a change. This is safe only for a create, or a write or deletion with
the resourceVersion that was read: then the response holds nothing but what was known and what we wrote. The response to
any other write must not be stored: a foreign change could hide in it, and its event would then count as old.

The two writers are not synchronized, so a change that is older than the cached version is ignored. This holds for
deleted objects too, or a late response would bring one back: an object that was not in a full list was gone at the
list's version, and the versions of later deletions are kept for a while as tombstones.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from secrets_manager.kube.objects import KubeObject, ObjectKey

T = TypeVar("T", bound=KubeObject)

MAX_TOMBSTONES = 1_000
"""Far more than the deletions while a response is in flight."""


class Change(NamedTuple, Generic[T]):
    """An object before and after a change; None where it did not exist. It may have a new uid."""

    old: T | None
    new: T | None


class Store(Generic[T]):
    """The objects, by key and by index.

    `indices` maps the name of each index to a function that returns the indexed values of an object.
    """

    def __init__(self, *, indices: Mapping[str, Callable[[T], Iterable[str]]] | None = None) -> None:
        self._objects: dict[ObjectKey, T] = {}
        self._indices = {name: _Index(strings_of) for name, strings_of in (indices or {}).items()}
        self._tombstones: dict[ObjectKey, str] = {}
        self._listed_at: dict[str, str] = {}

    def get(self, key: ObjectKey) -> T | None:
        return self._objects.get(key)

    def by_index(self, index: str, value: str) -> list[T]:
        """Return the objects with this indexed value. Raises: KeyError if there is no such index."""
        return [self._objects[key] for key in self._indices[index].keys_of(value)]

    def __iter__(self) -> Iterator[T]:
        """Iterate over a copy, so the store may change meanwhile."""
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return f"<Store of {len(self)} objects>"

    def apply(self, obj: T) -> Change[T] | None:
        """Store an object from the server, unless it is older. Returns the change, if any."""
        key, version = obj.metadata.key, obj.metadata.resource_version
        known = self._known_version(key)
        if version == known or is_older(version, than=known):
            return None
        return self._put(obj)

    def advance(self, before: T, after: T) -> None:
        """Store the result of our own write to an object, of which no one is notified.

        If the store has another state of it by now, as after a list that was older, the watch has to tell what changed.
        """
        if _is_same(self._objects.get(before.metadata.key), before):
            self.apply(after)

    def remove(self, key: ObjectKey, resource_version: str) -> Change[T] | None:
        """Remove an object deleted at this version, unless a later one is known. Returns the change, if any."""
        if is_older(resource_version, than=self._known_version(key)):
            return None
        self._tombstones.pop(key, None)
        self._tombstones[key] = resource_version
        if len(self._tombstones) > MAX_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        return self._drop(key)

    def replace(
        self, objects: Iterable[T], *, namespace: str, resource_version: str, keep: Collection[ObjectKey] = ()
    ) -> list[Change[T]]:
        """Replace the objects of a namespace (empty: of all) by a full list at this version. Returns the changes.

        The list wins whatever its versions are: a server that was restored from a backup counts from an earlier one. If
        the list is older than a write of ours, the watch from its version repeats that write. Keys in `keep` stay.
        """
        listed = {obj.metadata.key: obj for obj in objects}
        gone = [key for key in self._objects if _is_in(namespace, key) and key not in listed and key not in keep]
        removals = [self._drop(key) for key in gone]
        arrivals = [self._put(obj) for key, obj in listed.items() if not _is_same(self._objects.get(key), obj)]
        self._tombstones = {key: at for key, at in self._tombstones.items() if not _is_in(namespace, key)}
        self._listed_at[namespace] = resource_version
        return [change for change in removals + arrivals if change]

    def _known_version(self, key: ObjectKey) -> str:
        """Return the version of the object or of its deletion; else that of the last list, or 0."""
        if key in self._objects:
            return self._objects[key].metadata.resource_version
        listed_at = self._listed_at.get(key.namespace, self._listed_at.get("", "0"))
        return self._tombstones.get(key, listed_at)

    def _put(self, obj: T) -> Change[T]:
        key = obj.metadata.key
        old = self._objects.get(key)
        self._objects[key] = obj
        self._tombstones.pop(key, None)
        for index in self._indices.values():
            index.change(key, old, obj)
        return Change(old, obj)

    def _drop(self, key: ObjectKey) -> Change[T] | None:
        old = self._objects.pop(key, None)
        if old is None:
            return None
        for index in self._indices.values():
            index.change(key, old, None)
        return Change(old, None)


class _Index(Generic[T]):
    """Maps indexed values to keys."""

    def __init__(self, strings_of: Callable[[T], Iterable[str]]) -> None:
        self._strings_of = strings_of
        self._keys: defaultdict[str, dict[ObjectKey, None]] = defaultdict(dict)

    def keys_of(self, value: str) -> Iterable[ObjectKey]:
        return self._keys.get(value, ())

    def change(self, key: ObjectKey, old: T | None, new: T | None) -> None:
        before: set[str] = set(self._strings_of(old)) if old is not None else set()
        after: set[str] = set(self._strings_of(new)) if new is not None else set()
        for value in before - after:
            del self._keys[value][key]
            if not self._keys[value]:
                del self._keys[value]
        for value in after - before:
            self._keys[value][key] = None


def is_older(version: str, *, than: str) -> bool:
    """Whether one resourceVersion precedes another of the same kind.

    Kubernetes guarantees their order since 1.35 (KEP-5504). If they are not numbers, the last one received wins.
    """
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def _is_in(namespace: str, key: ObjectKey) -> bool:
    return namespace in ("", key.namespace)


def _is_same(known: T | None, obj: T) -> bool:
    if known is None:
        return False
    ours, theirs = known.metadata, obj.metadata
    return (ours.uid, ours.resource_version) == (theirs.uid, theirs.resource_version)
