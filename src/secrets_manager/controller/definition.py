"""SecretDefinition: the custom resource, its status and the reasons of its conditions.

The CRD is generated from these structs (crd.py). A spec that can't be decoded becomes an InvalidSpec, so that the
object gets a condition with the error.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from secrets_manager.backends import Source
from secrets_manager.controller.rules import GROUP, LAST_APPLIED
from secrets_manager.controller.spec import CreationPolicy, InvalidSpec, Spec, decode_spec
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, ObjectReference, OwnerReference, Wire
from secrets_manager.kube.resources import Resource

API_VERSION = f"{GROUP}/v1alpha1"
KIND = "SecretDefinition"

ADOPT = f"{GROUP}/adopt"
"""Annotation on a definition: "true" lets it take over a Secret that others created."""
COPY = f"{GROUP}/copy"
"""Annotation on a definition: "false" has none of its labels and annotations copied to the Secret; else it lists, with
commas, names with a prefix that are copied too, where `example.com/*` stands for all of that prefix."""
LEGACY_FINALIZER = f"secret.finalizer.{GROUP}"
PASSING_FINALIZERS = frozenset({LEGACY_FINALIZER, "foregroundDeletion", "orphan"})
"""Finalizers that this program or the garbage collector removes soon."""


READY, RECONCILING, STALLED, ROLLOUT_RESTART = "Ready", "Reconciling", "Stalled", "RolloutRestart"
"""The types of a definition's conditions. The second and the third are kstatus' own
(sigs.k8s.io/cli-utils/pkg/kstatus)."""


class Reason(StrEnum):
    """Why a definition is, or is not, Ready."""

    SYNCED = "Synced"
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_FORBIDDEN = "SourceForbidden"
    SOURCE_INVALID = "SourceInvalid"
    DEFINITION_INVALID = "DefinitionInvalid"
    DEFINITION_TERMINATING = "DefinitionTerminating"
    SECRET_NOT_OWNED = "SecretNotOwned"  # noqa: S105 - a word of the status, no password
    SECRET_REJECTED = "SecretRejected"  # noqa: S105 - a word of the status, no password
    SECRET_WRITE_FAILED = "SecretWriteFailed"  # noqa: S105 - a word of the status, no password
    SECRET_CONTENDED = "SecretContended"  # noqa: S105 - a word of the status, no password
    PATH_NOT_ALLOWED = "PathNotAllowed"


class Condition(Wire, frozen=True):
    """One condition, in the form of the Kubernetes API conventions."""

    type: Annotated[str, Meta(description="What it is about: Ready, Reconciling, Stalled or RolloutRestart.")]
    status: Annotated[
        str, Meta(description="True, False or Unknown.", extra_json_schema={"enum": ["True", "False", "Unknown"]})
    ]
    reason: Annotated[str, Meta(description="One word for programs: why the status is as it is.")] = ""
    message: Annotated[str, Meta(description="What is wrong and what to do, for people.")] = ""
    last_transition_time: Annotated[
        str,
        Meta(description="When the status last changed.", extra_json_schema={"format": "date-time"}),
    ] = ""
    observed_generation: Annotated[int, Meta(description="Generation of the spec that this condition speaks of.")] = 0


class SourceStatus(Wire, frozen=True):
    """What the Secret was made from."""

    path: str
    version: Annotated[int | str | None, Meta(description="Version that was read, where the backend counts them.")] = (
        None
    )


class Status(Wire, frozen=True):
    """The status subresource."""

    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            description="Ready, and where it is False: Stalled if nothing changes until an edit, else Reconciling; "
            "RolloutRestart where there are rolloutRestartTargets.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    observed_generation: Annotated[
        int, Meta(description="Generation of the spec that this status speaks of; -1 until there is one.")
    ] = -1
    last_sync_time: Annotated[
        str,
        Meta(
            description="When the Secret was last written, or found equal after a change of anything.",
            extra_json_schema={"format": "date-time"},
        ),
    ] = ""
    secret_name: Annotated[str, Meta(description="Name of the Secret that was last in sync.")] = ""
    sources: Annotated[tuple[SourceStatus, ...], Meta(description="What the Secret was made from.")] = ()
    restarted_for: Annotated[
        str, Meta(description="Revision of the Secret's data that all rolloutRestartTargets were restarted for.")
    ] = ""

    @property
    def ready(self) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == READY), None)


class SecretDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A definition, as it is cached."""

    metadata: ObjectMeta
    spec: Spec | InvalidSpec
    status: Status = Status()

    @property
    def key(self) -> ObjectKey:
        return self.metadata.key

    @property
    def sources(self) -> frozenset[Source]:
        return self.spec.read_sources if isinstance(self.spec, Spec) else frozenset()

    @property
    def merges_into(self) -> ObjectKey | None:
        """The Secret of others that our keys are written to, if the creation policy is Merge."""
        if not isinstance(self.spec, Spec) or self.spec.creation_policy != CreationPolicy.MERGE:
            return None
        return ObjectKey(self.metadata.namespace, self.spec.name)

    @property
    def in_sync(self) -> bool:
        """Whether the status reports the current generation as in sync."""
        ready = self.status.ready
        return (
            ready is not None and ready.status == "True" and self.status.observed_generation == self.metadata.generation
        )

    @property
    def held_by(self) -> list[str]:
        """The finalizers of others, for which the definition stays when it is deleted."""
        return [name for name in self.metadata.finalizers if name not in PASSING_FINALIZERS]

    @property
    def owner_reference(self) -> OwnerReference:
        """The owner reference of the Secret, by which it is garbage collected with this definition."""
        return OwnerReference(
            api_version=API_VERSION, kind=KIND, name=self.metadata.name, uid=self.metadata.uid, controller=True
        )

    @property
    def reference(self) -> ObjectReference:
        return ObjectReference(
            api_version=API_VERSION,
            kind=KIND,
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            uid=self.metadata.uid,
            resource_version=self.metadata.resource_version,
        )

    def is_equivalent_to(self, other: "SecretDefinition") -> bool:
        """Whether both result in the same Secret: they differ at most in status and system metadata."""
        return _inputs(self) == _inputs(other)


