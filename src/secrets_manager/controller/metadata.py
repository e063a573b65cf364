"""Labels and annotations of the Secret: what it takes from its definition, and what it says of itself.

Everything else on the Secret is foreign and survives. The names that were copied are recorded on the Secret, so that
one that the definition no longer has can be told from one that somebody else set, also by the next process.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from secrets_manager.controller.definition import GROUP, SecretDefinition
from secrets_manager.controller.secret import OWNER
from secrets_manager.kube.objects import ObjectMeta

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "secrets-manager"
LAST_UPDATE = f"{GROUP}/lastUpdateTime"
COPIED = f"{GROUP}/copied"

_LEFT_OUT_NAMES = frozenset({MANAGED_BY, "app.kubernetes.io/instance"})
_LEFT_OUT_DOMAINS = (
    GROUP,
    "kubectl.kubernetes.io",
    "argocd.argoproj.io",
    "helm.sh",
    "meta.helm.sh",
    "fluxcd.io",
    "config.kubernetes.io",
    "config.k8s.io",
    "kustomize.config.k8s.io",
)
"""Marks by which Argo CD, Helm, Flux and kubectl find the objects that they may prune: a copy would be pruned too."""


class Marks(NamedTuple):
    """The labels and annotations that the Secret must carry."""

    labels: dict[str, str]
    annotations: dict[str, str]


def wanted(definition: SecretDefinition) -> Marks:
    """What is copied from the definition, and who manages the Secret. The time of the last write is not among it."""
    labels = _copyable(definition.metadata.labels)
    annotations = _copyable(definition.metadata.annotations)
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


def _copyable(marks: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in marks.items() if not _left_out(name)}


def _left_out(name: str) -> bool:
    domain = name.partition("/")[0] if "/" in name else ""
    return name in _LEFT_OUT_NAMES or any(domain == left or domain.endswith(f".{left}") for left in _LEFT_OUT_DOMAINS)


def _record(labels: Iterable[str], annotations: Iterable[str]) -> str:
    return ";".join(",".join(sorted(names)) for names in (labels, annotations))


def _recorded(record: str) -> tuple[list[str], list[str]]:
    """Names can hold neither ',' nor ';'. A record that somebody has spoilt names fewer marks, at worst none."""
    labels, _, annotations = record.partition(";")
    return _names(labels), _names(annotations)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name and not _left_out(name)]
