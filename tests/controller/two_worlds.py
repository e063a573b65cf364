"""Two namespaces of two folders between a Vault and a Kubernetes that may be in trouble at the same time.

It keeps the truth beside the program: what each path holds, and what each definition asks for. So it can check at any
time what is not as it should be. Every name and path of a namespace holds that namespace's name: where another one is
wrote it, that shows.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count

import msgspec
import trio

from fake_kubernetes.documents import Object, items, number, text
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, definition_path, keys_map, running, secret_path, values_of
from tests.definitions import condition_of

PERIOD = ControllerConfig().reconcile_period
SHOP, TENANT = NAMESPACES = "shop", "tenant-b"
BEGINNING: dict[tuple[str, str], dict[str, str]] = {
    (SHOP, "shop-0"): {"a": "shop/one"},
    (SHOP, "shop-1"): {"a": "shop/one", "b": "shop/two"},
    (SHOP, "shop-2"): {"a": "shop/two"},
    (SHOP, "shop-3"): {"a": "shop/three"},
    (TENANT, "tenant-b-0"): {"a": "tenant-b/one"},
    (TENANT, "tenant-b-1"): {"a": "tenant-b/one", "b": "tenant-b/two"},
    (TENANT, "tenant-b-2"): {"a": "tenant-b/three"},
}
"""The paths of each definition's keys."""
OF_ALL = ("backend unavailable", "can't keep the Vault token valid")
"""Log lines that speak of Vault as a whole."""
SAMPLED_EVERY = 0.5

Name = tuple[str, str]
"""Namespace and name of a definition, whose Secret has the same name."""


