"""Labels and annotations of the Secret: what it takes from its definition, and what it says of itself.

Tools find the objects that they may delete by marks, which they put on the definition. A Secret with a copy of such a
mark is one of those objects, and it is in no manifest, so they delete it. Which names are those of tools is said by
Kubernetes: automation that marks the objects of users must use a prefix, and names without one are private to the user
(https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set). So names without
a prefix are copied, and of the others those that the annotation `copy` of the definition lists.

Everything else on the Secret is foreign and survives. The names that were copied are recorded on the Secret, so that
one that is copied no longer can be told from one that somebody else set, also by the next process.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from secrets_manager.controller.definition import COPY, GROUP, SecretDefinition
from secrets_manager.controller.secret import OWNER
from secrets_manager.kube.objects import ObjectMeta

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "secrets-manager"
LAST_UPDATE = f"{GROUP}/lastUpdateTime"
COPIED = f"{GROUP}/copied"
NOTHING = "false"


class Marks(NamedTuple):
    """The labels and annotations that the Secret must carry."""

    labels: dict[str, str]
    annotations: dict[str, str]


def wanted(definition: SecretDefinition) -> Marks:
    """What is copied from the definition, and who manages the Secret. The time of the last write is not among it."""
    metadata = definition.metadata
    copy = metadata.annotations.get(COPY, "")
    labels, annotations = _copied(metadata.labels, copy), _copied(metadata.annotations, copy)
    record = {COPIED: _record(labels, annotations)} if labels or annotations else {}
    return Marks(
        labels=labels | {MANAGED_BY: MANAGER, OWNER: definition.metadata.uid},
        annotations=annotations | record,
    )


def difference(current: ObjectMeta, wish: Marks) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """What a merge patch must say of labels and of annotations; None removes a name."""
    once_labels, once_annotations = _recorded(current.annotations.get(COPIED, ""))
    if COPIED not in wish.annotations:
        once_annotations.append(COPIED)
    return (
        _changes(current.labels, wish.labels, once_labels),
        _changes(current.annotations, wish.annotations, once_annotations),
    )


def _changes(current: Mapping[str, str], wish: Mapping[str, str], once_ours: Iterable[str]) -> dict[str, str | None]:
    stale = {name: None for name in once_ours if name in current and name not in wish}
    return stale | {name: text for name, text in wish.items() if current.get(name) != text}


def _copied(marks: Mapping[str, str], copy: str) -> dict[str, str]:
    """Those that the Secret gets. `copy` is what the definition's annotation says."""
    if copy == NOTHING:
        return {}
    listed = {name.strip() for name in copy.split(",")}
    return {name: text for name, text in marks.items() if not _is_ours(name) and _is_copied(name, listed)}


def _is_copied(name: str, listed: set[str]) -> bool:
    prefix, slash, _ = name.partition("/")
    return not slash or name in listed or f"{prefix}/*" in listed


def _is_ours(name: str) -> bool:
    """Whether the name is one by which this program itself marks objects."""
    return name == MANAGED_BY or name.startswith(f"{GROUP}/")


def _record(labels: Iterable[str], annotations: Iterable[str]) -> str:
    return ";".join(",".join(sorted(names)) for names in (labels, annotations))


def _recorded(record: str) -> tuple[list[str], list[str]]:
    """Names can hold neither ',' nor ';'. A record that somebody has spoilt names fewer marks, at worst none."""
    labels, _, annotations = record.partition(";")
    return _names(labels), _names(annotations)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name and not _is_ours(name)]
