"""`explain` and `plan` on the servers of a scene, with every request that they make."""

import io
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import trio

from fake_kubernetes.documents import Json, Object, at
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.config import Config, ControllerConfig, VaultConfig
from secrets_manager.explain.command import explain_all
from secrets_manager.explain.explanation import Explanation
from secrets_manager.explain.subjects import Subject, of_files_applied, of_keys, of_namespace
from secrets_manager.inputs.documents import NoMetrics, read_documents
from secrets_manager.inputs.manifests import load
from secrets_manager.kube.client import KubeClient, open_client
from secrets_manager.kube.objects import ObjectKey
from tests.controller.component import NAMESPACE, Scene
from tests.doubles.faults import Faults
from tests.doubles.kube_transport import DOUBLE, KubeTransport
from tests.doubles.vault import VaultTransport

LOGINS = {"auth/approle/login", "auth/token/revoke-self"}


class ExplainRunner:
    """Runs `explain` and `plan` on the servers of a scene. Its requests are not counted among those of the program."""

    def __init__(self, scene: Scene, controller: ControllerConfig | None = None) -> None:
        self.transport = Faults(KubeTransport(scene.cluster))
        self._scene = scene
        login = scene.credentials
        self._config = Config(
            vault=VaultConfig(url=scene.vault.url, role_id=login.role_id, secret_id=login.secret_id),
            controller=controller or ControllerConfig(),
        )

    async def explain(self, *names: str) -> list[Explanation]:
        """Explain these definitions, or all in the namespace."""
        keys = [ObjectKey(NAMESPACE, name) for name in names]
        return await self._run(lambda client: of_keys(client, keys) if names else of_namespace(client, NAMESPACE))

    async def plan(self, *manifests: Json) -> list[Explanation]:
        """Explain the definitions of manifests."""
        everything: Object = {"kind": "List", "items": [*manifests]}
        found = load(["-"], stdin=io.StringIO(msgspec.json.encode(everything).decode())).found
        return await self._run(lambda client: of_files_applied(client, found, namespace=NAMESPACE))

    async def _run(self, subjects: Callable[[KubeClient], Awaitable[list[Subject]]]) -> list[Explanation]:
        vault_before = len(self._scene.vault.requests)
        async with (
            open_client(DOUBLE, transport=self.transport) as client,
            open_vault(self._config.vault, NoMetrics(), transport=VaultTransport(self._scene.vault)) as backend,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(backend.maintain)
            read = partial(read_documents, backend, config=self._config.controller)
            explained = await explain_all(client, read, self._config, await subjects(client))
            nursery.cancel_scope.cancel()
        assert {call.method for call in self.transport.calls} <= {"GET"}, "the cluster is only read"
        asked = self._scene.vault.requests[vault_before:]
        assert {each.path for each in asked if each.method != "GET"} <= LOGINS, "the store is only read"
        return explained


def manifest_of(definition: Object) -> Object:
    """The manifest that a user would have of a definition in the cluster."""
    names = ("name", "namespace", "labels", "annotations", "finalizers")
    metadata: Object = {name: at(definition, "metadata", name) for name in names}
    return {
        "apiVersion": at(definition, "apiVersion"),
        "kind": at(definition, "kind"),
        "metadata": metadata,
        "spec": at(definition, "spec"),
    }
