"""The whole controller in virtual time, between an in-memory Kubernetes and an in-memory Vault.

    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        assert scene.values("app") == {"pw": "hunter-1"}

Only the two ends of the wires are doubles: client, watcher, queue, token and all in between are the product's. When the
block ends, all output of the program is searched for values and credentials, and everything that it
wrote is held against what it must never do.
"""

import base64
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
import trio
from prometheus_client import CollectorRegistry

from fake_kubernetes import requests
from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Json, Object, at, items, mapping, number, text, without
from fake_kubernetes.requests import Request
from fake_kubernetes.storage import Change
from fake_kubernetes.watches import Watch
from secrets_manager.backends.vault.backend import VaultBackend, open_vault
from secrets_manager.config import ControllerConfig, VaultConfig
from secrets_manager.controller.controller import Controller
from secrets_manager.kube.client import open_client
from secrets_manager.liveness import Liveness
from secrets_manager.metrics import BackendMetrics, ControllerMetrics, VaultMetrics
from secrets_manager.server.message import Response
from secrets_manager.server.probes import probes
from secrets_manager.server.router import Router
from secrets_manager.statuspage.collect import Collector, Process
from secrets_manager.statuspage.report import Report, Row
from secrets_manager.statuspage.routes import status_page
from tests.controller.invariants import takeovers, violations
from tests.definitions import CRD, condition_of
from tests.doubles.faults import Faults
from tests.doubles.kube_transport import DOUBLE, KubeTransport, administrator, virtual_time
from tests.doubles.vault import VaultState, VaultTransport

NAMESPACE = "shop"
RECOMMENDED = ("secret/data/*", "secret/detailed-metadata/*")
"""What docs/vault.md lets a role do: read, and list the versions of a folder."""
READ_ONLY = RECOMMENDED[:1]
"""The same without the right to list: every source is read once a period."""
QUIET = 65.0
"""Seconds without any change after which nothing more will come: longer than any backoff."""
UNSETTLED = 3600.0
PLANTED = "ValueError: odd"
"""How the log shows the exception that a test lets a part raise."""


class Write(NamedTuple):
    """One write of the program that the server carried out."""

    method: str
    change: Change

    @property
    def kind(self) -> str:
        return self.change.key.resource

    def __str__(self) -> str:
        return f"{self.method} {self.change.key.resource} {self.change.key.name}"


class ProgramsDoor(Cluster):
    """The same cluster, by the door that only the program uses: what it writes there is noted."""

    def __init__(self, cluster: Cluster) -> None:
        self.__dict__ = cluster.__dict__
        self.writes: list[Write] = []

    def handle(self, request: Request, *, as_of: int | None = None) -> requests.Reply | Watch:
        before = self.storage.revision
        answer = super().handle(request, as_of=as_of)
        if request.method != "GET":  # what follows the first change is Kubernetes' own clean-up
            self.writes += [Write(request.method, change) for change in self.storage.changes_after(before)[:1]]
        return answer


