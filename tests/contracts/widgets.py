"""A small custom kind for the contract tests, so that they depend on no other CRD."""

from fake_kubernetes.documents import Json, Object, at, with_metadata

GROUP = "example.org"
API_VERSION = f"{GROUP}/v1"

KEYS: Object = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["path"],
        "properties": {"path": {"type": "string"}, "encoding": {"type": "string", "default": "text"}},
    },
}
SPEC: Object = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 1},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "keys": KEYS,
    },
}
STATUS: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
COLUMNS: list[Json] = [
    {"name": "Target", "type": "string", "jsonPath": ".spec.name"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Mode", "type": "string", "jsonPath": ".spec.mode", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def manifest(
    plural: str = "widgets", kind: str = "Widget", *, status: bool = True, initially: Object | None = None
) -> Object:
    """A CRD. `initially` is the status of a new object."""
    default: Object = {"default": initially} if initially else {}
    properties: Object = {"spec": SPEC, "status": STATUS | default}
    subresources: Object = {"status": {}} if status else {}
    version: Object = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": COLUMNS,
        "selectableFields": [{"jsonPath": ".spec.name"}],
        "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": properties}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [kind[:2].lower()]},
            "versions": [version],
        },
    }


WIDGETS = manifest()
OLD_WIDGETS = manifest("gadgets", "Gadget", status=False)
"""A kind without a status subresource, as old CRDs are."""
UNOBSERVED: Object = {"observedGeneration": -1}
METERS = manifest("meters", "Meter", initially=UNOBSERVED)
"""A kind whose objects have a status from the start."""


def widget(name: str = "one", /, *, kind: str = "Widget", **spec: Json) -> Object:
    wanted: Object = {"name": "target"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": wanted | spec}


def secret(name: str = "one", *, labels: Object | None = None, **fields: Json) -> Object:
    metadata: Object = {"name": name}
    if labels:
        metadata["labels"] = labels
    document: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    return document | fields


def owned_by(document: Object, *owners: Object) -> Object:
    """Give the document ownerReferences to these objects."""
    references: list[Json] = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": at(owner, "metadata", "name"),
            "uid": at(owner, "metadata", "uid"),
        }
        for owner in owners
    ]
    return with_metadata(document, ownerReferences=references)


def event(namespace: str, name: str = "e") -> Object:
    """Say something about the widget `one`."""
    return {
        "metadata": {"name": name},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "me",
        "reportingInstance": "me-1",
        "action": "Sync",
        "reason": "Synced",
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": "Widget",
            "namespace": namespace,
            "name": "one",
            "uid": "u",
        },
        "note": "hello",
        "type": "Normal",
    }
