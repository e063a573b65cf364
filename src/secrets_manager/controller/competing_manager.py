"""Describe which field manager competes for a Secret, and for which fields, without any value."""

from collections.abc import Mapping

import msgspec

from secrets_manager.controller.decision import differing_metadata
from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.managed_fields import FieldPath, ManagedFields, last_manager
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import OWNER, digest
from secrets_manager.kube.client import FIELD_MANAGER
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class ManagedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret in the cluster, with its managed fields and a digest of each value."""

    metadata: ObjectMeta
    type: str
    digests: dict[str, bytes]
    managed_fields: tuple[ManagedFields, ...]

    def differing(self, data: Mapping[str, bytes]) -> frozenset[str]:
        """Return the keys of `data` whose values are others in the Secret."""
        return frozenset(key for key, value in data.items() if self.digests.get(key) != digest({key: value}))


class _Metadata(ObjectMeta, frozen=True):
    managed_fields: tuple[ManagedFields, ...] = ()


class _SecretJson(Wire, frozen=True):
    metadata: _Metadata
    type: str = "Opaque"
    data: dict[str, bytes] | None = None


_decoder = msgspec.json.Decoder(_SecretJson)


def decode(raw: bytes | msgspec.Raw) -> ManagedSecret:
    """Decode a Secret, without keeping its values.

    Raises:
        msgspec.MsgspecError: It is not a Secret.
    """
    decoded = _decoder.decode(raw)
    return ManagedSecret(
        metadata=decoded.metadata,
        type=decoded.type,
        digests={key: digest({key: value}) for key, value in (decoded.data or {}).items()},
        managed_fields=decoded.metadata.managed_fields,
    )


MANAGED_SECRETS = Resource("", "v1", "secrets", "Secret", decode)


def contention_problem(
    definition: SecretDefinition, desired: Desired, seen: ManagedSecret | None, *, by_admission: bool
) -> Problem:
    """Return the problem. `seen` is the Secret as others left it; `by_admission`: our write's response was so."""
    fields = _differing_fields(definition, desired, seen) if seen is not None else []
    if seen is None:
        what = "it is deleted after each write: find out by whom, or delete this definition"
    elif by_admission:
        what = (
            f"an admission webhook or policy changes {_field_summary(fields)} in each write: "
            f"exempt Secrets with the label {OWNER} from it"
        )
    else:
        managers = (last_manager(seen.managed_fields, field, exclude=FIELD_MANAGER) for field in fields)
        manager = next(filter(None, managers), "")
        who = f"manager {manager}" if manager else "another manager"
        what = f"{who} changes {_field_summary(fields)} after each write: let only one of the two manage it"
    return Problem(Reason.SECRET_CONTENDED, f"Secret {desired.name}: {what}. Meanwhile it is written once a minute")


def _differing_fields(definition: SecretDefinition, desired: Desired, seen: ManagedSecret) -> list[FieldPath]:
    """Return the fields that differ from the desired ones."""
    ours = {key: digest({key: value}) for key, value in desired.data.items()}
    keys = sorted(key for key in ours.keys() | seen.digests.keys() if ours.get(key) != seen.digests.get(key))
    type_: list[FieldPath] = [] if seen.type == desired.type else [("type",)]
    return [*type_, *(("data", key) for key in keys), *differing_metadata(definition, seen.metadata)]


def _field_summary(fields: list[FieldPath]) -> str:
    """Return the first field, and how many more there are."""
    if not fields:
        return "it"
    first, *others = fields
    match first:
        case ("metadata", kind, name):
            text = f"metadata.{kind}[{name}]"
        case _:
            text = ".".join(first)
    return f"{text} (and {len(others)} more of its fields)" if others else text