class _Envelope(Wire, frozen=True):
    metadata: ObjectMeta
    spec: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw(b"{}")


_envelope = msgspec.json.Decoder(_Envelope)
_status = msgspec.json.Decoder(Status)


def decode(raw: bytes | msgspec.Raw) -> SecretDefinition:
    """Decode an object from the API or from a user's manifest.

    Raises:
        msgspec.MsgspecError: Its metadata can't be decoded.
    """
    envelope = _envelope.decode(raw)
    return SecretDefinition(
        metadata=without_last_applied(envelope.metadata),
        spec=decode_spec(envelope.spec),
        status=_decode_status(envelope.status),
    )


def _decode_status(raw: msgspec.Raw) -> Status:
    """Decode a status; one of another form counts as none."""
    try:
        return _status.decode(raw)
    except msgspec.MsgspecError:
        return Status()


def without_last_applied(metadata: ObjectMeta) -> ObjectMeta:
    """Remove kubectl's copy of the whole object: it takes memory, and that of a Secret contains its values."""
    if LAST_APPLIED not in metadata.annotations:
        return metadata
    kept = {name: text for name, text in metadata.annotations.items() if name != LAST_APPLIED}
    return msgspec.structs.replace(metadata, annotations=kept)


def _inputs(definition: SecretDefinition) -> tuple[object, ...]:
    meta = definition.metadata
    return (meta.uid, meta.deletion_timestamp, meta.labels, meta.annotations, meta.finalizers, definition.spec)


SECRET_DEFINITIONS = Resource(GROUP, "v1alpha1", "secretdefinitions", KIND, decode)