class TwoWorlds:
    """A scene, and what should be true of it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.held: dict[str, str] = {}
        self.wanted: dict[Name, dict[str, str]] = {}
        self.oldest_item = 0.0
        """Seconds for which one item of the queue has been worked on, at most."""
        self._numbers = count(1)

    # What people do

    def rotate(self, path: str) -> None:
        """Write another value."""
        self.held[path] = f"hunter-{next(self._numbers)}"
        self.scene.write(path, k=self.held[path])

    def define(self, name: Name, keys: Mapping[str, str]) -> None:
        for path in keys.values():
            if path not in self.held:
                self.rotate(path)
        self.wanted[name] = {**keys}
        spec: Object = {"name": name[1], "keysMap": _keys_map(keys)}
        self.scene.define_as_it_is(name[1], spec, namespace=name[0])

    def change(self, name: Name, keys: Mapping[str, str]) -> None:
        for path in keys.values():
            if path not in self.held:
                self.rotate(path)
        gone: Object = dict.fromkeys(self.wanted[name].keys() - keys.keys())
        self.wanted[name] = {**keys}
        change: Object = {"spec": {"keysMap": _keys_map(keys) | gone}}
        self.scene.user.patch(definition_path(name[1], namespace=name[0]), change)

    def delete(self, name: Name) -> None:
        del self.wanted[name]
        self.scene.user.delete(definition_path(name[1], namespace=name[0]))

    def edit(self, name: Name) -> None:
        """Change its Secret by hand, if there is one."""
        path = secret_path(name[1], namespace=name[0])
        if self.scene.user.find(path) is not None:
            self.scene.user.patch(path, {"data": {"a": "ZWRpdGVk"}})

    # What must be

    def problems(self) -> list[str]:
        """What is not as it should be, in words."""
        definitions = self._all({namespace: definition_path("", namespace=namespace) for namespace in NAMESPACES})
        secrets = self._all({namespace: secret_path("", namespace=namespace) for namespace in NAMESPACES})
        found = [f"{name} is there" for _, name in sorted(secrets.keys() - self.wanted.keys())]
        found += [f"{name} is missing" for _, name in sorted(self.wanted.keys() - secrets.keys())]
        for name in self.wanted.keys() & secrets.keys():
            found += self._problems_of(name, definitions[name], secrets[name])
        if (up := self.scene.sample("secrets_manager_backend_up")) != 1:
            found.append(f"backend_up is {up}")
        if unsynced := self.scene.unsynced:
            found.append(f"not ready: {unsynced}")
        return found

    def _all(self, paths: Mapping[str, str]) -> dict[Name, Object]:
        return {
            (namespace, text(each, "metadata", "name")): each
            for namespace, path in paths.items()
            for each in self.scene.user.list(path)
        }

    def _problems_of(self, name: Name, definition: Object, secret: Object) -> Iterator[str]:
        namespace, own = name
        keys, values = self.wanted[name], values_of(secret)
        wanted = {key: self.held[path] for key, path in keys.items()}
        if values != wanted:
            yield f"{own} holds {values}, not {wanted}"
        ready = condition_of(definition)
        if (text(ready, "status"), text(ready, "reason")) != ("True", "Synced"):
            yield f"{own} says {text(ready, 'reason')}: {text(ready, 'message')}"
        if number(definition, "status", "observedGeneration") != number(definition, "metadata", "generation"):
            yield f"{own} has not observed its generation"
        written_at = text(secret, "metadata", "annotations", "secrets-manager.tuenti.io/lastUpdateTime")
        if (synced_at := text(definition, "status", "lastSyncTime")) < written_at:
            yield f"{own} was synced last at {written_at}, not {synced_at}"
        recorded = sorted(text(each, "path") for each in items(definition, "status", "sources"))
        if recorded != sorted({f"secret/data/{path}" for path in keys.values()}):
            yield f"{own} has the sources {recorded}"
        if (synced := self.scene.metric("last_sync_status", own, namespace=namespace)) != 1:
            yield f"{own} has last_sync_status {synced}"

    def leaks_to_others(self) -> list[str]:
        """Writes and log lines of one namespace that contain the other one's name, and so a path or value of it."""
        other = {SHOP: TENANT, TENANT: SHOP}
        changes = [write.change for write in self.scene.door.writes]
        written = [(each.key.namespace, msgspec.json.encode(each.after).decode()) for each in changes]
        found = [content for namespace, content in written if namespace in other and other[namespace] in content]
        for line in self.scene.log.lines:
            is_of_all = any(words in line for words in OF_ALL)
            if (SHOP in line and TENANT in line) or (is_of_all and (SHOP in line or TENANT in line)):
                found.append(line)
        return found

    # Requests

    def asked_of_vault(self) -> int:
        """Reads and listings, and so much as an attempt at one."""
        return sum(1 for each in self.scene.vault.requests if each.path.startswith("secret/"))

    def written_to_kubernetes(self) -> int:
        """Writes of Secrets and definitions, and so much as an attempt at one."""
        return self.scene.faults.count(lambda call: call.method != "GET" and "/events" not in call.path)

    async def sample(self) -> None:
        """Check the queue now and then, until cancelled."""
        while True:
            await trio.sleep(SAMPLED_EVERY)
            oldest = self.scene.sample("workqueue_longest_running_processor_seconds", name="secretdefinition")
            self.oldest_item = max(self.oldest_item, oldest or 0.0)


@asynccontextmanager
async def two_worlds(*, seed: int = 0) -> AsyncGenerator[TwoWorlds]:
    """Both worlds, in sync."""
    async with running(seed=seed) as scene, trio.open_nursery() as nursery:
        scene.user.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}})
        worlds = TwoWorlds(scene)
        for name, keys in BEGINNING.items():
            worlds.define(name, keys)
        nursery.start_soon(worlds.sample)
        await scene.passed(2.5 * PERIOD)
        assert worlds.problems() == []
        yield worlds
        nursery.cancel_scope.cancel()


def _keys_map(keys: Mapping[str, str]) -> Object:
    return keys_map(**{key: f"{path}#k" for key, path in keys.items()})
