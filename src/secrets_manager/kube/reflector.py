"""Keep a Store equal to one namespace of the cluster, and call a handler for each change.

The watcher reports all that the server sends, some of it twice or late. The store detects what has changed, so a relist
without changes, a repeated event and the echo of our own write cause no call.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

import trio

from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.store import Change, Store
from secrets_manager.kube.watcher import Watcher

T = TypeVar("T", bound=KubeObject)


class Reflector(Generic[T]):
    """Feeds a store from a watcher, as client-go's Reflector does.

    `on_change(old, new)` is called after the store has changed; it must not block or fail. Several reflectors may share
    a store if they watch different namespaces.
    """

    def __init__(
        self, watcher: Watcher[T], *, store: Store[T], on_change: Callable[[T | None, T | None], None]
    ) -> None:
        self.synced = trio.Event()
        """Set after the first full list."""
        self._watcher = watcher
        self._store = store
        self._on_change = on_change

    @property
    def kind(self) -> str:
        return self._watcher.kind

    @property
    def namespace(self) -> str:
        return self._watcher.namespace

    @property
    def has_synced(self) -> bool:
        """Whether the store has had a full list."""
        return self.synced.is_set()

    @property
    def problem(self) -> str:
        """Why the store may be out of date; empty while the watch works."""
        return self._watcher.problem

    def is_up(self) -> bool:
        """Whether the store is up to date."""
        return self.has_synced and not self.problem

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """List and watch until cancelled. Reports `started` after the first full list."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watcher.run, self)
            await self.synced.wait()
            task_status.started()

    def relisted(self, objects: Sequence[T], *, undecodable: Collection[ObjectKey], resource_version: str) -> None:
        changes = self._store.replace(
            objects, namespace=self.namespace, resource_version=resource_version, keep=undecodable
        )
        for change in changes:
            self._notify(change)
        self.synced.set()

    def applied(self, obj: T) -> None:
        self._notify(self._store.apply(obj))

    def deleted(self, key: ObjectKey, *, resource_version: str) -> None:
        self._notify(self._store.remove(key, resource_version))

    def _notify(self, change: Change[T] | None) -> None:
        if change is not None:
            self._on_change(change.old, change.new)
