"""Tables, which `kubectl get` asks for instead of objects: the server decides on the columns."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from fake_kubernetes.documents import Json, Object, at, items, mapping, number, text
from fake_kubernetes.kinds import BUILT_IN, DEFINITION, EVENT, LEASE, NAMESPACE, SECRET, Column, Kind

Cell: TypeAlias = Callable[[Object, datetime], Json]

CONDITION = re.compile(r'^(?P<list>[^\[]+)\[\?\(@\.(?P<field>\w+)==["\'](?P<value>[^"\']*)["\']\)\]$')
STEP = re.compile(r"\.(?![^\[]*\])")
AGES = (
    # shown up to, whole unit, its letter, smaller unit, its letter
    (timedelta(minutes=2), timedelta(seconds=1), "s", None, ""),
    (timedelta(minutes=10), timedelta(minutes=1), "m", timedelta(seconds=1), "s"),
    (timedelta(hours=3), timedelta(minutes=1), "m", None, ""),
    (timedelta(hours=8), timedelta(hours=1), "h", timedelta(minutes=1), "m"),
    (timedelta(days=2), timedelta(hours=1), "h", None, ""),
    (timedelta(days=8), timedelta(days=1), "d", timedelta(hours=1), "h"),
    (timedelta(days=730), timedelta(days=1), "d", None, ""),
    (timedelta(days=2920), timedelta(days=365), "y", timedelta(days=1), "d"),
    (timedelta.max, timedelta(days=365), "y", None, ""),
)


class Shown(NamedTuple):
    """A column with the way to fill it."""

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    priority: int = 0


def age(since: str, now: datetime) -> str:
    """Say how long ago, the way kubectl does: 42s, 5m10s, 3d4h."""
    try:
        passed = max(now - datetime.fromisoformat(since), timedelta())
    except ValueError:
        return "<unknown>"
    for limit, unit, letter, smaller, small_letter in AGES:
        if passed < limit:
            rest = (passed % unit) // smaller if smaller else 0
            return f"{passed // unit}{letter}" + (f"{rest}{small_letter}" if rest else "")
    return "<unknown>"


def by_path(*path: str) -> Cell:
    return lambda document, _: at(document, *path)


def by_age(*path: str) -> Cell:
    return lambda document, now: age(text(document, *path), now)


def name_column(priority: int = 0) -> Shown:
    return Shown("Name", by_path("metadata", "name"), format="name", priority=priority)


def data_count(secret: Object, _: datetime) -> int:
    return len(mapping(secret, "data"))


def involved(event: Object, _: datetime) -> str:
    about = mapping(event, "involvedObject")
    return f"{text(about, 'kind').lower()}/{text(about, 'name')}"


def involved_field(event: Object, _: datetime) -> str:
    return text(event, "involvedObject", "fieldPath")


def last_seen(event: Object, now: datetime) -> str:
    times = (text(event, "series", "lastObservedTime"), text(event, "lastTimestamp"), text(event, "eventTime"))
    return age(next(filter(None, times), ""), now)


def first_seen(event: Object, now: datetime) -> str:
    return age(text(event, "firstTimestamp") or text(event, "eventTime"), now)


def event_count(event: Object, _: datetime) -> int:
    return number(event, "series", "count") or number(event, "count") or 1


def event_source(event: Object, _: datetime) -> str:
    parts = (text(event, "reportingComponent"), text(event, "reportingInstance"))
    return text(event, "source", "component") or ", ".join(filter(None, parts))


AGE = Shown("Age", by_age("metadata", "creationTimestamp"))
OWN_COLUMNS: dict[str, tuple[Shown, ...]] = {
    NAMESPACE.resource: (name_column(), Shown("Status", by_path("status", "phase")), AGE),
    SECRET.resource: (
        name_column(),
        Shown("Type", by_path("type")),
        Shown("Data", data_count),
        AGE,
    ),
    LEASE.resource: (name_column(), Shown("Holder", by_path("spec", "holderIdentity")), AGE),
    DEFINITION.resource: (name_column(), Shown("Created At", by_path("metadata", "creationTimestamp"), type="date")),
    EVENT.resource: (
        Shown("Last Seen", last_seen),
        Shown("Type", by_path("type")),
        Shown("Reason", by_path("reason")),
        Shown("Object", involved),
        Shown("Subobject", involved_field, priority=1),
        Shown("Source", event_source, priority=1),
        Shown("Message", by_path("message")),
        Shown("First Seen", first_seen, priority=1),
        Shown("Count", event_count, priority=1),
        name_column(priority=1),
    ),
}


def json_path(document: Json, path: str) -> Json:
    """Look up `.spec.name` or `.status.conditions[?(@.type=="Ready")].status`: what CRDs use of JSONPath."""
    for step in STEP.split(path.strip("{}").removeprefix(".")):
        if match := CONDITION.match(step):
            found = [each for each in items(document, match["list"]) if at(each, match["field"]) == match["value"]]
            document = found[0] if found else None
        else:
            document = at(document, step.replace("\\.", "."))
    return document


def custom(column: Column) -> Shown:
    def cell(document: Object, now: datetime) -> Json:
        value = json_path(document, column.json_path)
        if value is not None and column.type == "date":
            return age(value, now) if isinstance(value, str) else None
        return value

    return Shown(column.name, cell, type=column.type, priority=column.priority)


def columns_of(kind: Kind) -> tuple[Shown, ...]:
    if kind.custom:
        return (name_column(), *map(custom, kind.columns))
    own = next(each.resource for each in BUILT_IN if each.kind == kind.kind)
    return OWN_COLUMNS.get(own, (name_column(), AGE))


def table(kind: Kind, documents: Iterable[Object], *, now: datetime, include: str = "", headed: bool = True) -> Object:
    """Render objects in their stored form. `include` is the query's includeObject: Metadata, Object or None."""
    columns = columns_of(kind)
    heads: list[Json] = [
        {"name": each.name, "type": each.type, "format": each.format, "description": "", "priority": each.priority}
        for each in columns
    ]
    rows: list[Json] = []
    for document in documents:
        cells: list[Json] = [each.cell(document, now) for each in columns]
        row: Object = {"cells": cells}
        if include != "None":
            row["object"] = document if include == "Object" else metadata_only(document)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": heads if headed else None,
        "rows": rows,
    }


def metadata_only(document: Object) -> Object:
    metadata = mapping(document, "metadata")
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}


def timestamp(moment: datetime) -> str:
    """Write a time as metadata has it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
