"""What the program must never do to a Secret, judged by the server's own history after the fact.

Each rule checks one write of the program and at the cluster as it was just before it; none asks the program's code.
"""

from collections.abc import Iterable

from fake_kubernetes.documents import Object, at, items, mapping, text, without
from fake_kubernetes.storage import Change, Key, Storage
from tests.managed_fields import MERGER, managers

GROUP = "secrets-manager.tuenti.io"
DEFINITIONS = f"secretdefinitions.{GROUP}"
MARKS_OF_THE_ORIGINAL = ("app.kubernetes.io/managed-by", "secrets-manager")


def violations(storage: Storage, writes: Iterable[Change], *, read_at: int | None = None) -> list[str]:
    """What was done that must never be, in words. `read_at` is when definitions were read, if not just before."""
    return [
        f"{problem}: {change.key.name} at revision {change.revision}"
        for change in writes
        if change.key.resource == "secrets" and change.before is not None
        for problem in _problems(storage, change, change.before, change.revision - 1 if read_at is None else read_at)
    ]


def takeovers(storage: Storage, writes: Iterable[Change]) -> list[str]:
    """Which Secrets were taken from a definition that still wants its own, in words."""
    return [
        f"{change.key.name} was taken from {' and '.join(names)} at revision {change.revision}"
        for change in writes
        if (names := robbed(storage, change))
    ]


def robbed(storage: Storage, write: Change) -> list[str]:
    """The names of the definitions that a write takes a Secret from though they want it."""
    if write.key.resource != "secrets" or write.before is None or write.after is None:
        return []
    had = holders(write.key, write.before, storage.objects(DEFINITIONS, revision=write.revision - 1))
    return [] if _is_marked_for(had.values(), write.before, write.after) else sorted(had)


def holders(key: Key, secret: Object, definitions: dict[Key, Object]) -> dict[str, Object]:
    """Return the definitions that have a Secret and want it, by name."""
    return {
        place.name: definition
        for place, definition in definitions.items()
        if _names(definition, place, key)
        and (_owns(definition, secret) or _made(place, secret))
        and not _merges(definition)
        and not text(definition, "metadata", "deletionTimestamp")
    }


def _is_marked_for(definitions: Iterable[Object], before: Object, after: Object) -> bool:
    """Whether the label names one of the definitions, or is as before."""
    was, is_ = (text(each, "metadata", "labels", f"{GROUP}/owner") for each in (before, after))
    return is_ == was or is_ in {text(each, "metadata", "uid") for each in definitions}


def _problems(storage: Storage, change: Change, before: Object, read_at: int) -> Iterable[str]:
    definitions = storage.objects(DEFINITIONS, revision=read_at)
    if not _is_ours(change.key, before, definitions):
        if change.after is None:
            yield "a foreign Secret was deleted"
        elif not _is_merge(change, before, change.after, definitions):
            yield "a foreign Secret was overwritten"
    elif change.after is None and not _may_delete(storage, change, before, definitions):
        yield "a Secret that is wanted was deleted"
    for name in _left_early(storage, change, before, change.after, definitions) if change.after is not None else ():
        yield f"the keys of {name} were removed before they were elsewhere"


def _is_ours(key: Key, secret: Object, definitions: dict[Key, Object]) -> bool:
    """By owner, by our label, by the marks of the Go original, or since a user gives it away."""
    owners = items(secret, "metadata", "ownerReferences")
    managing = [owner for owner in owners if at(owner, "controller")]
    if managing:
        return all(text(owner, "kind") == "SecretDefinition" for owner in managing)
    labels, (label, value) = mapping(secret, "metadata", "labels"), MARKS_OF_THE_ORIGINAL
    inherited = (
        {"managedBy", "lastUpdatedAt"} <= labels.keys()
        or labels.get(label) == value
        or at(secret, "metadata", "annotations", f"{GROUP}/lastUpdateTime")
    )
    given_away = any(
        _names(definition, place, key) and _adopts(definition) and not _merges(definition)
        for place, definition in definitions.items()
    )
    return f"{GROUP}/owner" in labels or bool(inherited and not owners) or given_away


def _is_merge(change: Change, before: Object, after: Object, definitions: dict[Key, Object]) -> bool:
    """Whether keys alone were written, and none that others have, unless a user gives those away."""
    bookkeeping = ("managedFields", "resourceVersion")
    were, are = mapping(before, "data"), mapping(after, "data")
    rest = [
        without(state, "data") | {"metadata": without(mapping(state, "metadata"), *bookkeeping)}
        for state in (before, after)
    ]
    touched = {key for key in were.keys() | are.keys() if were.get(key) != are.get(key)}
    ours = {key for key in touched if _managers(before, key, ours=True)}
    theirs = {key for key in touched if _managers(before, key, ours=False)}
    removed = {key for key in touched if key not in are}
    given_away = any(
        _names(definition, place, change.key) and _merges(definition) and _adopts(definition)
        for place, definition in definitions.items()
    )
    return rest[0] == rest[1] and removed <= ours and (given_away or not theirs)


