"""Whose a Secret is. One that is not ours is never overwritten or deleted.

Label and owner say for which definition a Secret is. A copy that somebody makes of it under another name has both, so
each Secret tells the name that it was written under, too: that of a copy is another than its own.
"""

from enum import Enum, auto

from secrets_manager.controller.definition import ADOPT, GROUP, KIND, Reason, SecretDefinition
from secrets_manager.controller.metadata import LAST_UPDATE, MANAGED_BY, MANAGER
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import OWNER, CurrentSecret
from secrets_manager.kube.objects import OwnerReference

WRITTEN_AS = f"{GROUP}/name"
"""Annotation on the Secret: the name that it was written under."""
OF_DEFINITION = "definition"
"""Index of Secrets, by `definition_of`."""


class Claim(Enum):
    """By what right a definition may write a Secret that is there."""

    OWNED = auto()
    """It names this definition as its owner, or an earlier definition of the same name, which is gone."""
    INHERITED = auto()
    """The Go original made it, and nobody else owns it."""
    ADOPTED = auto()
    """The user said so, by the annotation `adopt`."""
    NONE = auto()


def claim(definition: SecretDefinition, secret: CurrentSecret) -> Claim:
    """The right of this definition to this Secret."""
    if owns(definition, secret):
        return Claim.OWNED
    if secret.controller is not None:
        return Claim.NONE
    if not secret.metadata.owner_references and _made_by_the_original(secret):
        return Claim.INHERITED
    if definition.metadata.annotations.get(ADOPT) == "true":
        return Claim.ADOPTED
    return Claim.NONE


def owns(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    """Whether the Secret's managing owner is this definition.

    A namespace has one definition of a name at a time, so an owner of that name with another uid is a definition that
    was deleted: taking its Secret over, before the garbage collector comes, spares the Secret's users a gap.
    Where somebody removed the ownerReference alone, the label still tells.
    """
    owner = secret.controller
    if owner is None:
        return secret.metadata.labels.get(OWNER) == definition.metadata.uid
    return names(definition, owner)


def names(definition: SecretDefinition, owner: OwnerReference) -> bool:
    """Whether this owner is the definition, or an earlier one of the same name."""
    return _is_definition(owner) and owner.name == definition.metadata.name


def definition_of(secret: CurrentSecret) -> tuple[str, ...]:
    """The key of the definition that the Secret names as its managing owner, if any. Its uid is of no account."""
    owner = secret.controller
    if owner is None or not _is_definition(owner):
        return ()
    return (str(secret.key._replace(name=owner.name)),)


def is_copy(definition: SecretDefinition, secret: CurrentSecret) -> bool:
    """Whether somebody made this Secret of one that was written for the definition or for an earlier one of its name.

    What an older version wrote tells no name. Of those it is the one that the status tells; before there is any, all.
    """
    name = secret.metadata.name
    written_as = secret.metadata.annotations.get(WRITTEN_AS)
    if written_as is None:
        return definition.status.secret_name not in ("", name)
    return written_as != name


def not_owned(secret: CurrentSecret) -> Problem:
    """The refusal, with the name of the owner and the next step."""
    owner = secret.controller
    if owner is None:
        who = "was not made by secrets-manager"
        step = f"delete or rename it, or annotate this definition with {ADOPT}=true to take it over"
    else:
        who = f"is owned by {owner.kind} {owner.name}"
        step = "choose another spec.name, or delete that owner"
    return Problem(Reason.SECRET_NOT_OWNED, f"Secret {secret.metadata.name} {who}: {step}")


def _is_definition(owner: OwnerReference) -> bool:
    return owner.kind == KIND and owner.api_version.startswith(f"{GROUP}/")


def _made_by_the_original(secret: CurrentSecret) -> bool:
    return secret.metadata.labels.get(MANAGED_BY) == MANAGER or LAST_UPDATE in secret.metadata.annotations