class LogRecorder(logging.Handler):
    """Records each log line, from DEBUG on, with its fields."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {self._formatter.format(record)} {getattr(record, 'fields', {})}")


class Scene:
    """One cluster with one namespace, one Vault, and the program, which may live several times."""

    def __init__(
        self,
        nursery: trio.Nursery,
        config: ControllerConfig,
        *,
        crd: Object | None,
        seed: int,
        readable: tuple[str, ...],
    ) -> None:
        self.cluster = Cluster(now=virtual_time, crds=() if crd is None else (crd,))
        self.door = ProgramsDoor(self.cluster)
        self.user = administrator(self.cluster)
        self.faults = Faults(KubeTransport(self.door))
        self.vault = VaultState()
        self.life = trio.CancelScope()
        self.registry, self._liveness = CollectorRegistry(), Liveness(lambda: "")
        self.log = LogRecorder()
        self.canaries: set[str] = set()
        self.violations: list[str] = []
        self._judged_until = 0
        self._nursery = nursery
        self._config = config
        self._random = random.Random(seed)
        self.credentials = self.vault.reader(*readable, default_policy=False)
        self._over = trio.Event()
        self._controller: Controller | None = None
        self._store: VaultBackend | None = None
        self._said: list[str] = []
        """What its HTTP server said."""
        self.leads = True
        """False before `start`: it lives as a standby."""
        for name in (NAMESPACE, "other"):
            self.user.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # The program

    def start(self, config: ControllerConfig | None = None) -> None:
        """Let the program live, with nothing in its memory, and with another configuration if that is given."""
        self._config = config or self._config
        self.life, self._over = trio.CancelScope(), trio.Event()
        self._nursery.start_soon(self._live, self.life, self._over)

    async def stop(self) -> None:
        """Let it die here and now."""
        self.life.cancel()
        await self._over.wait()

    async def over(self) -> None:
        """Wait for its death."""
        await self._over.wait()

    async def _live(self, life: trio.CancelScope, over: trio.Event) -> None:
        self.registry, self._liveness = CollectorRegistry(), Liveness(lambda: "")
        vault = VaultConfig(url=self.vault.url, role_id=self.credentials.role_id, secret_id=self.credentials.secret_id)
        with life:
            async with (
                open_client(DOUBLE, transport=self.faults) as client,
                open_vault(vault, VaultMetrics(self.registry, vault), transport=VaultTransport(self.vault)) as bao,
                trio.open_nursery() as process,
            ):
                self._store = bao
                self._controller = controller = Controller(
                    client,
                    bao,
                    self._config,
                    ControllerMetrics(self.registry),
                    BackendMetrics(self.registry),
                    identity="component",
                    random=self._random,
                    clock=virtual_time,
                )
                await process.start(bao.maintain)
                process.start_soon(self._liveness.supervise, "the watch", controller.watches.run)
                if self.leads:
                    process.start_soon(self._liveness.supervise, "the work", controller.run)
        over.set()

    async def answer(self, path: str, *, query: str = "") -> Response:
        """What its HTTP server says, once it lives."""
        assert self._controller is not None
        store = self._store
        assert store is not None
        about = Process(
            identity="component",
            version="3.0.0",
            backend="vault",
            is_leader=lambda: self.leads,
            login=lambda: store.login,
            clock=virtual_time,
        )
        routes = probes(self._liveness, self._controller.watches)
        routes |= status_page(Collector(self._controller.view, about))
        response = await Router(routes).respond("GET", path, query=query.encode())
        self._said.append(response.body.decode())
        return response

    async def report(self, query: str = "") -> Report:
        """What /status.json says."""
        return msgspec.json.decode((await self.answer("/status.json", query=query)).body, type=Report)

    async def row(self, name: str) -> Row:
        """What it says of one definition."""
        return next(row for row in (await self.report()).definitions if row.name == name)

    @property
    def unsynced(self) -> list[str]:
        """What the program is not ready for yet."""
        return [] if self._controller is None else self._controller.watches.unsynced

    @property
    def unwatched(self) -> list[str]:
        """What the program can't watch just now."""
        return [] if self._controller is None else self._controller.watches.unwatched

    def watch_up(self, namespace: str) -> tuple[float | None, float | None]:
        """The metric of the watches of Secrets and of definitions."""
        secrets, definitions = (
            self.registry.get_sample_value("secrets_manager_watch_up", {"kind": kind, "namespace": namespace})
            for kind in ("Secret", "SecretDefinition")
        )
        return secrets, definitions

    async def settled(self, quiet: float = QUIET) -> None:
        """Wait until nothing has changed in the cluster for so many seconds."""
        with trio.fail_after(UNSETTLED):
            seen = 0
            while seen != self.cluster.storage.revision:
                seen = self.cluster.storage.revision
                await trio.sleep(quiet)

    def compact(self) -> None:
        """Let the cluster forget its history, once it was judged."""
        self.judge()
        self.cluster.compact()

    def judge(self) -> None:
        """Hold what the program wrote since the last time against what it must never do."""
        changes = [write.change for write in self.door.writes if write.change.revision > self._judged_until]
        self.violations += violations(self.cluster.storage, changes) + takeovers(self.cluster.storage, changes)
        self._judged_until = self.cluster.storage.revision

    async def passed(self, seconds: float) -> None:
        """Let some time pass."""
        await trio.sleep(seconds)

    # What people do

    def install(self) -> None:
        """Apply the CRD."""
        self.user.create(CRD)

    def write(self, path: str, **values: Json) -> None:
        """Write a secret of Vault."""
        for value in filter(None, values.values()):
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            self.canaries |= {shown, base64.b64encode(shown.encode()).decode()}
        self.vault.write_kv(f"secret/data/{path}", {**values})

    def define(
        self,
        name: str,
        *,
        namespace: str = NAMESPACE,
        secret: str = "",
        type_: str = "",
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        finalizers: tuple[str, ...] = (),
        **keys: str,
    ) -> Object:
        """Make a definition. `keys` maps keys of the Secret to path#key."""
        spec: Object = {"name": secret or name, "keysMap": keys_map(**keys)}
        about: Object = {
            "annotations": {**(annotations or {})},
            "labels": {**(labels or {})},
            "finalizers": [*finalizers],
        }
        return self.define_as_it_is(name, spec | ({"type": type_} if type_ else {}), namespace=namespace, **about)

    def define_as_it_is(self, name: str, spec: Object, *, namespace: str = NAMESPACE, **metadata: Json) -> Object:
        return self.user.create(
            {
                "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
                "kind": "SecretDefinition",
                "metadata": {"name": name, "namespace": namespace, **metadata},
                "spec": spec,
            }
        )

    def change(self, name: str, /, **spec: Json) -> None:
        """Change the spec of a definition."""
        self.user.patch(definition_path(name), {"spec": {**spec}})

    def annotate(self, name: str, **annotations: str) -> None:
        """Set annotations of ours on a definition."""
        ours: Object = {f"secrets-manager.tuenti.io/{key}": value for key, value in annotations.items()}
        self.user.patch(definition_path(name), {"metadata": {"annotations": ours}})

    def delete(self, name: str) -> None:
        """Delete a definition."""
        self.user.delete(definition_path(name))

    def edit(self, name: str, change: Object) -> None:
        """Change a Secret by hand."""
        self.user.patch(secret_path(name), change)

    def foreign_secret(self, name: str, *, data: Mapping[str, str] | None = None, **metadata: Json) -> Object:
        """Make a Secret by hand."""
        about: Object = {"name": name, "namespace": NAMESPACE, **metadata}
        content: Object = {key: base64.b64encode(value.encode()).decode() for key, value in (data or {}).items()}
        return self.user.create({"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": content})

    def copy(self, name: str, new_name: str) -> None:
        """Copy a Secret as people do, by `kubectl get secret NAME -o json`, another name, and `kubectl apply`."""
        secret = self.secret(name)
        assert secret is not None
        metadata = without(mapping(secret, "metadata"), "uid", "resourceVersion", "creationTimestamp")
        self.user.create({**secret, "metadata": {**metadata, "name": new_name}})

    # What people see

    def secret(self, name: str, *, namespace: str = NAMESPACE) -> Object | None:
        return self.user.find(secret_path(name, namespace=namespace))

    def values(self, name: str) -> dict[str, str] | None:
        """The Secret's data in clear; None where there is no such Secret."""
        secret = self.secret(name)
        return None if secret is None else values_of(secret)

    def definition(self, name: str) -> Object:
        return self.user.get(definition_path(name))

    def ready(self, name: str) -> Json:
        """The definition's Ready condition; None while there is none."""
        return condition_of(self.definition(name))

    def reason(self, name: str) -> str:
        return text(self.ready(name), "reason")

    def message(self, name: str) -> str:
        return text(self.ready(name), "message")

    def events(self) -> list[tuple[str, str]]:
        """Reason and object's name of each Event, in order."""
        return [(text(each, "reason"), text(each, "regarding", "name")) for each in self._events()]

    def events_of(self, name: str) -> list[str]:
        """Type, reason, action and note of each Event of an object, in order."""
        about = (each for each in self._events() if text(each, "regarding", "name") == name)
        return [" ".join(text(each, field) for field in ("type", "reason", "action", "note")) for each in about]

    def notes(self, reason: str) -> list[str]:
        """The note of each Event of a reason, in order."""
        return [text(each, "note") for each in self._events() if text(each, "reason") == reason]

    def event_series(self, name: str) -> dict[str, int]:
        """The count of each reason of an object's Events: a repeated Event is counted, not created again."""
        about = (each for each in self._events() if text(each, "regarding", "name") == name)
        return {text(each, "reason"): number(each, "series", "count") or 1 for each in about}

    def _events(self) -> list[Object]:
        listed = self.user.list(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")
        return sorted(listed, key=lambda event: int(text(event, "metadata", "resourceVersion")))

    def metric(self, family: str, name: str, *, namespace: str = NAMESPACE) -> float | None:
        """A sample of the controller's metrics about a definition."""
        return self.sample(f"secrets_manager_controller_{family}", name=name, namespace=namespace)

    def sample(self, family: str, **labels: str) -> float | None:
        """A sample of any metric. Nothing else is collected, so it may be asked for often."""
        found = self.registry.restricted_registry([family]).collect()
        samples = (sample for metric in found for sample in metric.samples)
        return next((each.value for each in samples if (each.name, each.labels) == (family, labels)), None)

    def sample_of(self, family: str, suffix: str) -> float:
        """One of the samples of a metric without labels, such as `_count`."""
        found = self.registry.restricted_registry([f"{family}{suffix}"]).collect()
        return sum(each.value for metric in found for each in metric.samples if each.name == f"{family}{suffix}")

    def writes(self, kind: str = "") -> list[str]:
        """What the program wrote, in order, as method, kind and name."""
        return [str(write) for write in self.door.writes if kind in ("", write.kind)]

    def writes_to_secrets(self) -> list[str]:
        return self.writes("secrets")

    def writes_to_definitions(self) -> list[str]:
        return self.writes("secretdefinitions.secrets-manager.tuenti.io")

    def picture(self) -> Object:
        """All that counts of the namespace's state, without what differs between two equal runs."""
        definitions = self.user.list(definition_path(""))
        names: Object = {text(each, "metadata", "uid"): text(each, "metadata", "name") for each in definitions}
        secrets = self.user.list(secret_path(""))
        return {
            "secrets": {text(each, "metadata", "name"): _picture_of(each, names) for each in secrets},
            "definitions": {
                text(each, "metadata", "name"): {
                    "reason": self.reason(text(each, "metadata", "name")),
                    "secretName": text(each, "status", "secretName"),
                    "sources": at(each, "status", "sources"),
                    "finalizers": items(each, "metadata", "finalizers"),
                }
                for each in definitions
            },
        }

    def leaks(self) -> list[str]:
        """Log lines, metrics, and writes to anything but Secrets that hold a value, a token or a login."""
        samples = [sample for family in self.registry.collect() for sample in family.samples]
        lines = [*self.log.lines, *self._said, *(str(sample.labels) for sample in samples)]
        changes = [write.change for write in self.door.writes if write.kind != "secrets"]
        lines += [msgspec.json.encode(change.after).decode() for change in changes]
        hidden = {*self.canaries, "canary-"}
        return [line for line in lines if any(canary in line for canary in hidden)]

    def unexpected_errors(self) -> list[str]:
        """Log lines of exceptions that no part promises to raise, but of those that a test has planted."""
        return [line for line in self.log.lines if line.startswith("ERROR") and PLANTED not in line]


@asynccontextmanager
async def running(
    *,
    alive: bool = True,
    config: ControllerConfig | None = None,
    crd: Object | None = CRD,
    seed: int = 0,
    readable: tuple[str, ...] = RECOMMENDED,
) -> AsyncGenerator[Scene]:
    """A scene, whose program is started unless `alive` is false; `readable` is what Vault lets it read and list."""
    root = logging.getLogger()
    level = root.level
    async with trio.open_nursery() as nursery:
        scene = Scene(nursery, config or ControllerConfig(), crd=crd, seed=seed, readable=readable)
        root.addHandler(scene.log)
        root.setLevel(logging.DEBUG)
        try:
            if alive:
                scene.start()
            yield scene
        finally:
            root.removeHandler(scene.log)
            root.setLevel(level)
            nursery.cancel_scope.cancel()
    assert scene.leaks() == []
    assert scene.unexpected_errors() == []
    scene.judge()
    assert scene.violations == []


def without_status(crd: Object) -> Object:
    """The CRD as the Go original had it."""
    versions: list[Json] = [
        {name: value for name, value in mapping(version).items() if name != "subresources"}
        for version in items(crd, "spec", "versions")
    ]
    return {**crd, "spec": {**mapping(crd, "spec"), "versions": versions}}


def keys_map(**keys: str) -> Object:
    """The keysMap for path#key."""
    return {key: {"path": f"secret/data/{path}", "key": name} for key, (path, _, name) in _split(keys).items()}


def _split(keys: Mapping[str, str]) -> dict[str, tuple[str, str, str]]:
    return {key: place.partition("#") for key, place in keys.items()}


def definition_path(name: str, *, namespace: str = NAMESPACE) -> str:
    root = f"/apis/secrets-manager.tuenti.io/v1alpha1/namespaces/{namespace}/secretdefinitions"
    return f"{root}/{name}" if name else root


def secret_path(name: str, *, namespace: str = NAMESPACE) -> str:
    root = f"/api/v1/namespaces/{namespace}/secrets"
    return f"{root}/{name}" if name else root


def values_of(secret: Object) -> dict[str, str]:
    """The data of a Secret, in clear."""
    return {key: base64.b64decode(str(value)).decode() for key, value in mapping(secret, "data").items()}


def _picture_of(secret: Object, names: Object) -> Object:
    """Uids differ from run to run, so owners are shown by name: an unknown uid would show as itself."""
    labels = {**mapping(secret, "metadata", "labels")}
    if "secrets-manager.tuenti.io/owner" in labels:
        uid = text(labels, "secrets-manager.tuenti.io/owner")
        labels["secrets-manager.tuenti.io/owner"] = names.get(uid, uid)
    owners: list[Json] = [
        names.get(text(owner, "uid"), text(owner, "uid")) for owner in items(secret, "metadata", "ownerReferences")
    ]
    return {"type": at(secret, "type"), "values": {**values_of(secret)}, "labels": labels, "owners": owners}
