"""Watch definitions and owned Secrets: a reflector for each kind in each namespace."""

from collections.abc import Callable
from random import Random

import trio

from secrets_manager.controller import readiness
from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.ownership import BY_DEFINITION, definition_of
from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from secrets_manager.metrics import ControllerMetrics

DefinitionHandler = Callable[[SecretDefinition | None, SecretDefinition | None], None]
SecretHandler = Callable[[CurrentSecret | None, CurrentSecret | None], None]
"""Called with an object before and after a change; None where it does not exist."""

BY_UID = "uid"
"""Index of definitions by uid."""


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
    ) -> None:
        self.definitions = Store[SecretDefinition](indices={BY_UID: lambda definition: (definition.metadata.uid,)})
        self.secrets = Store[CurrentSecret](indices={BY_DEFINITION: definition_of})
        self._reflectors: list[tuple[Reflector[CurrentSecret], Reflector[SecretDefinition]]] = []
        for namespace in namespaces or ("",):
            secrets = Watcher(client, SECRETS, random=random, namespace=namespace, label_selector=OWNER)
            definitions = Watcher(client, SECRET_DEFINITIONS, random=random, namespace=namespace)
            pair = (
                Reflector(secrets, store=self.secrets, on_change=secret_changed),
                Reflector(definitions, store=self.definitions, on_change=definition_changed),
            )
            self._reflectors.append(pair)
            for reflector in pair:
                metrics.watch(reflector.kind, reflector.namespace, up=reflector.is_up)

    async def run(self) -> None:
        """List and watch until cancelled. A standby does it too, since nothing is written."""
        async with trio.open_nursery() as nursery:
            for secrets, definitions in self._reflectors:
                nursery.start_soon(_sync, secrets, definitions)

    @property
    def unsynced(self) -> list[str]:
        """Why the stores are not synced yet, one line each; see readiness.py."""
        return readiness.unsynced(self._reflectors)

    @property
    def unwatched(self) -> list[str]:
        """What can't be watched, one line each."""
        return readiness.unwatched(self._reflectors)


async def _sync(secrets: Reflector[CurrentSecret], definitions: Reflector[SecretDefinition]) -> None:
    """List Secrets first, so that the first reconcile of a definition finds its Secret in the store."""
    async with trio.open_nursery() as nursery:
        await nursery.start(secrets.run)
        await nursery.start(definitions.run)


def owner_uid(secret: CurrentSecret) -> tuple[str, ...]:
    """Return the uid of the Secret's definition, if it has the label."""
    uid = secret.metadata.labels.get(OWNER)
    return () if uid is None else (uid,)
