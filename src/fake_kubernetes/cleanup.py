"""What Kubernetes' own controllers do in the background: collect orphans, empty namespaces and deleted kinds.

Like them it follows the history of changes, not the requests. The real ones take a moment; this one is at work
after every write, unless a test holds it back.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from fake_kubernetes.documents import Json, Object, at, items, mapping, text, with_metadata
from fake_kubernetes.kinds import DEFINITION, NAMESPACE, Kind
from fake_kubernetes.storage import Key, Storage

Clock: TypeAlias = Callable[[], str]
KnownKinds: TypeAlias = Mapping[tuple[str, str], Kind]
"""By apiVersion and kind, as an ownerReference names them."""


def delete(storage: Storage, key: Key, *, now: Clock) -> Object:
    """Remove an object, or mark it when finalizers or contents hold it; its last state.

    Raises: KeyError when it is not there.
    """
    document = storage.get(key)
    if document is None:
        raise KeyError(key)
    if not items(document, "metadata", "finalizers") and key.resource not in (NAMESPACE.resource, DEFINITION.resource):
        storage.remove(key)
        return document
    if text(document, "metadata", "deletionTimestamp"):
        return document
    generation = at(document, "metadata", "generation")
    doomed = with_metadata(
        document,
        deletionTimestamp=now(),
        deletionGracePeriodSeconds=0,
        generation=generation + 1 if isinstance(generation, int) else None,
    )
    if key.resource == NAMESPACE.resource:
        doomed |= {"status": {"phase": "Terminating"}}
    return storage.put(key, doomed)


def orphan(storage: Storage, owner: str, *, kinds: KnownKinds) -> None:
    """Take the owner's uid out of every object that names it, so that they stay when it goes."""
    for resource in resources_of(kinds):
        for key, document in tuple(storage.objects(resource).items()):
            owners = items(document, "metadata", "ownerReferences")
            rest: list[Json] = [each for each in owners if text(each, "uid") != owner]
            if len(rest) < len(owners):
                storage.put(key, with_metadata(document, ownerReferences=rest or None))


def resources_of(kinds: KnownKinds) -> list[str]:
    return sorted({kind.resource for kind in kinds.values()})


class Cleanup:
    """Holds its place in the history; call `run` after a change."""

    def __init__(self, storage: Storage, *, now: Clock) -> None:
        self._storage = storage
        self._now = now
        self._seen = storage.revision
        self._dependents: dict[str, set[Key]] = {}
        """By the owner's uid: which objects named it once; whether they still do is looked up."""

    def __repr__(self) -> str:
        return f"Cleanup(seen={self._seen})"

    @property
    def is_due(self) -> bool:
        return self._seen < self._storage.revision

    def run(self, kinds: KnownKinds) -> None:
        """Act until there is nothing left to do."""
        while self.is_due:
            suspects = self._suspects(kinds)
            self._seen = self._storage.revision
            for key in suspects:
                self._collect(key, kinds)
            self._empty_namespaces(kinds)
            self._remove_kinds()

    def _suspects(self, kinds: KnownKinds) -> list[Key]:
        """List what may have lost its owners: what was written, and what named something that was removed."""
        found: dict[Key, None] = {}
        if self._seen < self._storage.compacted:
            for resource in resources_of(kinds):
                for key, document in self._storage.objects(resource).items():
                    self._note_owners(key, document)
                    found[key] = None
            return list(found)
        for change in self._storage.changes_after(self._seen):
            if self._note_owners(change.key, change.after):
                found[change.key] = None
            if change.after is None:
                found |= dict.fromkeys(sorted(self._dependents.pop(text(change.before, "metadata", "uid"), ())))
        return list(found)

    def _note_owners(self, key: Key, document: Object | None) -> bool:
        """Remember whose dependent an object is. Return whether it has owners."""
        owners = items(document, "metadata", "ownerReferences")
        for owner in owners:
            self._dependents.setdefault(text(owner, "uid"), set()).add(key)
        return bool(owners)

    def _collect(self, key: Key, kinds: KnownKinds) -> None:
        """Delete the object when it has owners and all of them are gone; drop the names of those that are."""
        document = self._storage.get(key)
        if document is None or text(document, "metadata", "deletionTimestamp"):
            return
        owners = items(document, "metadata", "ownerReferences")
        alive: list[Json] = [owner for owner in owners if self._exists(owner, key.namespace, kinds)]
        if len(alive) == len(owners):
            return
        if alive:
            self._storage.put(key, with_metadata(document, ownerReferences=alive))
        else:
            delete(self._storage, key, now=self._now)

    def _exists(self, owner: Json, namespace: str, kinds: KnownKinds) -> bool:
        """Look for an owner; one of an unknown kind counts as there: the real collector dares nothing then either."""
        found = kinds.get((text(owner, "apiVersion"), text(owner, "kind")))
        if found is None:
            return True
        key = Key(found.resource, namespace if found.namespaced else "", text(owner, "name"))
        document = self._storage.get(key)
        return document is not None and text(document, "metadata", "uid") == text(owner, "uid")

    def _empty_namespaces(self, kinds: KnownKinds) -> None:
        for key, namespace in tuple(self._storage.objects(NAMESPACE.resource).items()):
            if not text(namespace, "metadata", "deletionTimestamp"):
                continue
            inside = [each for resource in resources_of(kinds) for each in self._storage.objects(resource)]
            if not self._delete_all([each for each in inside if each.namespace == key.name]):
                self._storage.remove(key)

    def _remove_kinds(self) -> None:
        for key, crd in tuple(self._storage.objects(DEFINITION.resource).items()):
            if not text(crd, "metadata", "deletionTimestamp"):
                continue
            names = mapping(crd, "spec", "names")
            resource = f"{text(names, 'plural')}.{text(crd, 'spec', 'group')}"
            if not self._delete_all(list(self._storage.objects(resource))):
                self._storage.remove(key)

    def _delete_all(self, keys: list[Key]) -> bool:
        """Delete them, and tell whether finalizers hold any of them still."""
        for key in sorted(keys):
            delete(self._storage, key, now=self._now)
        return any(self._storage.get(key) is not None for key in keys)
