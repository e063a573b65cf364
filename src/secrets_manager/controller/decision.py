"""Decide the next write to a Secret: a pure function of the desired and the current Secret.

    does not exist                     create it
    is not ours                        leave it, and report the owner
    differs in type, or is immutable   delete it; the next decision creates it
    differs in data or metadata        patch it
    is equal                           nothing

Every write has the resourceVersion or uid of the current Secret as a precondition. A concurrent change makes it fail,
and the decision is repeated, so no change is lost.
"""

from collections.abc import Mapping
from typing import NamedTuple

from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.managed_fields import FieldPath
from secrets_manager.controller.metadata import LAST_UPDATE, desired_metadata, is_orphaned, metadata_diff
from secrets_manager.controller.ownership import (
    WRITTEN_AS,
    Claim,
    claim,
    is_copy,
    not_owned,
    orphan_of,
    owns,
    refers_to,
)
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rollout_restart import RESTARTS
from secrets_manager.controller.secret import CurrentSecret, Secret
from secrets_manager.kube.objects import ObjectMeta, OwnerReference


class Create(NamedTuple):
    secret: Secret


class Patch(NamedTuple):
    """A JSON merge patch with a resourceVersion as precondition. Its repr shows no value."""

    current: CurrentSecret
    body: dict[str, object]
    claim: Claim

    def __repr__(self) -> str:
        return f"Patch({self.current.key}, {sorted(self.body)})"


class Delete(NamedTuple):
    """Deletes the object, with uid and resourceVersion as preconditions."""

    current: CurrentSecret
    claim: Claim = Claim.OWNED


Decision = Create | Patch | Delete | Problem | None


class OtherSecrets(NamedTuple):
    """Secrets of a definition under other names than the desired one."""

    stale: list[Delete]
    """Written under an earlier name: to be deleted once the desired one exists."""
    copies: list[CurrentSecret]
    """Copies that others made: left alone."""


def decide(
    definition: SecretDefinition,
    desired: Desired,
    current: CurrentSecret | None,
    *,
    now: str,
    holder: SecretDefinition | None = None,
    owner: SecretDefinition | None = None,
    before: CurrentSecret | None = None,
    restarts: str = "",
) -> Decision:
    """Return the next write; None if the Secret is as desired.

    Args:
        definition: Owns the Secret.
        desired: The desired content.
        current: The Secret in the cluster, if any.
        now: The time that is recorded on the Secret, as RFC 3339.
        holder: The definition that has the Secret, if any; see ownership.py.
        owner: The definition that controls the Secret, if any, for the message.
        before: The Secret that this one replaces. Its foreign metadata is kept.
        restarts: The record of restarts that goes with changed data; see rollout_restart.py.
    """
    if current is None:
        return Create(new_secret(definition, desired, now=now, before=before, restarts=restarts))
    claimed = claim(definition, current, holder)
    if claimed is Claim.NONE:
        return not_owned(current, holder, owner)
    if current.metadata.deletion_timestamp is not None:
        return terminating(current)
    if current.type != desired.type or (current.immutable and current.digest != desired.digest):
        return Delete(current, claimed)
    return _patch(definition, desired, current, claimed, now=now, restarts=restarts)


def decide_deletion(
    definition: SecretDefinition, current: CurrentSecret, holder: SecretDefinition | None = None
) -> Delete | None:
    """Return the deletion of the Secret of a deleted definition; None if it is not ours, or an orphan.

    An orphan stays until its definition owns it, as the garbage collector leaves it then.
    """
    if orphan_of(current):
        return None
    claimed = claim(definition, current, holder)
    return Delete(current, claimed) if claimed in (Claim.OWNED, Claim.LEGACY) else None


def decide_orphaning(definition: SecretDefinition, current: CurrentSecret, *, now: str) -> Patch | None:
    """Return the patch that takes our ownerReference from a Secret whose desired values are not known, if it must go.

    It holds metadata alone, and the type and the data stay as they are.
    """
    ours = any(refers_to(definition, owner) for owner in current.metadata.owner_references)
    if not is_orphaned(definition) or not ours or not owns(definition, current):
        return None
    as_it_is = Desired(
        name=current.metadata.name, type=current.type, data={}, digest=current.digest, immutable=current.immutable
    )
    decision = decide(definition, as_it_is, current, now=now)
    return decision if isinstance(decision, Patch) else None


def differing_fields(
    definition: SecretDefinition, desired: Desired, current: CurrentSecret | None
) -> frozenset[FieldPath]:
    """Return the fields that differ from the desired Secret; none if there is nothing to write."""
    if current is None:
        return frozenset({("metadata", "uid")})
    metadata = differing_metadata(definition, current.metadata)
    type_: list[FieldPath] = [] if current.type == desired.type else [("type",)]
    data: list[FieldPath] = [] if current.digest == desired.digest else [("data",)]
    immutable: list[FieldPath] = [] if current.immutable or not desired.immutable else [("immutable",)]
    return frozenset(type_ + data + immutable + metadata)


