"""The spec of a SecretDefinition: what a user writes.

The CRD is generated from these structs (crd.py), the rules are in rules.py.
"""

import builtins
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from secrets_manager.backends import Source
from secrets_manager.controller import rules
from secrets_manager.controller.decode_errors import fault
from secrets_manager.durations import duration
from secrets_manager.kube.objects import Wire

Name = Annotated[str, Meta(max_length=rules.MAX_NAME)]
Globs = tuple[Name, ...]
Path = Annotated[
    str,
    Meta(
        description="Full path in the backend: secret/data/app for KV version 2, secret/app for version 1.",
        extra_json_schema=rules.validations(rules.PATH),
    ),
]
Version = Annotated[
    int | str | None,
    Meta(description="Version to stay at, a number or a text, where the backend counts them; without it, the newest."),
]


Encoding = Annotated[
    str,
    Meta(
        description="How a value is written in the backend: text (the default), base64 or base64url.",
        extra_json_schema=rules.validations(rules.ENCODING),
    ),
]


class NamedSource(Wire, frozen=True):
    """A document of the backend, which templates and dataFrom use by its name."""

    path: Path
    version: Version = None

    @property
    def source(self) -> Source:
        return _source(self.path, self.version)


class DataSource(Wire, frozen=True):
    """The source of a key of the Secret: a key that is read, or a template."""

    path: Path | None = None
    key: Annotated[str, Meta(description="Key within the path whose value is taken.")] | None = None
    encoding: Encoding = ""
    version: Version = None
    property: Annotated[
        str,
        Meta(description="Name of the field that is taken, where the value is a JSON object; without it, all of it."),
    ] = ""
    template: (
        Annotated[
            str,
            Meta(
                description="Template, in Liquid, of the value, in place of path and key: {{ db.password }} is the key "
                "password of the source db.",
                extra_json_schema=rules.validations(rules.TEMPLATE_LENGTH),
            ),
        ]
        | None
    ) = None

    @builtins.property
    def source(self) -> Source | None:
        """The source, unless there is a template."""
        return None if self.path is None else _source(self.path, self.version)


class DataFrom(Wire, frozen=True):
    """A document whose keys all become keys of the Secret."""

    path: Path | None = None
    version: Version = None
    source: (
        Annotated[
            str,
            Meta(
                description="Name of one of spec.sources, in place of path and version.",
                max_length=rules.MAX_SOURCE_NAME,
            ),
        ]
        | None
    ) = None
    include: Annotated[
        Globs,
        Meta(
            max_length=rules.MAX_GLOBS,
            description="Globs such as db_*: only keys of the document that match one are taken; without it, all.",
            extra_json_schema=rules.validations(rules.GLOBS),
        ),
    ] = ()
    exclude: Annotated[
        Globs,
        Meta(
            max_length=rules.MAX_GLOBS,
            description="Globs: keys of the document that match one are not taken.",
            extra_json_schema=rules.validations(rules.GLOBS),
        ),
    ] = ()
    rename: Annotated[
        dict[str, Name],
        Meta(
            max_length=rules.MAX_RENAMED,
            description="Maps keys of the document to keys of the Secret; these get no prefix.",
            extra_json_schema=rules.validations(rules.RENAMED_KEYS),
        ),
    ] = msgspec.field(default_factory=dict)
    prefix: Annotated[
        str,
        Meta(
            max_length=rules.MAX_NAME,
            description="Text before each key, such as DB_.",
            extra_json_schema=rules.validations(rules.PREFIX),
        ),
    ] = ""
    conversion: Annotated[
        str,
        Meta(
            description="What to do with characters that a key of a Secret can't have: Underscore replaces each by _; "
            "without it, such a key is an error.",
            extra_json_schema=rules.validations(rules.CONVERSION),
        ),
    ] = ""
    encoding: Encoding = ""


class SecretMetadata(Wire, frozen=True):
    """Labels and annotations of the Secret."""

    labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=rules.MAX_LABEL_VALUE)]],
        Meta(
            max_length=rules.MAX_LABELS,
            description="Labels of the Secret, beside those that are copied from this object.",
            extra_json_schema=rules.validations(rules.LABEL_NAMES, rules.LABEL_VALUES),
        ),
    ] = msgspec.field(default_factory=dict)
    annotations: Annotated[
        dict[str, str],
        Meta(
            max_length=rules.MAX_LABELS,
            description="Annotations of the Secret, beside those that are copied from this object.",
            extra_json_schema=rules.validations(rules.LABEL_NAMES),
        ),
    ] = msgspec.field(default_factory=dict)
    copy: Annotated[
        bool,
        Meta(description="Whether labels and annotations of this object are copied (the default: true)."),
    ] = True


class CreationPolicy(StrEnum):
    """Who owns the Secret."""

    OWNER = "Owner"
    """This definition: the Secret is deleted with it."""
    ORPHAN = "Orphan"
    """No one: the Secret stays when the definition is deleted."""
    MERGE = "Merge"
    """Something else: only our keys are written."""


