"""The kinds of object that the double serves: a few of Kubernetes' own, and any that a CRD describes.

Kubernetes' own kinds are described by the same structural schemas as custom ones, only shorter: what is not named
here is dropped, as the real server drops unknown fields.
"""

from typing import NamedTuple

from fake_kubernetes.documents import Json, Object, at, items, mapping, number, text


class Column(NamedTuple):
    """One of a CRD's printer columns. Priority above 0: only with `kubectl get -o wide`."""

    name: str
    type: str
    json_path: str
    priority: int = 0


class Kind(NamedTuple):
    """One kind in one version."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    custom: bool = False
    status_subresource: bool = False
    has_generation: bool = False
    """`metadata.generation` counts the changes of the spec."""
    created_by_put: bool = False
    """PUT of an object that is not there makes it."""
    replaced_blindly: bool = False
    """PUT without a resourceVersion is accepted."""
    schema: Object = {"type": "object"}  # noqa: RUF012 - a NamedTuple's default; documents are never changed in place
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    """The fields that a fieldSelector may name besides metadata.name and metadata.namespace."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name in messages, and of the storage that all versions share."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def preserved() -> Object:
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def map_of(value: Object) -> Object:
    return {"type": "object", "additionalProperties": value}


def fields(**properties: Json) -> Object:
    return {"type": "object", "properties": properties}


TEXT: Object = {"type": "string", "nullable": True}
NUMBER: Object = {"type": "integer", "nullable": True}
MICRO_TIME: Object = TEXT | {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$"}

METADATA = fields(
    name=TEXT,
    generateName=TEXT,
    namespace=TEXT,
    uid=TEXT,
    resourceVersion=TEXT,
    generation=NUMBER,
    creationTimestamp=TEXT,
    deletionTimestamp=TEXT,
    deletionGracePeriodSeconds=NUMBER,
    labels=map_of(TEXT) | {"nullable": True},
    annotations=map_of(TEXT) | {"nullable": True},
    finalizers={"type": "array", "items": TEXT, "nullable": True},
    ownerReferences={
        "type": "array",
        "nullable": True,
        "items": fields(
            apiVersion=TEXT,
            kind=TEXT,
            name=TEXT,
            uid=TEXT,
            controller={"type": "boolean"},
            blockOwnerDeletion={"type": "boolean"},
        ),
    },
)

NAMESPACE = Kind(
    "", "v1", "namespaces", "Namespace", "namespace",
    short_names=("ns",),
    namespaced=False,
    status_subresource=True,
    replaced_blindly=True,
    schema=fields(spec=preserved(), status=preserved()),
    selectable=("status.phase",),
)  # fmt: skip

SECRET = Kind(
    "", "v1", "secrets", "Secret", "secret",
    replaced_blindly=True,
    schema=fields(
        type=TEXT,
        immutable={"type": "boolean", "nullable": True},
        data=map_of(TEXT | {"format": "byte"}) | {"nullable": True},
        stringData=map_of(TEXT) | {"nullable": True},
    ),
    selectable=("type",),
)  # fmt: skip

QUOTA = Kind(
    "", "v1", "resourcequotas", "ResourceQuota", "resourcequota",
    short_names=("quota",),
    status_subresource=True,
    replaced_blindly=True,
    schema=fields(spec=fields(hard=map_of(TEXT)), status=preserved()),
)  # fmt: skip

EVENT = Kind(
    "", "v1", "events", "Event", "event",
    short_names=("ev",),
    created_by_put=True,
    replaced_blindly=True,
    schema={**preserved(), "properties": {"eventTime": MICRO_TIME}},
    selectable=("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                "involvedObject.apiVersion", "reason", "type", "source"),
)  # fmt: skip

NEW_EVENT = EVENT._replace(
    group="events.k8s.io",
    selectable=("regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "reason", "type"),
)

LEASE = Kind(
    "coordination.k8s.io", "v1", "leases", "Lease", "lease",
    created_by_put=True,
    schema=fields(
        spec=fields(
            holderIdentity=TEXT,
            leaseDurationSeconds=NUMBER,
            acquireTime=MICRO_TIME,
            renewTime=MICRO_TIME,
            leaseTransitions=NUMBER,
        )
    ),
)  # fmt: skip

DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "customresourcedefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    namespaced=False,
    status_subresource=True,
    has_generation=True,
    schema=fields(spec=preserved(), status=preserved()),
)  # fmt: skip


def workload(plural: str, kind: str, short_name: str) -> Kind:
    """One of the kinds of apps/v1. Its spec is stored as it is: no defaults, no checks, no pods."""
    return Kind(
        "apps", "v1", plural, kind, kind.lower(),
        short_names=(short_name,),
        categories=("all",),
        status_subresource=True,
        has_generation=True,
        replaced_blindly=True,
        schema=fields(spec=preserved(), status=preserved()),
    )  # fmt: skip


DEPLOYMENT = workload("deployments", "Deployment", "deploy")
STATEFUL_SET = workload("statefulsets", "StatefulSet", "sts")
DAEMON_SET = workload("daemonsets", "DaemonSet", "ds")

BUILT_IN = (NAMESPACE, SECRET, QUOTA, EVENT, NEW_EVENT, LEASE, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, DEFINITION)


def defined_by(crd: Object) -> list[Kind]:
    """List the kinds that a CustomResourceDefinition adds, one for each version that it serves."""
    spec = mapping(crd, "spec")
    names = mapping(spec, "names")
    kind = text(names, "kind")
    return [
        Kind(
            group=text(spec, "group"),
            version=text(version, "name"),
            plural=text(names, "plural"),
            kind=kind,
            singular=text(names, "singular") or kind.lower(),
            short_names=strings(names, "shortNames"),
            categories=strings(names, "categories"),
            namespaced=text(spec, "scope") != "Cluster",
            custom=True,
            has_generation=True,
            status_subresource=isinstance(at(version, "subresources", "status"), dict),
            schema=mapping(version, "schema", "openAPIV3Schema"),
            columns=tuple(column(each) for each in items(version, "additionalPrinterColumns")) or AGE_ONLY,
            selectable=tuple(text(each, "jsonPath").removeprefix(".") for each in items(version, "selectableFields")),
        )
        for version in items(spec, "versions")
        if at(version, "served") is True
    ]


AGE_ONLY = (Column("Age", "date", ".metadata.creationTimestamp"),)


def column(described: Json) -> Column:
    return Column(
        text(described, "name"), text(described, "type"), text(described, "jsonPath"), number(described, "priority")
    )


def strings(value: Json, *path: str) -> tuple[str, ...]:
    return tuple(each for each in items(value, *path) if isinstance(each, str))
