"""Who owns which field of a Secret: `metadata.managedFields`, and the rules of server-side apply.

A field is a path of steps as in `fieldsV1` (`f:data`, `f:password`). A create, replace or patch owns what it changes; a
map is a field of its own then. An apply owns what it names, and only the ends of it: two managers may own a field whose
value they agree on. Only Secrets are tracked.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from fake_kubernetes.documents import Json, Object, at, items, mapping, text, with_metadata, without
from fake_kubernetes.kinds import SECRET, Kind
from fake_kubernetes.refusals import FieldConflict, apply_conflict

Path: TypeAlias = tuple[str, ...]
Fields: TypeAlias = dict[Path, Json]
"""The fields of an object with their values; that of a map or a list is None."""

APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
"""The manager of all existing fields, if no manager was tracked before the first apply."""
STRIPPED: tuple[Json, ...] = ([], [{}])
"""What a client writes to managedFields to have them removed."""

MAPS = (("data",), ("stringData",), ("metadata", "labels"), ("metadata", "annotations"))
SCALARS = (("type",), ("immutable",), ("metadata", "generateName"))
FINALIZERS: Path = ("f:metadata", "f:finalizers")
OWNERS: Path = ("f:metadata", "f:ownerReferences")


class Manager(NamedTuple):
    """Sorts as managedFields do."""

    operation: str
    name: str
    api_version: str


class Owned(NamedTuple):
    """What a manager owns, and when it last changed a value of that; empty if it never did."""

    fields: frozenset[Path]
    time: str = ""


Owners: TypeAlias = Mapping[Manager, Owned]


class Applied(NamedTuple):
    """What an apply makes of an object."""

    document: Object
    owners: Owners


def is_tracked(kind: Kind) -> bool:
    return kind == SECRET


def owners_of(document: Object) -> Owners:
    """Read `metadata.managedFields`."""
    return {
        Manager(text(entry, "operation"), text(entry, "manager"), text(entry, "apiVersion")): Owned(
            frozenset(_paths(mapping(entry, "fieldsV1"))), text(entry, "time")
        )
        for entry in items(document, "metadata", "managedFields")
    }


def with_owners(document: Object, owners: Owners) -> Object:
    """Write `metadata.managedFields`: who applies comes first, then by time."""
    present = {manager: owned for manager, owned in owners.items() if owned.fields}
    order = sorted(present, key=lambda manager: (manager.operation, present[manager].time, manager))
    entries: list[Json] = [_entry(manager, present[manager]) for manager in order]
    return with_metadata(document, managedFields=entries or None)


def updated(before: Object | None, after: Object, name: str, *, now: str, api_version: str) -> Owners:
    """Return the owners after a create, replace or patch. An object without tracked managers stays so."""
    was, new = _fields(before or {}), _fields(after)
    owners = dict(owners_of(before)) if before is not None else {}
    if before is not None and not owners:
        return {}
    changed = frozenset(path for path, value in new.items() if path not in was or was[path] != value)
    remaining = {each: owned._replace(fields=(owned.fields - changed) & new.keys()) for each, owned in owners.items()}
    if changed:
        manager = Manager(UPDATE, name, api_version)
        kept = remaining.get(manager, Owned(frozenset())).fields
        remaining[manager] = Owned(kept | changed, now)
    return remaining


def applied(before: Object | None, config: Object, name: str, *, force: bool, now: str, api_version: str) -> Applied:
    """Return the object with what the manager applies, and without what it alone has owned and drops now.

    Raises: Refusal (409) where others own fields that it would change, unless it forces that.
    """
    manager = Manager(APPLY, name, api_version)
    was, wanted = _fields(before or {}), _ends(_fields(config))
    owners = dict(owners_of(before)) if before is not None else {}
    if before is not None and not owners:
        owners = {Manager(UPDATE, BEFORE_FIRST_APPLY, api_version): Owned(frozenset(was), now)}
    mine = owners.pop(manager, Owned(frozenset()))
    differing = frozenset(path for path, value in wanted.items() if path not in was or was[path] != value)
    conflicts = [
        FieldConflict(_said(other), _dotted(path))
        for other, owned in sorted(owners.items(), key=lambda each: each[0].name)
        for path in sorted(owned.fields & differing)
    ]
    if conflicts and not force:
        raise apply_conflict(conflicts)
    shared = frozenset[Path]().union(*(owned.fields for owned in owners.values()))
    dropped = (mine.fields - wanted.keys() - shared) & was.keys()
    remaining = {other: owned._replace(fields=owned.fields - differing) for other, owned in owners.items()}
    time = now if differing or dropped else mine.time
    fields = {path: value for path, value in was.items() if path not in dropped} | wanted
    return Applied(_rebuilt(before or config, fields), remaining | {manager: Owned(frozenset(wanted), time)})


def _entry(manager: Manager, owned: Owned) -> Object:
    entry: Object = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version}
    if owned.time:
        entry["time"] = owned.time
    return {**entry, "fieldsType": "FieldsV1", "fieldsV1": _tree(owned.fields)}


def _said(manager: Manager) -> str:
    name = json.dumps(manager.name)
    return name if manager.operation == APPLY else f"{name} using {manager.api_version}"


def _dotted(path: Path) -> str:
    return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:]}]" for step in path)


def _fields(document: Object) -> Fields:
    found: Fields = {}
    for where in SCALARS:
        if (value := at(document, *where)) is not None:
            found[_steps(*where)] = value
    for where in MAPS:
        for key, value in mapping(document, *where).items():
            found[_steps(*where)] = None
            found[(*_steps(*where), f"f:{key}")] = value
    for finalizer in items(document, "metadata", "finalizers"):
        found[FINALIZERS] = None
        found[(*FINALIZERS, f"v:{json.dumps(finalizer)}")] = finalizer
    for owner in items(document, "metadata", "ownerReferences"):
        found[OWNERS] = None
        found[(*OWNERS, f'k:{{"uid":{json.dumps(text(owner, "uid"))}}}')] = owner
    return found


def _ends(fields: Fields) -> Fields:
    inner = {path[:-1] for path in fields}
    return {path: value for path, value in fields.items() if path not in inner}


def _rebuilt(document: Object, fields: Fields) -> Object:
    """Give the document these fields, and no others of those that are tracked."""
    result = without(document, *(where[0] for where in (*SCALARS, *MAPS) if len(where) == 1))
    metadata = without(mapping(document, "metadata"), "labels", "annotations", "finalizers", "ownerReferences")
    for path, value in _ends(fields).items():
        names = [step[2:] for step in path if step.startswith("f:")]
        home: Object = result
        if names[0] == "metadata":
            home, names = metadata, names[1:]
        if len(names) == 2:  # noqa: PLR2004 - a map and a key of it
            home[names[0]] = mapping(home, names[0]) | {names[1]: value}
        elif path[-1].startswith("f:"):
            home[names[0]] = value
        else:
            home[names[0]] = [*items(home, names[0]), value]
    return {**result, "metadata": metadata}


def _steps(*names: str) -> Path:
    return tuple(f"f:{name}" for name in names)


def _tree(fields: Iterable[Path]) -> Object:
    """Write paths as `fieldsV1`: a field that has others below it is the `.` there."""
    root: Object = {}
    owned = sorted(fields)
    inner = {path[:end] for path in owned for end in range(1, len(path))}
    for path in owned:
        node = root
        for step in path:
            below = node.setdefault(step, {})
            assert isinstance(below, dict)
            node = below
        if path in inner:
            node["."] = {}
    return root


def _paths(tree: Object, prefix: Path = ()) -> Iterable[Path]:
    if prefix and (not tree or "." in tree):
        yield prefix
    for step in tree:
        if step != ".":
            yield from _paths(mapping(tree, step), (*prefix, step))
