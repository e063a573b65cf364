"""Keys in Secrets of others: which ones a definition has there alone, and which ones others have. Pure.

By the managed fields of each Secret, as the API server decides.
"""

from collections.abc import Iterator

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.merged_secret import field_manager, merger_of
from secrets_manager.explain.explanation import Release
from secrets_manager.explain.observed import ObservedSecret, Secrets, observed_value
from secrets_manager.kube.errors import FieldOwner

DATA = ("data",)


def own_keys(definition: SecretDefinition, observed: ObservedSecret) -> frozenset[str]:
    """Return the keys that leave the Secret when the definition applies them no more."""
    ours, others = frozenset[str](), frozenset[str]()
    for entry in observed.managed_fields:
        if entry.manager == _manager(definition):
            ours |= entry.below(DATA)
        else:
            others |= entry.below(DATA)
    return ours - others


def owners_of_others(definition: SecretDefinition, target: Desired, observed: ObservedSecret) -> list[FieldOwner]:
    """Return the keys that the definition would take over, and from whom. A key with an equal value is shared."""
    changed = {key for key, value in target.data.items() if observed.values.get(key) != observed_value(key, value)}
    return [
        FieldOwner(key, entry.manager)
        for entry in observed.managed_fields
        if entry.manager != _manager(definition)
        for key in sorted(entry.below(DATA) & changed)
    ]


def releases(definition: SecretDefinition, secrets: Secrets, *, but: str) -> Iterator[Release]:
    """Tell which keys leave which Secrets, but those of one. Kubernetes refuses to change immutable ones."""
    for name, observed in sorted(secrets.found.items()):
        keys = own_keys(definition, observed)
        if name != but and keys and not observed.current.immutable:
            yield Release(secret=name, keys=tuple(sorted(keys)))


def _manager(definition: SecretDefinition) -> str:
    return field_manager(merger_of(definition.metadata.name))
