"""Secrets that were deleted to be replaced, until there is one in their place: it gets their foreign metadata.

Between the deletion and the creation anything may fail. Only the memory of this process has them then.
"""

from typing import NamedTuple

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.kube.objects import ObjectKey


class _Replaced(NamedTuple):
    """A Secret, and the uid of the definition that replaces it."""

    uid: str
    secret: CurrentSecret


class ReplacedSecrets:
    """The last Secret that each definition has deleted to replace it, or has tried to."""

    def __init__(self) -> None:
        self._secrets: dict[ObjectKey, _Replaced] = {}

    def note(self, definition: SecretDefinition, secret: CurrentSecret) -> None:
        """Note a Secret before it is deleted."""
        self._secrets[definition.key] = _Replaced(definition.metadata.uid, secret)

    def find(self, definition: SecretDefinition, name: str, current: CurrentSecret | None) -> CurrentSecret | None:
        """Return the Secret that a new one of this name replaces, if any. It is forgotten if there is a current one."""
        if current is not None:
            self.forget(definition.key)
        found = self._secrets.get(definition.key)
        if found is None or (found.uid, found.secret.metadata.name) != (definition.metadata.uid, name):
            return None
        return found.secret

    def forget(self, key: ObjectKey) -> None:
        """Forget what a definition has deleted: there is a Secret in its place, or the definition is gone."""
        self._secrets.pop(key, None)
