"""Who owns a Secret. A foreign one is never overwritten or deleted.

Label and ownerReference name the definition of a Secret, or label and annotation where there is no ownerReference. A
copy under another name has them, too, so each Secret records the name that it was written under: in a copy it differs
from its own name.

While a definition exists and wants its Secret, no other one takes it over: two that adopt would take it from each other
for ever. Users can write these marks, so they hold a Secret no longer than that.
"""

from collections.abc import Iterable
from enum import Enum, auto

from secrets_manager.controller.definition import ADOPT, KIND, Reason, SecretDefinition
from secrets_manager.controller.metadata import LAST_UPDATE, MANAGED_BY_VALUE, ORPHAN_OF
from secrets_manager.controller.names import is_object_name, listed
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rules import GROUP, MANAGED_BY
from secrets_manager.controller.secret import OWNER, CurrentSecret
from secrets_manager.kube.objects import OwnerReference

WRITTEN_AS = f"{GROUP}/name"
"""Annotation on the Secret: the name that it was written under."""
MANAGED_BY_1, LAST_UPDATE_1 = "managedBy", "lastUpdatedAt"
"""Labels of the Go original 1.x, which always wrote both. Its 2.x has those that we write, too."""
BY_DEFINITION = "definition"
"""Index of Secrets by `definition_of`."""
BY_UID = "uid"
"""Index of definitions by uid."""


class Claim(Enum):
    """Why a definition may write an existing Secret."""

    OWNED = auto()
    """Its owner is this definition, or a deleted one of the same name."""
    LEGACY = auto()
    """The Go original created it, and it has no other owner."""
    ADOPTED = auto()
    """The definition has the annotation `adopt`."""
    NONE = auto()


def claim(definition: SecretDefinition, secret: CurrentSecret, holder: SecretDefinition | None = None) -> Claim:
    """Return the claim of the definition to the Secret. `holder` is the definition that has it now; see there."""
    if _is_of(definition, secret):
        return Claim.OWNED
    if secret.controller is not None or holder is not None:
        return Claim.NONE
    if not orphan_of(secret) and not secret.metadata.owner_references and _is_legacy(secret):
        return Claim.LEGACY
    if definition.metadata.annotations.get(ADOPT) == "true":
        return Claim.ADOPTED
    return Claim.NONE


def holder(secret: CurrentSecret, definitions: Iterable[SecretDefinition]) -> SecretDefinition | None:
    """Return the one of these definitions that has the Secret and wants it, if any.

    One that is being deleted, has another `spec.name` or merges wants it no more.
    """
    return next((each for each in definitions if _wants(each, secret) and _is_of(each, secret)), None)


def owner(secret: CurrentSecret, definitions: Iterable[SecretDefinition]) -> SecretDefinition | None:
    """Return the one of these definitions that controls the Secret, if any, whether it wants it or not."""
    found = secret.controller
    return None if found is None else next((each for each in definitions if refers_to(each, found)), None)


def owns(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    """Whether the controlling owner of the Secret is this definition.

    An owner of the same name with another uid is a deleted definition: its Secret is taken over before it is garbage
    collected, so that its users see no gap. Without a controlling owner the label decides.
    """
    owner = secret.controller
    if owner is None:
        return secret.metadata.labels.get(OWNER) == definition.metadata.uid
    return refers_to(definition, owner)


def refers_to(definition: SecretDefinition, owner: OwnerReference) -> bool:
    """Whether the owner is the definition, or an earlier one of the same name."""
    return _is_definition(owner) and owner.name == definition.metadata.name


def maker_of(secret: CurrentSecret) -> str:
    """Return the name of the definition that controls or has orphaned the Secret; empty if none does."""
    owner = secret.controller
    if owner is None:
        return orphan_of(secret)
    return owner.name if _is_definition(owner) else ""


def definition_of(secret: CurrentSecret) -> tuple[str, ...]:
    """Return the key of the definition that controls or has orphaned the Secret, if any, whatever its uid."""
    name = maker_of(secret)
    return (str(secret.key._replace(name=name)),) if name else ()


def is_copy(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    """Whether the Secret is a copy of one that was written for the definition, or for an earlier one of its name.

    Older versions recorded no name on the Secret: then the name in the status decides, if there is one.
    """
    name = secret.metadata.name
    written_as = secret.metadata.annotations.get(WRITTEN_AS)
    if written_as is None:
        return definition.status.secret_name not in ("", name)
    return written_as != name


def not_owned(
    secret: CurrentSecret, holder: SecretDefinition | None = None, owner: SecretDefinition | None = None
) -> Problem:
    """Return the problem of a foreign Secret, with its owner and the next step. `owner` is the definition, if known."""
    reference = secret.controller if holder is None else holder.owner_reference
    if reference is not None:
        who = f"is owned by {reference.kind} {reference.name}"
        step = "choose another spec.name, or delete that owner"
        if holder is None and owner is not None and owner.metadata.deletion_timestamp is not None:
            held = f" (finalizers: {listed(owner.held_by)})" if owner.held_by else ""
            who, step = f"{who}, which is being deleted{held}", "wait until that is gone, or choose another spec.name"
        elif holder is None and owner is not None and _wants_another(owner, secret):
            who = f"{who}, which gives it up once it has Secret {owner.spec.name}"
            step = "if that waits for this one, choose a third name for one of them"
    else:
        maker = orphan_of(secret)
        who = f"was made by {KIND} {maker}" if maker else "was not made by secrets-manager"
        step = f"delete or rename it, or annotate this definition with {ADOPT}=true to take it over"
    return Problem(Reason.SECRET_NOT_OWNED, f"Secret {secret.metadata.name} {who}: {step}")


def orphan_of(secret: CurrentSecret) -> str:
    """Return the name of the definition that made a Secret without an ownerReference; empty if none did."""
    return secret.metadata.annotations.get(ORPHAN_OF, "") if secret.controller is None else ""


def _is_of(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    """Whether the Secret was made by the definition, or by an earlier one of the same name."""
    return owns(definition, secret) or orphan_of(secret) == definition.metadata.name


def _wants(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    """Whether the definition lives, and the Secret is the one that it manages."""
    managed = secret.key == definition.key._replace(name=definition.spec.name) and definition.merges_into is None
    return managed and definition.metadata.deletion_timestamp is None


def _wants_another(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    name = definition.spec.name
    return is_object_name(name) and name != secret.metadata.name


def _is_definition(owner: OwnerReference) -> bool:
    return owner.kind == KIND and owner.api_version.startswith(f"{GROUP}/")


def _is_legacy(secret: CurrentSecret) -> bool:
    """Whether the Secret has the marks of the Go original, 2.x or 1.x."""
    if secret.metadata.labels.get(MANAGED_BY_1) == MANAGED_BY_VALUE and LAST_UPDATE_1 in secret.metadata.labels:
        return True
    return secret.metadata.labels.get(MANAGED_BY) == MANAGED_BY_VALUE or LAST_UPDATE in secret.metadata.annotations
