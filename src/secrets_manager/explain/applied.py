"""The definition that `kubectl apply` would make of a manifest and of what the cluster has.

The spec is that of the manifest. Labels and annotations that others have set in the cluster stay, and those that an
earlier manifest had and this one lacks go.
"""

from collections.abc import Mapping

import msgspec

from secrets_manager.controller import definition
from secrets_manager.controller.definition import SecretDefinition, Status
from secrets_manager.controller.rules import GROUP, LAST_APPLIED
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """A definition in the cluster, and the metadata of the manifest that was applied last."""

    definition: SecretDefinition
    last_applied: ObjectMeta

    @property
    def metadata(self) -> ObjectMeta:
        return self.definition.metadata


class _Object(Wire, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


_decoder = msgspec.json.Decoder(_Object)


def decode(raw: bytes | msgspec.Raw) -> Existing:
    """Decode a definition.

    Raises:
        msgspec.MsgspecError: Its metadata can't be decoded.
    """
    record = _decoder.decode(raw).metadata.annotations.get(LAST_APPLIED, "{}")
    return Existing(definition=definition.decode(raw), last_applied=_last_applied(record))


EXISTING_DEFINITIONS = Resource(GROUP, "v1alpha1", definition.SECRET_DEFINITIONS.plural, definition.KIND, decode)


def applied(manifest: SecretDefinition, existing: Existing | None) -> SecretDefinition:
    """Return the definition as the cluster would have it."""
    wanted = manifest.metadata
    if existing is None:
        metadata = ObjectMeta(
            name=wanted.name,
            namespace=wanted.namespace,
            uid=f"not created yet: {wanted.key}",  # no other object has it
            labels=wanted.labels,
            annotations=wanted.annotations,
            finalizers=wanted.finalizers,
        )
        return msgspec.structs.replace(manifest, metadata=metadata, status=Status())
    before, last = existing.metadata, existing.last_applied
    metadata = msgspec.structs.replace(
        before,
        labels=_merged(before.labels, last.labels, wanted.labels),
        annotations=_merged(before.annotations, last.annotations, wanted.annotations),
    )
    return msgspec.structs.replace(manifest, metadata=metadata, status=existing.definition.status)


def _merged(present: Mapping[str, str], last: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in present.items() if name not in last} | dict(wanted)


def _last_applied(record: str) -> ObjectMeta:
    """Return the recorded metadata; none if the record is broken."""
    try:
        return _decoder.decode(record).metadata
    except msgspec.MsgspecError:
        return ObjectMeta()
