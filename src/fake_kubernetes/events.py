"""One Event in two dresses: stored as core/v1, shown and accepted as events.k8s.io/v1 too."""

from fake_kubernetes.documents import Object
from fake_kubernetes.kinds import EVENT, NEW_EVENT, Kind

NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
CORE_NAMES = {new: core for core, new in NEW_NAMES.items()}
CORE_DEFAULTS: Object = {
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}


def storage_kind(kind: Kind) -> Kind:
    """Name the kind in whose form the objects are kept."""
    return EVENT if kind == NEW_EVENT else kind


def stored_form(kind: Kind, document: Object) -> Object:
    if kind == NEW_EVENT:
        document = {CORE_NAMES.get(name, name): value for name, value in document.items()}
    if kind in (EVENT, NEW_EVENT):
        document = CORE_DEFAULTS | document
    kept = storage_kind(kind)
    return document | {"apiVersion": kept.api_version, "kind": kept.kind}


def shown_form(kind: Kind, document: Object) -> Object:
    if kind == NEW_EVENT:
        document = {NEW_NAMES.get(name, name): value for name, value in document.items()}
    return document | {"apiVersion": kind.api_version, "kind": kind.kind}
