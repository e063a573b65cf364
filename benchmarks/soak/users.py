"""What users do all day, in the store and in the cluster: each action changes the model and the real part alike.

Which action comes next depends on chance alone, never on what the program makes of it, so a seed repeats a course.
"""

import base64
import random
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, Protocol

import httpx

from benchmarks.program import API_VERSION, definition
from benchmarks.soak.model import KINDS, Content, Definition, Kind, Model
from fake_kubernetes.documents import Object
from tests.real.kube_api import KubeApi

LEAST, MOST, AT_REST = 200, 350, 300
"""Live definitions: during churn, and at rest, so that figures can be compared."""
AT_ONCE = 40
"""Secrets that are rotated, or definitions that are forced to sync, in one go."""
DELETED_AT_MOST = 10
"""Paths, so that most definitions stay in sync."""


class Reach(NamedTuple):
    """Which of the servers users can work with just now."""

    kubernetes: bool = True
    vault: bool = True


class Store(Protocol):
    """Where secrets are written: OpenBao, or its double."""

    def write_kv(self, path: str, data: Object | None) -> None: ...

    def delete_kv(self, path: str) -> None: ...

    def undelete_kv(self, path: str) -> None: ...

    def forget_kv(self, path: str) -> None: ...


class Users:
    """Those who write secrets, and those who write definitions."""

    def __init__(self, model: Model, cluster: KubeApi, store: Store, chance: random.Random) -> None:
        self.actions = 0
        self._model = model
        self._cluster = cluster
        self._store = store
        self._chance = chance
        self._forced = 0
        self._gone: deque[Definition] = deque(maxlen=50)
        self._in_kubernetes: dict[Callable[[], None], int] = {
            self._grow_or_shrink: 40,
            self._change: 12,
            self._rename: 5,
            self._force_one: 8,
            self._edit_by_hand: 8,
            self._delete_by_hand: 5,
        }
        self._in_vault: dict[Callable[[], None], int] = {
            self._rotate: 30,
            self.rotate_many: 2,
            self._delete_path: 6,
            self._forget_path: 2,
            self._revive_path: 8,
        }

    def settle_in(self) -> None:
        """Write all paths, and the first definitions."""
        for path in self._model.contents:
            self._write(path)
        self.level()

    def act(self, reach: Reach) -> None:
        """Do one thing, with a server that is there."""
        weights = (self._in_kubernetes if reach.kubernetes else {}) | (self._in_vault if reach.vault else {})
        (action,) = self._chance.choices(list(weights), list(weights.values()))
        action()
        self.actions += 1

    def level(self) -> None:
        """Bring the number of definitions of each kind to that of a rest."""
        for kind, share in KINDS.items():
            live = [each for each in self._model.definitions.values() if each.kind is kind]
            lacking = AT_REST * share // 100 - len(live)
            for _ in range(lacking):
                self._make(kind)
            for surplus in live[: max(0, -lacking)]:
                self._delete(surplus)

    def rotate_many(self) -> None:
        for path in self._chance.sample(self._paths(readable=True), AT_ONCE):
            self._write(path)

    def force_many(self) -> None:
        for forced in self._chance.sample(list(self._model.definitions.values()), AT_ONCE):
            self._force(forced)

    def _grow_or_shrink(self) -> None:
        grow = self._chance.random() < (MOST - len(self._model.definitions)) / (MOST - LEAST)
        if grow:
            (kind,) = self._chance.choices(list(KINDS), list(KINDS.values()))
            self._make(kind)
        else:
            self._delete(self._any())

    def _make(self, kind: Kind) -> None:
        """One in four takes the name of one that is gone, whose Secret may still be there."""
        if self._gone and self._chance.random() < 1 / 4:
            before = self._gone.pop()
            made = self._model.define(kind, before.namespace, before.name)
        else:
            made = self._model.define(kind)
        self._cluster.create(definition(made.namespace, made.name, made.spec))

    def _delete(self, gone: Definition) -> None:
        del self._model.definitions[gone.namespace, gone.name]
        self._gone.append(gone)
        self._cluster.delete(_path(gone))

    def _change(self) -> None:
        changed = self._any()
        before = changed.keys
        self._model.change(changed)
        removed: Object = dict.fromkeys(before.keys() - changed.keys.keys())
        keys_map = changed.spec["keysMap"]
        assert isinstance(keys_map, dict)
        self._cluster.patch(_path(changed), {"spec": {"keysMap": keys_map | removed}})

    def _rename(self) -> None:
        renamed = self._any()
        self._model.rename(renamed)
        self._cluster.patch(_path(renamed), {"spec": {"name": renamed.secret}})

    def _force_one(self) -> None:
        self._force(self._any())

    def _force(self, forced: Definition) -> None:
        self._forced += 1
        annotations: Object = {"secrets-manager.tuenti.io/force-sync": str(self._forced)}
        self._cluster.patch(_path(forced), {"metadata": {"annotations": annotations}})

    def _edit_by_hand(self) -> None:
        edited = self._any()
        data: Object = dict.fromkeys((*edited.keys, "more"), base64.b64encode(b"edited").decode())
        self._if_it_is_there("PATCH", edited, {"data": data})

    def _delete_by_hand(self) -> None:
        bereft = self._any()
        bereft.has_secret = False
        self._if_it_is_there("DELETE", bereft)

    def _if_it_is_there(self, method: str, of: Definition, change: Object | None = None) -> None:
        path = f"/api/v1/namespaces/{of.namespace}/secrets/{of.secret}"
        kind = "application/merge-patch+json" if change else ""
        try:
            self._cluster.request(method, path, body=change, content_type=kind)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise

    def _rotate(self) -> None:
        self._write(self._chance.choice(self._paths(readable=True)))

    def _delete_path(self) -> None:
        if len(self._paths(readable=False)) < DELETED_AT_MOST:
            path = self._chance.choice(self._paths(readable=True))
            self._model.contents[path].deleted = True
            self._store.delete_kv(path)

    def _forget_path(self) -> None:
        if len(self._paths(readable=False)) < DELETED_AT_MOST:
            path = self._chance.choice(self._paths(readable=True))
            self._model.contents[path] = Content()
            self._store.forget_kv(path)

    def _revive_path(self) -> None:
        """By undeleting its newest version, where it has one, or else by a new one."""
        paths = self._paths(readable=False)
        if not paths:
            return
        path = self._chance.choice(paths)
        content = self._model.contents[path]
        if content.deleted and self._chance.random() < 2 / 3:
            content.deleted = False
            self._store.undelete_kv(path)
        else:
            self._write(path)

    def _write(self, path: str) -> None:
        self._store.write_kv(path, {**self._model.write(path)})

    def _paths(self, *, readable: bool) -> list[str]:
        return [path for path, content in self._model.contents.items() if content.readable is readable]

    def _any(self) -> Definition:
        return self._chance.choice(list(self._model.definitions.values()))


def _path(of: Definition) -> str:
    return f"/apis/{API_VERSION}/namespaces/{of.namespace}/secretdefinitions/{of.name}"
