"""What a user does, and what the program then brings about: one class for each thing that needs a right of its own.

`act` may be done again, with the same meaning: a right that was missing may have come back meanwhile.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from fake_kubernetes.documents import Json, Object, at, mapping, number, text
from tests.process.running import Place
from tests.process.the_original import FINALIZER
from tests.real.kube_api import path_of, wait_until
from tests.workloads import workload


class Feature(ABC):
    """`name` is that of the definition, `secret` that of the Secret which it wants."""

    def __init__(self, here: Place) -> None:
        self.here = here
        self.name = self.secret = here.bao.fresh("feature")
        self.values = 0

    @abstractmethod
    def act(self) -> None: ...

    @abstractmethod
    def seen(self) -> bool: ...

    def define(self, **spec: Json) -> None:
        """A definition, and a value for it that was never there before."""
        self.values += 1
        path = self.here.write(self.written_at, password=f"value-{self.values}")
        self.here.define(self.name, {"password": f"{path}#password"}, **spec)

    @property
    def written_at(self) -> str:
        """Where its value is, below the folder of the test."""
        return self.name

    def synced(self) -> bool:
        return self.here.values(self.name) == {"password": f"value-{self.values}"}

    def patch_definition(self, change: Object) -> None:
        self.here.cluster.patch(self.here.path_of_definition(self.name), change)

    def events(self) -> list[Object]:
        listed = self.here.cluster.list(f"/apis/events.k8s.io/v1/namespaces/{self.here.namespace}/events")
        return [event for event in listed if text(event, "regarding", "name") == self.name]


class MakesSecrets(Feature):
    def act(self) -> None:
        self.define()

    def seen(self) -> bool:
        return self.synced()


class TakesOverSecretsOfTheOriginal(MakesSecrets):
    def act(self) -> None:
        metadata: Object = {
            "name": self.name,
            "namespace": self.here.namespace,
            "labels": {"app.kubernetes.io/managed-by": "secrets-manager"},
        }
        self.here.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
        self.define()


class AdoptsSecretsOfOthers(MakesSecrets):
    def act(self) -> None:
        metadata: Object = {"name": self.name, "namespace": self.here.namespace}
        self.here.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
        self.define()
        wait_until(lambda: self.here.reason(self.name) == "SecretNotOwned")
        self.patch_definition({"metadata": {"annotations": {"secrets-manager.tuenti.io/adopt": "true"}}})


class MergesIntoSecretsOfOthers(MakesSecrets):
    def act(self) -> None:
        metadata: Object = {"name": self.name, "namespace": self.here.namespace}
        self.here.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
        self.define(creationPolicy="Merge")
        wait_until(self.synced)
        self.here.cluster.patch(self.here.path_of_secret(self.name), {"data": {"password": None}})


class FollowsVault(MakesSecrets):
    def act(self) -> None:
        self.define()
        wait_until(lambda: self.here.secret(self.name) is not None)
        self.define()


class ForcesSync(MakesSecrets):
    """Not before: a definition may be read so seldom that this test would be over.

    Its value has a folder of its own, which is not listed: a listing would bring the change within a second.
    """

    @property
    def written_at(self) -> str:
        return f"{self.name}/alone"

    def act(self) -> None:
        self.define(refreshInterval="1h")
        wait_until(self.synced)
        self.define(refreshInterval="1h")
        assert not self.synced()
        annotations: Object = {"secrets-manager.tuenti.io/force-sync": str(self.values)}
        self.patch_definition({"metadata": {"annotations": annotations}})


class UndoesEdits(MakesSecrets):
    def act(self) -> None:
        self.define()
        wait_until(self.synced)
        self.here.cluster.patch(self.here.path_of_secret(self.name), {"data": {"password": "ZWRpdGVk"}})


class RemovesTheSecretOfTheFormerName(Feature):
    def act(self) -> None:
        self.define()
        wait_until(self.synced)
        self.secret = f"{self.name}-renamed"
        self.patch_definition({"spec": {"name": self.secret}})

    def seen(self) -> bool:
        return self.here.secret(self.name) is None


class ChangesTheType(Feature):
    def act(self) -> None:
        self.define()
        wait_until(self.synced)
        self.patch_definition({"spec": {"type": "example.org/other"}})

    def seen(self) -> bool:
        return text(self.here.secret(self.name), "type") == "example.org/other"


class TakesOffTheFinalizerOfTheOriginal(Feature):
    def act(self) -> None:
        self.define()
        self.patch_definition({"metadata": {"finalizers": [FINALIZER]}})

    def seen(self) -> bool:
        return self.synced() and at(self.here.definition(self.name), "metadata", "finalizers") is None


class WritesTheStatus(Feature):
    def act(self) -> None:
        self.define()

    def seen(self) -> bool:
        return self.here.reason(self.name) == "Synced"


class RecordsEvents(Feature):
    def act(self) -> None:
        self.define()
        wait_until(self.synced)

    def seen(self) -> bool:
        return self.events() != []


class CountsEvents(Feature):
    def act(self) -> None:
        for _ in range(3):
            self.define()
            wait_until(self.synced)

    def seen(self) -> bool:
        return any(number(event, "series", "count") > 1 for event in self.events())


class RestartsDeployments(Feature):
    """By a change of the Secret; the workload is there before it."""

    kind: ClassVar = "Deployment"

    def act(self) -> None:
        self.here.cluster.apply(workload(self.kind, self.name, namespace=self.here.namespace))
        targets: Json = [{"kind": self.kind, "name": self.name}]
        self.define(rolloutRestartTargets=targets)
        wait_until(self.synced)
        self.define(rolloutRestartTargets=targets)
        wait_until(self.synced)

    def seen(self) -> bool:
        path = path_of(workload(self.kind, self.name, namespace=self.here.namespace), named=True)
        template = at(self.here.cluster.get(path), "spec", "template")
        return "secrets-manager.tuenti.io/restarted-for" in mapping(template, "metadata", "annotations")


class RestartsStatefulSets(RestartsDeployments):
    kind = "StatefulSet"


class RestartsDaemonSets(RestartsDeployments):
    kind = "DaemonSet"
