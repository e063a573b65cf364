"""Decide which keys of a Secret of others have to be applied: a pure function, without any value of the Secret.

does not exist                     nothing, and it is reported
is being deleted                   the same
belongs to a definition            the same
was not applied by this process    all keys
other values are wanted            all keys
we own other keys than we want     those keys
admission has changed our values   those keys
"""

from collections.abc import Iterable
from typing import NamedTuple

from secrets_manager.controller.definition import ADOPT, KIND, Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.managed_fields import FieldPath
from secrets_manager.controller.merged_secret import MANAGER_PREFIX, MergedSecret, merger_of
from secrets_manager.controller.names import listed
from secrets_manager.controller.problem import Problem
from secrets_manager.kube.errors import FieldOwner


class Known(NamedTuple):
    """What this process knows of the values in the Secret, since it has applied them."""

    uid: str
    digest: bytes
    """Of the values that were applied."""
    changed: frozenset[str] = frozenset()
    """Keys whose values were others in the response: admission changes them."""


def missing(desired: Desired) -> Problem:
    """Return the problem of a Secret that does not exist."""
    text = f"Secret {desired.name} does not exist, and creationPolicy Merge makes none: keys are written once it exists"
    return Problem(Reason.SECRET_REJECTED, text)


def obstacle(
    definition: SecretDefinition, desired: Desired, current: MergedSecret, owner: SecretDefinition | None
) -> Problem | None:
    """Return why no key can be written, if so. `owner` is the definition that made the Secret, if any."""
    name = desired.name
    if owner is not None:
        who = "this definition" if owner.key == definition.key else f"{KIND} {owner.metadata.name}"
        text = f"Secret {name} was made by {who}, and Merge is for those of others: choose another spec.name"
        return Problem(Reason.SECRET_NOT_OWNED, text)
    if current.metadata.deletion_timestamp is not None:
        text = f"Secret {name} is being deleted: its keys are written once it exists again"
        return Problem(Reason.SECRET_REJECTED, text)
    return None


def differing_keys(
    definition: SecretDefinition, desired: Desired, current: MergedSecret, known: Known | None
) -> frozenset[FieldPath]:
    """Return the keys for which the Secret has to be written; none if there is nothing to do."""
    wanted = frozenset(desired.data)
    if known is None or known.uid != current.metadata.uid or known.digest != desired.digest:
        differing = wanted
    else:
        present = current.keys.get(merger_of(definition.metadata.name), frozenset())
        differing = (wanted ^ present) | known.changed
    return frozenset(("data", key) for key in differing)


def keys_not_owned(desired: Desired, owners: Iterable[FieldOwner]) -> Problem:
    """Return the problem of keys that others own, and that the definition may not take over."""
    first, *others = _keys(owners)
    more = f" (and {len(others)} more of its keys are owned by others)" if others else ""
    return Problem(
        Reason.SECRET_NOT_OWNED,
        f"Secret {desired.name}: key {first.field} is owned by {_who(first.manager)}{more}: remove the key there or "
        f"here, or annotate this definition with {ADOPT}=true to take it over",
    )


def taken_keys(name: str, owners: Iterable[FieldOwner]) -> list[str]:
    """Describe which keys of a Secret were taken over from which managers, one text for each manager."""
    found = _keys(owners)
    by_manager = {
        owner.manager: listed([each.field for each in found if each.manager == owner.manager]) for owner in found
    }
    return [
        f"Secret {name}: {_who(manager)} owned {keys}, and this definition does from now on"
        for manager, keys in by_manager.items()
    ]


def merge_contention(
    desired: Desired, keys: Iterable[FieldPath], owners: Iterable[FieldOwner], *, by_admission: bool
) -> Problem:
    """Return the problem of keys that others change after each write. `owners` are those that had them then."""
    names = sorted(key for _, key in keys)
    found = {owner.field: owner.manager for owner in _keys(owners)}
    first = next((name for name in names if name in found), names[0] if names else "")
    what = f"data.{first}" if first else "it"
    if len(names) > 1:
        what += f" (and {len(names) - 1} more of its fields)"
    if by_admission:
        text = f"an admission webhook or policy changes {what} in each write: exempt this Secret from it"
    else:
        who = _who(found.get(first, ""))
        text = f"{who} changes {what} after each write: let only one of the two manage it"
    return Problem(Reason.SECRET_CONTENDED, f"Secret {desired.name}: {text}. Meanwhile it is written once a minute")


def _keys(owners: Iterable[FieldOwner]) -> list[FieldOwner]:
    """Return the owners with bare names of keys in place of their paths, `.data.password`."""
    return [owner._replace(field=owner.field.removeprefix(".data.")) for owner in owners]


def _who(manager: str) -> str:
    if manager.startswith(MANAGER_PREFIX):
        return f"{KIND} {manager.removeprefix(MANAGER_PREFIX)}"
    return f"manager {manager}" if manager else "another manager"
