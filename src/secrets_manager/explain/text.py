"""Print explanations as text: a headline for each definition, and below it what it rests on."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from secrets_manager.explain.explanation import Action, Change, Explanation, Key, SourceRead
from secrets_manager.logs import one_line

LABEL_WIDTH = 10

_MARKS = {Change.ADDED: "+", Change.CHANGED: "~", Change.REMOVED: "-", Change.SAME: " ", Change.UNKNOWN: "?"}
_CLAIMS = {
    "owned": "this definition",
    "legacy": "made by the Go original, and taken over",
    "adopted": "taken over, by the annotation adopt",
    "none": "not this definition",
}
_WOULD = {
    Action.CREATE: "would be created",
    Action.CHANGE: "would be changed",
    Action.REPLACE: "would be deleted and created again",
    Action.DELETE: "would be deleted",
    Action.UNKNOWN: "can't be compared",
}


class _Row(NamedTuple):
    label: str
    text: str


def explained(explanations: Iterable[Explanation]) -> str:
    """Return the text of `explain`."""
    return "\n".join(_block(each, _rows(each)) for each in explanations)


def planned(explanations: Iterable[Explanation]) -> str:
    """Return the text of `plan`: without what stays, and with a summary."""
    plans = list(explanations)
    blocks = [_block(each, _changes(each)) for each in plans]
    return "".join([*blocks, f"{_summary(plans)}\n"])


def _block(explanation: Explanation, rows: Iterable[_Row]) -> str:
    lines = [_headline(explanation)]
    label = ""
    for row in rows:
        shown = "" if row.label == label else row.label
        label = row.label
        lines.append(f"  {shown:{LABEL_WIDTH}}{row.text}".rstrip())
    return "".join(f"{one_line(line)}\n" for line in lines)


def _headline(each: Explanation) -> str:
    subject = f"{each.namespace}/{each.name}" if each.name else ""
    if each.location:
        subject = f"{subject} ({each.location})" if subject else each.location
    if not each.secret:
        return f"{subject}: can't be explained"
    if each.action in _WOULD:
        verdict = _WOULD[each.action]
    elif each.problem is None:
        verdict = "would stay as it is"
    else:
        verdict = "would stay as it is, as there is a problem"
    return f"{subject}: Secret {each.secret} {verdict}"


def _rows(each: Explanation) -> Iterator[_Row]:
    yield from _problems(each)
    if each.owner is not None:
        yield _Row("Owner", f"{each.owner.name} ({_CLAIMS[each.owner.claim]})")
    yield from _keys(each.keys)
    yield from _others(each)
    yield from (_Row("Sources", _source(source)) for source in each.sources)
    if each.period is not None:
        yield _Row("Reads", each.identity)
        yield _Row("Reads", f"every {each.period:g} s ({each.period_from})")
    yield from _reported(each)
    yield from _notes(each)


def _changes(each: Explanation) -> Iterator[_Row]:
    yield from _problems(each)
    if each.changes:
        yield from _keys(key for key in each.keys if key.change is not Change.SAME)
        yield from _others(each)
    yield from _notes(each)


def _problems(each: Explanation) -> Iterator[_Row]:
    if each.problem is not None:
        yield from (_Row("Problem", f"{one.reason}: {one.message}") for one in each.problems or (each.problem,))


def _keys(keys: Iterable[Key]) -> Iterator[_Row]:
    shown = list(keys)
    width = max((len(key.name) for key in shown), default=0)
    for key in shown:
        yield _Row("Keys", f"{_MARKS[key.change]} {key.name:{width}}  {_length(key)}")


def _length(key: Key) -> str:
    length = key.before if key.length is None else key.length
    shown = "1 byte" if length == 1 else f"{length} bytes"
    return f"{shown}, was {key.before}" if key.change is Change.CHANGED else shown


def _others(each: Explanation) -> Iterator[_Row]:
    yield from (_Row("Fields", f"~ {field}") for field in each.fields)
    yield from (_Row("Deletes", f"- Secret {name}, of an earlier spec.name") for name in each.deletes)
    for release in each.releases:
        yield _Row("Leaves", f"- {', '.join(release.keys)} of Secret {release.secret}, which they were merged into")
    yield from (_Row("Restarts", target) for target in each.restarts)


def _source(source: SourceRead) -> str:
    version = "" if source.version is None else f", version {source.version}"
    if source.problem:
        return f"{source.path}{version}: not read: {source.problem}"
    return f"{source.path}{version}{f', changed {source.changed}' if source.changed else ''}"


def _reported(each: Explanation) -> Iterator[_Row]:
    reported = each.reported
    if reported is not None:
        yield _Row("Reported", f"Ready is {reported.ready} since {reported.since}")
        yield _Row("Reported", f"{reported.reason}: {reported.message}")
        if not reported.current:
            yield _Row("Reported", "the controller has not seen the last edit yet")
    elif each.secret:
        yield _Row("Reported", "nothing yet: does a controller watch this namespace, and does a replica lead?")


def _notes(each: Explanation) -> Iterator[_Row]:
    yield from (_Row("Note", note) for note in each.notes)


def _summary(plans: list[Explanation]) -> str:
    def count(*actions: Action) -> int:
        return sum(each.action in actions for each in plans)

    deleted = count(Action.DELETE) + sum(len(each.deletes) for each in plans)
    return (
        f"Secrets: {count(Action.CREATE)} to create, {count(Action.CHANGE, Action.REPLACE)} to change, "
        f"{deleted} to delete. Definitions with a problem: {sum(each.problem is not None for each in plans)}"
    )
