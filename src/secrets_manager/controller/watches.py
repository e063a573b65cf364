"""Watch definitions and Secrets: a reflector for each kind in each namespace.

Owned Secrets are watched by our label. Those that definitions merge keys into have no mark of ours, so the metadata of
all Secrets is watched, from the first definition that merges in a namespace until the process ends.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import trio

from secrets_manager.controller import readiness
from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.merged_secret import (
    BY_MERGER,
    MERGED_SECRETS,
    MergedSecret,
    merger_key,
    mergers,
)
from secrets_manager.controller.ownership import BY_DEFINITION, BY_UID, definition_of
from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from secrets_manager.metrics import ControllerMetrics

DefinitionHandler = Callable[[SecretDefinition | None, SecretDefinition | None], None]
SecretHandler = Callable[[CurrentSecret | None, CurrentSecret | None], None]
"""Called with an object before and after a change; None where it does not exist."""
MergedHandler = Callable[[MergedSecret | None, MergedSecret | None, ObjectKey | None], None]
"""The same, with the definition for which this process has changed the Secret, if so."""

BY_TARGET = "target"
"""Index of definitions that merge, by the Secret that they merge into."""
BY_SHORTENED = "shortened"
"""Index of definitions whose names are too long for a field manager, by `merger_key`."""
METADATA = "SecretMetadata"
"""The kind of the watch of metadata, in metrics."""


class _Reflectors(NamedTuple):
    """The reflectors of one namespace; empty: of all."""

    secrets: Reflector[CurrentSecret]
    definitions: Reflector[SecretDefinition]
    merged: Reflector[MergedSecret]
    needed: trio.Event
    """Set once a definition merges in the namespace."""


class Watches:
    """The stores, and the reflectors that fill them. No namespaces mean all of them, in one watch."""

    def __init__(
        self,
        client: KubeClient,
        namespaces: tuple[str, ...],
        metrics: ControllerMetrics,
        *,
        random: Random,
        definition_changed: DefinitionHandler,
        secret_changed: SecretHandler,
        merged_changed: MergedHandler,
    ) -> None:
        self.definitions = Store[SecretDefinition](
            indices={
                BY_UID: lambda definition: (definition.metadata.uid,),
                BY_TARGET: _target,
                BY_SHORTENED: _shortened,
            }
        )
        self.secrets = Store[CurrentSecret](indices={BY_DEFINITION: definition_of})
        self.merged = Store[MergedSecret](indices={BY_MERGER: mergers})
        self._metrics = metrics
        self._merged_changed = merged_changed
        self._reflectors: list[_Reflectors] = []
        for namespace in namespaces or ("",):
            secrets = Watcher(client, SECRETS, random=random, namespace=namespace, label_selector=OWNER)
            definitions = Watcher(client, SECRET_DEFINITIONS, random=random, namespace=namespace)
            merged = Watcher(client, MERGED_SECRETS, random=random, namespace=namespace)
            reflectors = _Reflectors(
                Reflector(secrets, store=self.secrets, on_change=secret_changed),
                Reflector(definitions, store=self.definitions, on_change=definition_changed),
                Reflector(merged, store=self.merged, on_change=lambda old, new: merged_changed(old, new, None)),
                trio.Event(),
            )
            self._reflectors.append(reflectors)
            for reflector in (reflectors.secrets, reflectors.definitions):
                metrics.watch(reflector.kind, reflector.namespace, up=reflector.is_up)

    async def run(self) -> None:
        """List and watch until cancelled. A standby does it too, since nothing is written."""
        async with trio.open_nursery() as nursery:
            for reflectors in self._reflectors:
                nursery.start_soon(self._sync, reflectors)

    def need_merged(self, namespace: str) -> None:
        """Watch the metadata of Secrets in this namespace from now on."""
        for reflectors in self._reflectors:
            if reflectors.merged.namespace in ("", namespace):
                reflectors.needed.set()

    def knows_merged(self, namespace: str) -> bool:
        """Whether the store has the metadata of all Secrets in this namespace."""
        return any(
            reflectors.merged.has_synced
            for reflectors in self._reflectors
            if reflectors.merged.namespace in ("", namespace)
        )

    def merging_into(self, key: ObjectKey) -> list[SecretDefinition]:
        """Return the definitions that merge into a Secret."""
        return self.definitions.by_index(BY_TARGET, str(key))

    def labelled(self, uid: str, namespace: str) -> list[SecretDefinition]:
        """Return the definition that a label on a Secret names. One of another namespace does not count.

        What copies Secrets from there copies their labels too.
        """
        return [each for each in self.definitions.by_index(BY_UID, uid) if each.key.namespace == namespace]

    def definition_key(self, merger: ObjectKey) -> ObjectKey:
        """Return the key of the definition of a merger; that of the merger, if there is no definition."""
        return next((found.key for found in self.definitions.by_index(BY_SHORTENED, str(merger))), merger)

    def learn_merged(self, secret: MergedSecret, *, by: ObjectKey) -> None:
        """Store a response. A foreign change may hide in it, so that it counts as a change for all but `by`."""
        change = self.merged.apply(secret)
        if change is not None:
            self._merged_changed(change.old, change.new, by)

    @property
    def unsynced(self) -> list[str]:
        """Why the stores are not synced yet, one line each; see readiness.py."""
        return readiness.unsynced([(reflectors.secrets, reflectors.definitions) for reflectors in self._reflectors])

    @property
    def unwatched(self) -> list[str]:
        """What can't be watched, one line each."""
        return readiness.unwatched([reflectors[:3] for reflectors in self._reflectors])

    async def _sync(self, reflectors: _Reflectors) -> None:
        """List Secrets first, so that the first reconcile of a definition finds its Secret in the store.

        Their metadata comes last: whose keys are left over shows once all definitions are known.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(reflectors.secrets.run)
            await nursery.start(reflectors.definitions.run)
            await reflectors.needed.wait()
            self._metrics.watch(METADATA, reflectors.merged.namespace, up=reflectors.merged.is_up)
            await nursery.start(reflectors.merged.run)


def _target(definition: SecretDefinition) -> tuple[str, ...]:
    target = definition.merges_into
    return () if target is None else (str(target),)


def _shortened(definition: SecretDefinition) -> tuple[str, ...]:
    merger = merger_key(definition.key)
    return () if merger == definition.key else (str(merger),)


def owner_uid(secret: CurrentSecret) -> tuple[str, ...]:
    """Return the uid of the Secret's definition, if it has the label."""
    uid = secret.metadata.labels.get(OWNER)
    return () if uid is None else (uid,)