def differing_metadata(definition: SecretDefinition, current: ObjectMeta) -> list[FieldPath]:
    """Return the fields of metadata that differ."""
    labels, annotations = metadata_diff(current, desired_metadata(definition))
    ours: list[FieldPath] = [("metadata", "labels", name) for name in labels]
    ours += [("metadata", "annotations", name) for name in annotations]
    ours += [("metadata", "annotations", WRITTEN_AS)] if _is_marked_as_copy(current) else []
    owned = _owners(definition, current) == current.owner_references
    return ours if owned else [*ours, ("metadata", "ownerReferences")]


def other_secrets(definition: SecretDefinition, desired: Desired, owned: list[CurrentSecret]) -> OtherSecrets:
    """Sort the Secrets whose owner is this definition, or an earlier one of its name.

    The garbage collector deletes those of an earlier one, but misses some while the API server restarts. Those that an
    earlier one has orphaned stay.
    """
    found = OtherSecrets([], [])
    for secret in owned:
        if secret.metadata.name == desired.name or secret.metadata.deletion_timestamp is not None:
            continue
        if is_copy(definition, secret):
            found.copies.append(secret)
        elif owns(definition, secret):
            found.stale.append(Delete(secret))
    return found


def terminating(secret: CurrentSecret) -> Problem:
    """Return the problem of a Secret that waits for its finalizers."""
    text = f"Secret {secret.metadata.name} is being deleted: it is created again once it is gone"
    return Problem(Reason.SECRET_REJECTED, text)


def new_secret(
    definition: SecretDefinition,
    desired: Desired,
    *,
    now: str,
    before: CurrentSecret | None = None,
    restarts: str,
) -> Secret:
    """Return the Secret to create."""
    foreign = ObjectMeta() if before is None else before.metadata
    labels, annotations = metadata_diff(foreign, desired_metadata(definition))
    if has_changed(definition, desired, before):
        annotations |= _record(foreign, restarts)
    return Secret(
        api_version="v1",
        metadata=ObjectMeta(
            name=desired.name,
            namespace=definition.metadata.namespace,
            labels=_merged(foreign.labels, labels),
            annotations=_merged(foreign.annotations, annotations) | {LAST_UPDATE: now, WRITTEN_AS: desired.name},
            owner_references=_owners(definition, foreign),
        ),
        type=desired.type,
        data=desired.data,
        immutable=desired.immutable,
    )


def _patch(
    definition: SecretDefinition, desired: Desired, current: CurrentSecret, claimed: Claim, *, now: str, restarts: str
) -> Patch | None:
    if not differing_fields(definition, desired, current):
        return None
    labels, annotations = metadata_diff(current.metadata, desired_metadata(definition))
    owners = _owners(definition, current.metadata)
    same_data = current.digest == desired.digest
    if not same_data or _is_marked_as_copy(
        current.metadata
    ):  # the record on a copy is that of the Secret that was copied
        annotations |= _record(current.metadata, "" if same_data else restarts)
    metadata: dict[str, object] = {
        "resourceVersion": current.metadata.resource_version,
        "annotations": annotations | {LAST_UPDATE: now, WRITTEN_AS: desired.name},
    }
    if labels:
        metadata["labels"] = labels
    if owners != current.metadata.owner_references:
        metadata["ownerReferences"] = owners
    body: dict[str, object] = {"metadata": metadata}
    if not same_data:
        body["data"] = dict.fromkeys(current.keys) | desired.data
    if desired.immutable:
        body["immutable"] = True
    return Patch(current, body, claimed)


def has_changed(definition: SecretDefinition, desired: Desired, before: CurrentSecret | None) -> bool:
    """Whether the data differs from what users of the Secret had before, or may: they had one that is gone."""
    if before is None:
        return definition.status.secret_name == desired.name
    return before.digest != desired.digest


def _record(current: ObjectMeta, restarts: str) -> dict[str, str | None]:
    """Return the change of annotations that records restarts with changed data."""
    return {RESTARTS: restarts or None} if restarts or RESTARTS in current.annotations else {}


def _is_marked_as_copy(current: ObjectMeta) -> bool:
    """Whether the Secret records another name than its own: a copy that has become the desired Secret."""
    return current.annotations.get(WRITTEN_AS, current.name) != current.name


def _merged(marks: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Apply a merge patch to labels or annotations."""
    return {name: text for name, text in {**marks, **changes}.items() if text is not None}


def _owners(definition: SecretDefinition, current: ObjectMeta) -> tuple[OwnerReference, ...]:
    """Return the foreign owners and ours, which replaces an earlier definition of the same name."""
    ours = () if is_orphaned(definition) else (definition.owner_reference,)
    if ours and ours[0] in current.owner_references:
        return current.owner_references
    foreign = (owner for owner in current.owner_references if not refers_to(definition, owner))
    return (*foreign, *ours)