def _left_early(
    storage: Storage, change: Change, before: Object, after: Object, definitions: dict[Key, Object]
) -> list[str]:
    """The definitions whose keys a write removes, though what they merge into now has never been there.

    A definition that has the whole Secret replaces its content, and one that adopts keys takes them from others.
    """
    if any(_names(each, place, change.key) and not _merges(each) for place, each in definitions.items()):
        return []
    adopted = {
        key
        for place, definition in definitions.items()
        if _names(definition, place, change.key) and _adopts(definition)
        for key in managers(after).get(f"{MERGER}{place.name}", ())
    }
    return [
        place.name
        for place, definition in definitions.items()
        if place.namespace == change.key.namespace
        and _merges(definition)
        and not _names(definition, place, change.key)
        and not _has_keys(after, place.name)
        and not adopted.issuperset(managers(before).get(f"{MERGER}{place.name}", ()))
        and not _has_another(storage, change, definition)
    ]


def _has_keys(secret: Object, definition: str) -> bool:
    """Whether the manager of a definition has keys."""
    return bool(managers(secret).get(f"{MERGER}{definition}"))


def _managers(secret: Object, key: str, *, ours: bool) -> bool:
    """Whether managers of ours, or others, have the key."""
    return any(key in keys and name.startswith(MERGER) is ours for name, keys in managers(secret).items())


def _adopts(definition: Object) -> bool:
    return at(definition, "metadata", "annotations", f"{GROUP}/adopt") == "true"


def _merges(definition: Object) -> bool:
    return at(definition, "spec", "creationPolicy") == "Merge"


def _may_delete(storage: Storage, change: Change, secret: Object, definitions: dict[Key, Object]) -> bool:
    """Only what a definition that is there no longer wants in this form or under this name."""
    return any(
        text(definition, "metadata", "deletionTimestamp")
        or _wants_another_form(definition, secret)
        or _has_another(storage, change, definition)
        for place, definition in definitions.items()
        if _owns(definition, secret) or _follows(place, change.key, secret) or _names(definition, place, change.key)
    )


def _wants_another_form(definition: Object, secret: Object) -> bool:
    same_name = text(definition, "spec", "name") == text(secret, "metadata", "name")
    another_type = (text(definition, "spec", "type") or "Opaque") != text(secret, "type")
    return same_name and (another_type or bool(at(secret, "immutable")))


def _has_another(storage: Storage, change: Change, definition: Object) -> bool:
    """Whether the Secret of the name that is wanted now has been there: the new one comes before the old one goes.

    Others may have deleted it since: a write and a deletion are two requests.
    """
    name, since = text(definition, "spec", "name"), int(text(definition, "metadata", "resourceVersion"))
    wanted = change.key._replace(name=name)
    states = [storage.get(wanted, revision=change.revision - 1)]
    states += [
        each.before
        for each in storage.changes_after(max(since, storage.compacted))
        if each.key == wanted and each.revision < change.revision
    ]
    return name != change.key.name and any(
        state is not None and (_owns(definition, state) or _merges(definition)) for state in states
    )


def _owns(definition: Object, secret: Object) -> bool:
    """By owner, or by our label where the Secret has no managing owner: an orphan."""
    uid, owners = text(definition, "metadata", "uid"), items(secret, "metadata", "ownerReferences")
    orphan = not any(at(owner, "controller") for owner in owners)
    by_label = orphan and at(secret, "metadata", "labels", f"{GROUP}/owner") == uid
    return by_label or any(text(owner, "uid") == uid for owner in owners)


def _made(place: Key, secret: Object) -> bool:
    """Whether a Secret without a managing owner says that the definition of this name has made it."""
    managed = any(at(owner, "controller") for owner in items(secret, "metadata", "ownerReferences"))
    return not managed and text(secret, "metadata", "annotations", f"{GROUP}/definition") == place.name


def _follows(place: Key, key: Key, secret: Object) -> bool:
    """Whether the Secret's definition is an earlier one of this name, which must be gone."""
    owners = (text(owner, "name") for owner in items(secret, "metadata", "ownerReferences") if at(owner, "controller"))
    return place.namespace == key.namespace and place.name in owners


def _names(definition: Object, place: Key, secret: Key) -> bool:
    return place.namespace == secret.namespace and text(definition, "spec", "name") == secret.name
