"""The in-memory Kubernetes and Vault of a simulation. Reads of Kubernetes may be answered from an earlier state."""

import base64
from bisect import bisect_right
from collections.abc import Callable

import msgspec
import trio

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Object, mapping, parse, text
from fake_kubernetes.requests import Reply, Request
from fake_kubernetes.storage import Change, Key
from fake_kubernetes.watches import Watch
from tests.definitions import CRD
from tests.doubles import vault as double
from tests.doubles.kube_transport import virtual_time
from tests.doubles.vault import VaultState
from tests.simulation.faults import answer_of
from tests.simulation.steps import Answer, Call, Step
from tests.simulation.user import User

USERS, ITSELF = "users", "kubernetes"
LEASE = Key("leases.coordination.k8s.io", "default", "5ac9a181.secrets-manager.tuenti.io")
DEFINITIONS = "secretdefinitions.secrets-manager.tuenti.io"
DEPLOYMENTS = "deployments.apps"
NAMESPACES = ("shop", "tenant-b", "team-c")
COMMON, ELSEWHERE = "common", "elsewhere"
FOLDERS = (*NAMESPACES, COMMON, ELSEWHERE)

Listener = Callable[[Change, str], None]
"""Called with each change and its author."""


class Kubernetes:
    """The API of one cluster, which knows the author and the time of each revision."""

    def __init__(self, *, collected_every: float, changed: Listener) -> None:
        self.cluster = Cluster(now=virtual_time, crds=(CRD,))
        self.cluster.cleans_up = not collected_every
        self._coordination = Cluster(now=virtual_time)
        """Leases have a storage of their own, so that they wake no watch, and nothing to collect."""
        self._coordination.cleans_up = False
        self.user = User(self.cluster)
        self._collected_every = collected_every
        self._writer = USERS
        self._changed = changed
        self._news = trio.Event()
        self._seen = self.cluster.storage.revision
        self._times, self._revisions = [0.0], [self._seen]
        self.cluster.storage.listeners.add(self._on_change)

    def objects(self, resource: str) -> dict[Key, Object]:
        return self.cluster.storage.objects(resource)

    @property
    def crd_is_going(self) -> bool:
        """Whether the CRD is being deleted, and is still there."""
        crds = self.objects("customresourcedefinitions.apiextensions.k8s.io").values()
        return any(text(each, "metadata", "deletionTimestamp") for each in crds)

    def is_going(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, or has gone."""
        found = self.objects("namespaces").get(Key("namespaces", "", namespace))
        return found is None or bool(text(found, "metadata", "deletionTimestamp"))

    @property
    def holder(self) -> str:
        """The holder of the lease."""
        return text(self._coordination.storage.get(LEASE), "spec", "holderIdentity")

    def handle(self, call: Call, *, behind: float = 0.0) -> Reply | Watch:
        if call.step is Step.LEASE:
            return self._coordination.handle(_request(call))
        self._writer = call.who if call.writes else ITSELF
        try:
            return self.cluster.handle(_request(call), as_of=self._revision_before(behind) if behind else None)
        finally:
            self._writer = USERS

    def answer(self, call: Call, *, behind: float = 0.0) -> Answer:
        """Handle a call."""
        reply = self.handle(call, behind=behind)
        assert isinstance(reply, Reply)
        return Answer(reply.status, [(b"Content-Type", reply.content_type.encode())], reply.body)

    def create_crd(self) -> None:
        """Create the CRD, and have garbage collection judge again what it could not judge without that kind.

        Kubernetes' own collector retries such objects.
        """
        self.cluster._cleanup._seen = -1
        self.user.create(CRD)

    async def collect(self) -> None:
        """Run garbage collection with a delay."""
        while self._collected_every:
            await self._news.wait()
            await trio.sleep(self._collected_every)
            self._news = trio.Event()
            self._writer = ITSELF
            self.cluster.clean_up()
            self._writer = USERS

    def _revision_before(self, seconds: float) -> int:
        index = bisect_right(self._times, trio.current_time() - seconds) - 1
        return max(self._revisions[max(index, 0)], self.cluster.storage.compacted)

    def _on_change(self) -> None:
        storage = self.cluster.storage
        if storage.revision == self._seen:  # a compaction
            return
        self._seen = storage.revision
        self._news.set()
        self._times.append(trio.current_time())
        self._revisions.append(storage.revision)
        writer = self._writer
        if writer != USERS:
            self._writer = ITSELF  # what follows the first change is garbage collection
        self._changed(storage._changes[-1], writer)


def _request(call: Call) -> Request:
    return Request(call.method, call.path, call.query, call.body, call.content_type or "application/json")


class Vault:
    """The store. A value names its origin: canary-PATH-NUMBER-KEY."""

    def __init__(self, *, lists: bool, token_ttl: int, token_max_ttl: int) -> None:
        self.state = VaultState()
        self.state.lists = lists
        self.readable: dict[str, bool] = dict.fromkeys(FOLDERS, True)
        self.listable: dict[str, bool] = dict.fromkeys(FOLDERS, True)
        self.credentials = self.state.approle(
            "reader", policies=("reader",), token_ttl=token_ttl, token_max_ttl=token_max_ttl
        )
        self._written = 0
        self.paths: set[str] = set()
        self._set_policy()

    def rotate(self, path: str) -> None:
        self._written += 1
        self.paths.add(path)
        k1, k2, k3, k4 = (f"canary-{path}-{self._written}-k{number}" for number in range(1, 5))
        encoded, document = base64.b64encode(k3.encode()).decode(), msgspec.json.encode({"inner": k4}).decode()
        values: Object = {"k1": k1, "k2": k2, "base64": encoded, "json": document}
        self.state.write_kv(f"secret/data/{path}", values)

    def delete(self, path: str) -> None:
        if path in self.paths:
            self.state.delete_kv(f"secret/data/{path}")

    def undelete(self, path: str) -> None:
        if path in self.paths:
            self.state.undelete_kv(f"secret/data/{path}")

    def forget(self, path: str) -> None:
        if path in self.paths:
            self.paths.discard(path)
            self.state.forget_kv(f"secret/data/{path}")

    def allow(self, folder: str, *, read: bool, listing: bool) -> None:
        self.readable[folder], self.listable[folder] = read, listing
        self._set_policy()

    def revoke_tokens(self) -> None:
        for token in self.state.tokens.alive():
            self.state.revoke_token(token)

    @property
    def longest_ttl(self) -> float:
        """The seconds that remain of the token that lasts longest."""
        return max((each.expires_at for each in self.state.tokens._living.values()), default=0.0) - trio.current_time()

    def is_expired(self, token: str) -> bool:
        """Return whether the time of a token that was not revoked is over."""
        record = self.state.tokens._living.get(token)
        return record is not None and record.expires_at <= trio.current_time()

    def held(self, path: str, version: int = 0) -> tuple[int, Object] | None:
        """Return a version of a path (0: the newest) with its values; None where there is nothing to read."""
        mount, rest = self.state._routed(f"secret/data/{path}")
        found = mount.read(rest, version)
        if found.status != 200 or found.data is None:
            return None
        number = mapping(found.data, "metadata").get("version")
        assert isinstance(number, int)
        return number, mapping(found.data, "data")

    def answer(self, call: Call) -> Answer:
        self.state.requests.clear()
        body = mapping(parse(call.body)) if call.body else {}
        return answer_of(self.state.handle(double.Request(call.method, call.path, call.token, call.query, body)))

    def _set_policy(self) -> None:
        read = [f"secret/data/{folder}/*" for folder in FOLDERS if self.readable[folder]]
        listing = [f"secret/detailed-metadata/{folder}/*" for folder in FOLDERS if self.listable[folder]]
        self.state.policy("reader", *read, *listing)
