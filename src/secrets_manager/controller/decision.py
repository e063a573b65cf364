"""What to do about one Secret: a pure function of what is wanted and what is there.

    there is none                        create it
    it is not ours                       leave it, say whose it is
    it differs in type, or is immutable  delete it; the next decision creates it
    it differs in data or marks          patch it
    it is equal                          nothing

Every write names the resourceVersion or uid that the decision saw, so a concurrent change makes the write fail and the
decision is made anew: nobody's change is lost.
"""

from collections.abc import Mapping
from typing import NamedTuple

from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.managed_fields import Path
from secrets_manager.controller.metadata import LAST_UPDATE, difference, wanted
from secrets_manager.controller.ownership import WRITTEN_AS, Claim, claim, is_copy, names, not_owned
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import CurrentSecret, Secret
from secrets_manager.kube.objects import ObjectMeta, OwnerReference


class Create(NamedTuple):
    secret: Secret


class Patch(NamedTuple):
    """A JSON merge patch, held to the resourceVersion that was seen. Its repr tells no value."""

    current: CurrentSecret
    body: dict[str, object]
    claim: Claim

    def __repr__(self) -> str:
        return f"Patch({self.current.key}, {sorted(self.body)})"


class Delete(NamedTuple):
    """Deletes exactly the object that was seen."""

    current: CurrentSecret
    claim: Claim = Claim.OWNED


Decision = Create | Patch | Delete | Problem | None


class Others(NamedTuple):
    """Secrets of a definition under other names than the one that it wants."""

    leftovers: list[Delete]
    """Were written under names that it once had: they go once the wanted one is there."""
    copies: list[CurrentSecret]
    """Were made by somebody else: they are left alone."""


def decide(
    definition: SecretDefinition,
    desired: Desired,
    current: CurrentSecret | None,
    *,
    now: str,
    before: CurrentSecret | None = None,
) -> Decision:
    """The next write that brings the Secret closer to what is wanted; None when it is there.

    `now` is the time that a write leaves on the Secret, as RFC 3339. `before` is the Secret that was deleted to make
    room for this one: what is foreign on it moves over.
    """
    if current is None:
        return Create(whole(definition, desired, now=now, before=before))
    right = claim(definition, current)
    if right is Claim.NONE:
        return not_owned(current)
    if current.metadata.deletion_timestamp is not None:
        return being_deleted(current)
    if current.type != desired.type or (current.immutable and current.digest != desired.digest):
        return Delete(current, right)
    return _patch(definition, desired, current, right, now=now)


def lacking(definition: SecretDefinition, desired: Desired, current: CurrentSecret | None) -> frozenset[Path]:
    """The fields by which the Secret is not as it is wanted: none where there is nothing to write."""
    if current is None:
        return frozenset({("metadata", "uid")})
    metadata = lacking_metadata(definition, current.metadata)
    type_: list[Path] = [] if current.type == desired.type else [("type",)]
    data: list[Path] = [] if current.digest == desired.digest else [("data",)]
    return frozenset(type_ + data + metadata)


def lacking_metadata(definition: SecretDefinition, current: ObjectMeta) -> list[Path]:
    """The same of metadata alone."""
    labels, annotations = difference(current, wanted(definition))
    ours: list[Path] = [("metadata", "labels", name) for name in labels]
    ours += [("metadata", "annotations", name) for name in annotations]
    ours += [("metadata", "annotations", WRITTEN_AS)] if _is_marked_as_copy(current) else []
    owned = definition.owner_reference in current.owner_references
    return ours if owned else [*ours, ("metadata", "ownerReferences")]


def others(definition: SecretDefinition, desired: Desired, owned: list[CurrentSecret]) -> Others:
    """What is to become of the Secrets that name this definition as their owner, or an earlier one of its name.

    Those of an earlier one are the garbage collector's, but it misses some of what happens while the API server
    restarts.
    """
    found = Others([], [])
    for secret in owned:
        if secret.metadata.name == desired.name or secret.metadata.deletion_timestamp is not None:
            continue
        if is_copy(definition, secret):
            found.copies.append(secret)
        else:
            found.leftovers.append(Delete(secret))
    return found


def being_deleted(secret: CurrentSecret) -> Problem:
    """Nothing can be written until its finalizers are done with it."""
    text = f"Secret {secret.metadata.name} is being deleted by somebody: it is made again once it is gone"
    return Problem(Reason.SECRET_REJECTED, text)


def whole(definition: SecretDefinition, desired: Desired, *, now: str, before: CurrentSecret | None = None) -> Secret:
    """The Secret as it is created."""
    foreign = ObjectMeta() if before is None else before.metadata
    labels, annotations = difference(foreign, wanted(definition))
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
    )


def _patch(
    definition: SecretDefinition, desired: Desired, current: CurrentSecret, right: Claim, *, now: str
) -> Patch | None:
    labels, annotations = difference(current.metadata, wanted(definition))
    owners = _owners(definition, current.metadata)
    same_data = current.digest == desired.digest
    marked = not labels and not annotations and not _is_marked_as_copy(current.metadata)
    if same_data and marked and owners == current.metadata.owner_references:
        return None
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
    return Patch(current, body, right)


def _is_marked_as_copy(current: ObjectMeta) -> bool:
    """Whether the Secret bears another name than its own: once such a copy is the wanted one, it is ours."""
    return current.annotations.get(WRITTEN_AS, current.name) != current.name


def _merged(marks: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """What a merge patch makes of marks."""
    return {name: text for name, text in {**marks, **changes}.items() if text is not None}


def _owners(definition: SecretDefinition, current: ObjectMeta) -> tuple[OwnerReference, ...]:
    """Ours, and all foreign ones; an earlier incarnation of this definition is replaced."""
    ours = definition.owner_reference
    if ours in current.owner_references:
        return current.owner_references
    others = [owner for owner in current.owner_references if not names(definition, owner)]
    return (*others, ours)
