"""Labels and annotations of the Secret: those copied from its definition, those in its spec, and our own.

Tools such as Argo CD mark the objects that they manage, and prune marked objects that are in no manifest: a copied mark
would get the Secret deleted. By Kubernetes' rules automation must use names with a prefix, and names without one are
private to the user (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
So names without a prefix are copied, and of the others those that the annotation `copy` of the definition lists.

Everything else on the Secret is foreign and survives. The copied names are recorded on the Secret, so that a name that
is not copied any more can be distinguished from a foreign one, also by the next process.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from secrets_manager.controller.definition import COPY, SecretDefinition
from secrets_manager.controller.names import is_ours
from secrets_manager.controller.rules import GROUP, MANAGED_BY
from secrets_manager.controller.secret import OWNER
from secrets_manager.controller.spec import CreationPolicy, SecretMetadata, Spec
from secrets_manager.kube.objects import ObjectMeta

MANAGED_BY_VALUE = "secrets-manager"
LAST_UPDATE = f"{GROUP}/lastUpdateTime"
COPIED = f"{GROUP}/copied"
ORPHAN_OF = f"{GROUP}/definition"
"""Annotation on a Secret without an ownerReference of ours: the name of its definition."""
COPY_NONE = "false"


class Metadata(NamedTuple):
    """The labels and annotations that the Secret must have."""

    labels: dict[str, str]
    annotations: dict[str, str]


def desired_metadata(definition: SecretDefinition) -> Metadata:
    """Return the copied metadata and our own, without the time of the last write."""
    metadata, written = definition.metadata, _written(definition)
    copy = metadata.annotations.get(COPY, "") if written.copy else COPY_NONE
    labels = _copied(metadata.labels, copy) | written.labels
    annotations = _copied(metadata.annotations, copy) | written.annotations
    record = {COPIED: _record(labels, annotations)} if labels or annotations else {}
    if is_orphaned(definition):
        record[ORPHAN_OF] = metadata.name
    return Metadata(
        labels=labels | {MANAGED_BY: MANAGED_BY_VALUE, OWNER: definition.metadata.uid},
        annotations=annotations | record,
    )


def is_orphaned(definition: SecretDefinition) -> bool:
    """Whether the Secret gets no ownerReference."""
    return isinstance(definition.spec, Spec) and definition.spec.creation_policy == CreationPolicy.ORPHAN


def metadata_diff(current: ObjectMeta, desired: Metadata) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Return the changes of labels and annotations for a merge patch; None removes a name."""
    copied_labels, copied_annotations = _recorded(current.annotations.get(COPIED, ""))
    copied_annotations += [name for name in (COPIED, ORPHAN_OF) if name not in desired.annotations]
    return (
        _changes(current.labels, desired.labels, copied_labels),
        _changes(current.annotations, desired.annotations, copied_annotations),
    )


def _written(definition: SecretDefinition) -> SecretMetadata:
    return definition.spec.metadata if isinstance(definition.spec, Spec) else SecretMetadata()


def _changes(
    current: Mapping[str, str], desired: Mapping[str, str], previously_copied: Iterable[str]
) -> dict[str, str | None]:
    stale = {name: None for name in previously_copied if name in current and name not in desired}
    return stale | {name: text for name, text in desired.items() if current.get(name) != text}


def _copied(marks: Mapping[str, str], copy: str) -> dict[str, str]:
    """Return what is copied. `copy` is the value of the definition's annotation."""
    if copy == COPY_NONE:
        return {}
    listed = {name.strip() for name in copy.split(",")}
    return {name: text for name, text in marks.items() if not is_ours(name) and _is_copied(name, listed)}


def _is_copied(name: str, listed: set[str]) -> bool:
    prefix, slash, _ = name.partition("/")
    return not slash or name in listed or f"{prefix}/*" in listed


def _record(labels: Iterable[str], annotations: Iterable[str]) -> str:
    return ";".join(",".join(sorted(names)) for names in (labels, annotations))


def _recorded(record: str) -> tuple[list[str], list[str]]:
    """Parse a record. Names contain neither ',' nor ';'. A broken record has fewer names, at worst none."""
    labels, _, annotations = record.partition(";")
    return _names(labels), _names(annotations)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name and not is_ours(name)]
