"""The objects of one kind as the cluster has them, by key and by index.

Two hands write here. The reflector puts in what the watch tells. The reconciler puts in the replies to its own writes,
so that it reads what it wrote, and the watch's echo of them is no news. That is safe as long as every such write
carried the resourceVersion that had been read (or was a create): the server would have refused it had anybody else
changed the object meanwhile, so the reply holds nothing but what was known and what we wrote ourselves. A reply to a
write without a resourceVersion must not be put in: a foreign change could hide in it, and its own event would then
pass as old.

The two hands are not in step, so each change is judged by its resourceVersion: what is older than what is known here
changes nothing. That holds for objects that are not there, too, or a reply that comes late would bring one back from
the dead: what a full list didn't have was gone at the list's version, and later removals are remembered for a while.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from secrets_manager.kube.objects import KubeObject, ObjectKey

T = TypeVar("T", bound=KubeObject)

REMEMBERED_REMOVALS = 1_000
"""Far more than can happen while a reply is on its way."""


class Change(NamedTuple, Generic[T]):
    """One object before and after; None where there was or is none. A new uid is a new object under the old name."""

    old: T | None
    new: T | None


class Store(Generic[T]):
    """A map from key to object, with named indices such as client-go's Indexer has.

    An index maps an object to any number of strings; `by` finds all objects that have one of them.
    """

    def __init__(self, *, indices: Mapping[str, Callable[[T], Iterable[str]]] | None = None) -> None:
        self._objects: dict[ObjectKey, T] = {}
        self._indices = {name: _Index(strings_of) for name, strings_of in (indices or {}).items()}
        self._removed_at: dict[ObjectKey, str] = {}
        self._listed_at: dict[str, str] = {}

    def get(self, key: ObjectKey) -> T | None:
        return self._objects.get(key)

    def by(self, index: str, value: str) -> list[T]:
        """All objects for which the index gives this value. Raises: KeyError if there is no such index."""
        return [self._objects[key] for key in self._indices[index].keys_of(value)]

    def keys(self) -> list[ObjectKey]:
        return list(self._objects)

    def __iter__(self) -> Iterator[T]:
        """Go through the objects of this moment: changes during the iteration don't disturb it."""
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return f"<Store of {len(self)} objects>"

    def apply(self, obj: T) -> Change[T] | None:
        """Put in an object as the server has just shown it, unless that is old. Returns what changed, if anything."""
        key, version = obj.metadata.key, obj.metadata.resource_version
        known = self._known_version(key)
        if version == known or is_older(version, than=known):
            return None
        return self._put(obj)

    def remove(self, key: ObjectKey, resource_version: str) -> Change[T] | None:
        """Take out an object that went at this version, unless a later one of that name is known already."""
        if is_older(resource_version, than=self._known_version(key)):
            return None
        self._removed_at.pop(key, None)
        self._removed_at[key] = resource_version
        if len(self._removed_at) > REMEMBERED_REMOVALS:
            del self._removed_at[next(iter(self._removed_at))]
        return self._drop(key)

    def replace(
        self, objects: Iterable[T], *, namespace: str, resource_version: str, keep: Collection[ObjectKey] = ()
    ) -> list[Change[T]]:
        """Make one namespace (empty: all of them) equal to a full list of it, taken at this version.

        A full list is the truth whatever its versions say, for a server restored from a backup counts anew. Where it
        is older than a write of our own, the watch that goes on from the list's version tells of that write again.
        What is in `keep` stays as it is.
        """
        listed = {obj.metadata.key: obj for obj in objects}
        gone = [key for key in self._objects if _is_in(namespace, key) and key not in listed and key not in keep]
        removals = [self._drop(key) for key in gone]
        arrivals = [self._put(obj) for key, obj in listed.items() if not _is_same(self._objects.get(key), obj)]
        self._removed_at = {key: at for key, at in self._removed_at.items() if not _is_in(namespace, key)}
        self._listed_at[namespace] = resource_version
        return [change for change in removals + arrivals if change]

    def _known_version(self, key: ObjectKey) -> str:
        """Tell the version of the object, or at which it went, or else one before all others."""
        if key in self._objects:
            return self._objects[key].metadata.resource_version
        listed_at = self._listed_at.get(key.namespace, self._listed_at.get("", "0"))
        return self._removed_at.get(key, listed_at)

    def _put(self, obj: T) -> Change[T]:
        key = obj.metadata.key
        old = self._objects.get(key)
        self._objects[key] = obj
        self._removed_at.pop(key, None)
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
    """Finds keys by the strings that a function gives for their objects."""

    def __init__(self, strings_of: Callable[[T], Iterable[str]]) -> None:
        self._strings_of = strings_of
        self._keys: defaultdict[str, dict[ObjectKey, None]] = defaultdict(dict)

    def keys_of(self, value: str) -> Iterable[ObjectKey]:
        return self._keys.get(value, ())

    def change(self, key: ObjectKey, old: T | None, new: T | None) -> None:
        before = set(self._strings_of(old)) if old is not None else set()
        after = set(self._strings_of(new)) if new is not None else set()
        for value in before - after:
            del self._keys[value][key]
            if not self._keys[value]:
                del self._keys[value]
        for value in after - before:
            self._keys[value][key] = None


def is_older(version: str, *, than: str) -> bool:
    """Whether one resourceVersion was given before another of the same kind of object.

    Kubernetes numbers them and promises their order since 1.35 (KEP-5504); those of a server that doesn't are only
    equal or different, and the one that came last counts.
    """
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def _is_in(namespace: str, key: ObjectKey) -> bool:
    return namespace in ("", key.namespace)


def _is_same(known: T | None, obj: T) -> bool:
    if known is None:
        return False
    ours, theirs = known.metadata, obj.metadata
    return (ours.uid, ours.resource_version) == (theirs.uid, theirs.resource_version)
