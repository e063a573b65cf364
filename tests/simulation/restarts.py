"""Judge the restarts of workloads, by the history of the Secrets, the definitions and the workloads alone."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from fake_kubernetes.documents import Object, items, mapping, text
from fake_kubernetes.storage import Change, Key
from tests.definitions import condition_of
from tests.simulation.servers import DEFINITIONS, DEPLOYMENTS
from tests.simulation.workload import GROUP

RECORD = f"{GROUP}/rollout-restart"
"""Annotation on a Secret: the revision of its data, and the targets then."""
RESTARTED_FOR = f"{GROUP}/restarted-for"
"""Annotation on a pod template: the revisions that it was restarted for, by Secret."""


class _Record(NamedTuple):
    revision: str
    targets: frozenset[str]
    at: int
    """The revision of the storage."""


class Restarts:
    """Follows every change of the servers."""

    def __init__(self) -> None:
        self._existed: set[Key] = set()
        """All Secrets that there ever were."""
        self._recorded: dict[Key, dict[str, _Record]] = {}
        """Every revision of each Secret."""
        self._restarted: dict[Key, set[tuple[str, str]]] = {}
        """All pairs of Secret and revision that each workload was restarted for."""
        self._created: dict[Key, int] = {}
        """The revision of the storage in which each workload was created."""
        self._edited: dict[Key, int] = {}
        """The revision of the storage of the last edit of each definition."""

    def changed(self, change: Change, *, by_program: bool) -> Iterator[str]:
        """Follow a change, and describe what must not be."""
        match change.key.resource:
            case "secrets":
                if by_program:
                    yield from self._secret_changed(change)
                self._existed.add(change.key)
            case name if name == DEPLOYMENTS and by_program:
                yield from self._restarted_once(change)
            case name if name == DEPLOYMENTS and change.before is None:
                self._created[change.key] = change.revision
                self._restarted.pop(change.key, None)
            case name if name == DEFINITIONS and not by_program and _spec(change.before) != _spec(change.after):
                self._edited[change.key] = change.revision
            case _:
                pass

    def differences(
        self, definitions: dict[Key, Object], secrets: dict[Key, Object], workloads: dict[Key, Object]
    ) -> Iterator[str]:
        """Describe, once the program has converged, the restarts that are missing, and conditions that are wrong."""
        for key, definition in definitions.items():
            targets = _targets(definition)
            condition = condition_of(definition, "RolloutRestart")
            gone = {name for name in targets if Key(DEPLOYMENTS, key.namespace, name) not in workloads}
            found = text(condition, "status"), text(condition, "reason")
            allowed = {("True", "UpToDate")} | ({("False", "TargetNotFound")} if gone else set())
            if (found not in allowed) if targets else condition is not None:
                yield f"{key.namespace}/{key.name} has RolloutRestart {found} for {sorted(targets)}"
            place = Key("secrets", key.namespace, text(definition, "spec", "name"))
            secret = secrets.get(place)
            if secret is None or text(secret, "metadata", "labels", f"{GROUP}/owner") != text(
                definition, "metadata", "uid"
            ):
                continue
            revision, recorded = _record(secret)
            record = self._recorded.get(place, {}).get(revision)
            if record is None or self._edited.get(key, 0) > record.at:
                continue
            for name in sorted(targets & recorded - gone):
                workload = Key(DEPLOYMENTS, key.namespace, name)
                if self._created[workload] > record.at:  # it has begun with the new data
                    continue
                if (place.name, revision) not in self._restarted.get(workload, set()):
                    yield f"{key.namespace}/{name} was not restarted for {place.name} of {revision}"

    def _secret_changed(self, change: Change) -> Iterator[str]:
        """Expect a new revision with new data alone, and none with the first Secret of a name."""
        revision, targets = _record(change.after)
        if not revision or revision == _record(change.before)[0]:
            return
        if change.before is None and change.key not in self._existed:
            yield f"{change.key.name} has a revision from the first on"
        if change.before is not None and mapping(change.before, "data") == mapping(change.after, "data"):
            yield f"{change.key.name} gets a revision, and its data stays"
        record = _Record(revision, frozenset(targets), change.revision)
        self._recorded.setdefault(change.key, {}).setdefault(revision, record)

    def _restarted_once(self, change: Change) -> Iterator[str]:
        """Expect that a workload is restarted for a revision of its Secret that it was not restarted for before."""
        place = f"{change.key.namespace}/{change.key.name}"
        new = _pairs(change.after) - _pairs(change.before)
        known = self._restarted.setdefault(change.key, set())
        if not new - known:
            yield f"{place} is restarted again for {sorted(_pairs(change.after))}"
        for secret, revision in sorted(new):
            record = self._recorded.get(Key("secrets", change.key.namespace, secret), {}).get(revision)
            if record is None or change.key.name not in record.targets:
                yield f"{place} is restarted for {revision}, which is none of {secret} for it"
        known |= new


def _spec(definition: Object | None) -> Object:
    return mapping(definition, "spec")


def _targets(definition: Object) -> set[str]:
    return {text(each, "name") for each in items(definition, "spec", "rolloutRestartTargets")}


def _record(secret: Object | None) -> tuple[str, set[str]]:
    revision, _, names = text(secret, "metadata", "annotations", RECORD).partition(";")
    return revision, {name.partition("/")[2] for name in names.split(",") if name}


def _pairs(workload: Object | None) -> set[tuple[str, str]]:
    """Return each Secret with the revision that a workload was restarted for."""
    content = text(workload, "spec", "template", "metadata", "annotations", RESTARTED_FOR)
    return {*msgspec.json.decode(content, type=dict[str, str]).items()} if content else set()