class RolloutRestartTarget(Wire, frozen=True):
    """A workload that is restarted after the data of the Secret has changed."""

    kind: Annotated[
        str,
        Meta(
            description="Deployment, StatefulSet or DaemonSet.",
            extra_json_schema=rules.validations(rules.WORKLOAD_KIND),
        ),
    ]
    name: Annotated[
        str,
        Meta(
            max_length=rules.MAX_NAME,
            description="Name of the workload, in the namespace of this object.",
            extra_json_schema=rules.validations(rules.WORKLOAD_NAME),
        ),
    ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Reference(NamedTuple):
    """A use of a source, and its place in the spec, for messages."""

    where: str
    source: Source


class Spec(Wire, frozen=True):
    """The desired Secret."""

    name: Annotated[
        str,
        Meta(
            description="Name of the Secret, in the namespace of this object.",
            extra_json_schema=rules.validations(rules.SECRET_NAME),
        ),
    ]
    keys_map: Annotated[
        dict[
            str,
            Annotated[
                DataSource,
                Meta(
                    extra_json_schema=rules.validations(rules.PATH_OR_TEMPLATE, rules.KEY_AT_PATH, rules.TEMPLATE_ALONE)
                ),
            ],
        ],
        Meta(
            description="Keys of the Secret, each with the place where its value is read, or with a template.",
            extra_json_schema=rules.validations(rules.KEY_NAMES, rules.TEMPLATES),
        ),
    ] = msgspec.field(default_factory=dict)
    data_from: Annotated[
        tuple[
            Annotated[
                DataFrom,
                Meta(extra_json_schema=rules.validations(rules.PATH_OR_SOURCE, rules.VERSION_OF_PATH)),
            ],
            ...,
        ],
        Meta(
            max_length=rules.MAX_DOCUMENTS,
            description="Documents whose keys all become keys of the Secret. Later ones win over earlier ones, and "
            "keysMap over all.",
        ),
    ] = ()
    sources: Annotated[
        dict[str, NamedSource],
        Meta(
            max_length=rules.MAX_SOURCES,
            description="Documents of the backend by name, for templates and dataFrom.",
            extra_json_schema=rules.validations(rules.SOURCE_NAMES),
        ),
    ] = msgspec.field(default_factory=dict)
    type: Annotated[
        str,
        Meta(
            description="Type of the Secret, such as Opaque (the default) or kubernetes.io/tls.",
            extra_json_schema=rules.validations(rules.SECRET_TYPE, rules.NOT_SERVICE_ACCOUNT),
        ),
    ] = ""
    immutable: Annotated[
        bool, Meta(description="Whether the Secret is immutable; it is replaced when its data changes.")
    ] = False
    metadata: SecretMetadata = SecretMetadata()
    creation_policy: Annotated[
        str,
        Meta(
            description="Owner (the default): the Secret is deleted with this object. Orphan: it stays. Merge: others "
            "make the Secret, and only the keys of this object are written to it.",
            extra_json_schema=rules.validations(rules.CREATION_POLICY),
        ),
    ] = ""
    rollout_restart_targets: Annotated[
        tuple[RolloutRestartTarget, ...],
        Meta(
            max_length=rules.MAX_TARGETS,
            description="Workloads that are restarted after the data of the Secret has changed.",
        ),
    ] = ()
    refresh_interval: Annotated[
        str,
        Meta(
            description="How often the backend is polled for changes, such as 1m30s; without it, at the "
            "controller's reconcile-period. Of several objects with one path the shortest counts.",
            extra_json_schema=rules.validations(rules.INTERVAL, rules.MIN_INTERVAL),
        ),
    ] = ""

    @property
    def secret_type(self) -> str:
        return self.type or "Opaque"

    @property
    def period(self) -> float | None:
        """The refresh interval in seconds, if there is one. Raises: InvalidValue."""
        return duration(self.refresh_interval) if self.refresh_interval else None

    @property
    def references(self) -> Iterator[Reference]:
        """Every use of a source, in the order of the fields. A name that is not in `sources` gives none."""
        for key in sorted(self.keys_map):
            if (source := self.keys_map[key].source) is not None:
                yield Reference(f"key {key}", source)
        for number, each in enumerate(self.data_from):
            if (document := self.document(each)) is not None:
                yield Reference(f"dataFrom[{number}]", document)
        for name in sorted(self.sources):
            yield Reference(f"source {name}", self.sources[name].source)

    @property
    def read_sources(self) -> frozenset[Source]:
        """All sources to read."""
        return frozenset(reference.source for reference in self.references)

    def document(self, entry: DataFrom) -> Source | None:
        """Return the source of an entry of `dataFrom`; None if it names one that does not exist."""
        if entry.path is not None:
            return _source(entry.path, entry.version)
        named = self.sources.get(entry.source or "")
        return None if named is None else named.source


class InvalidSpec(msgspec.Struct, frozen=True):
    """Stands for a spec that can't be decoded. `message` is the error.

    `name` is spec.name, if that can be decoded: the Secret is deleted with a definition of the Go original.
    """

    message: str
    name: str = ""


class _Named(Wire, frozen=True):
    name: str


_spec = msgspec.json.Decoder(Spec)
_named = msgspec.json.Decoder(_Named)


def decode_spec(raw: msgspec.Raw) -> Spec | InvalidSpec:
    """Decode a spec. An empty text stands for none."""
    if not bytes(raw):
        return InvalidSpec("spec is missing: write name, and keysMap or dataFrom, below spec")
    try:
        return _spec.decode(raw)
    except msgspec.MsgspecError as error:
        return InvalidSpec(f"spec can't be read: {fault(error)}", _name_in(raw))


def _name_in(raw: msgspec.Raw) -> str:
    try:
        return _named.decode(raw).name
    except msgspec.MsgspecError:
        return ""


def _source(path: str, version: int | str | None) -> Source:
    return Source(path, None if version is None else str(version))
