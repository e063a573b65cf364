"""Who works against us on a Secret, and on which of its fields: in the words of the condition, without any value."""

import msgspec

from secrets_manager.controller.decision import lacking_metadata
from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.managed_fields import ManagedFields, Path, last_manager
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import OWNER, digest
from secrets_manager.kube.client import FIELD_MANAGER
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class Contested(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret in the cluster as one who asks for its managers needs it: with a digest for each value."""

    metadata: ObjectMeta
    type: str
    digests: dict[str, bytes]
    managed: tuple[ManagedFields, ...]


class _Metadata(ObjectMeta, frozen=True):
    managed_fields: tuple[ManagedFields, ...] = ()


class _Wired(Wire, frozen=True):
    metadata: _Metadata
    type: str = "Opaque"
    data: dict[str, bytes] | None = None


_decoder = msgspec.json.Decoder(_Wired)


def decode(raw: bytes | msgspec.Raw) -> Contested:
    """Read a Secret as the API serves it; its values are gone when this returns.

    Raises: msgspec.MsgspecError for anything else.
    """
    wired = _decoder.decode(raw)
    return Contested(
        metadata=wired.metadata,
        type=wired.type,
        digests={key: digest({key: value}) for key, value in (wired.data or {}).items()},
        managed=wired.metadata.managed_fields,
    )


CONTESTED = Resource("", "v1", "secrets", "Secret", decode)


def contended(definition: SecretDefinition, desired: Desired, seen: Contested | None, *, by_admission: bool) -> Problem:
    """What to tell. `seen` is the Secret as others left it; `by_admission`: the reply to our own write was so."""
    fields = _lacking(definition, desired, seen) if seen is not None else []
    if seen is None:
        what = "somebody deletes it after each write: find out who, or delete this definition"
    elif by_admission:
        what = (
            f"an admission webhook or policy changes {_shown(fields)} in each write: "
            f"exempt Secrets with the label {OWNER} from it"
        )
    else:
        managers = (last_manager(seen.managed, field, but=FIELD_MANAGER) for field in fields)
        manager = next(filter(None, managers), "")
        who = f"manager {manager}" if manager else "somebody"
        what = f"{who} changes {_shown(fields)} after each write: let only one of the two manage it"
    return Problem(Reason.SECRET_CONTENDED, f"Secret {desired.name}: {what}. Meanwhile it is written once a minute")


def _lacking(definition: SecretDefinition, desired: Desired, seen: Contested) -> list[Path]:
    """The fields that are not as they are wanted."""
    ours = {key: digest({key: value}) for key, value in desired.data.items()}
    keys = sorted(key for key in ours.keys() | seen.digests.keys() if ours.get(key) != seen.digests.get(key))
    type_: list[Path] = [] if seen.type == desired.type else [("type",)]
    return [*type_, *(("data", key) for key in keys), *lacking_metadata(definition, seen.metadata)]


def _shown(fields: list[Path]) -> str:
    """The first field, and how many more there are."""
    if not fields:
        return "it"
    first, *others = fields
    match first:
        case ("metadata", kind, name):
            text = f"metadata.{kind}[{name}]"
        case _:
            text = ".".join(first)
    return f"{text} (and {len(others)} more of its fields)" if others else text
