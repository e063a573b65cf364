"""Keeps a Store equal to one namespace of the cluster, and tells of each real change.

The watcher reports what the server says, some of it twice, some of it late; the store knows what of it is news. So a
list that brings nothing new, an event that comes again and the echo of our own write all end here, unheard.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

import trio

from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.store import Change, Store
from secrets_manager.kube.watcher import Watcher

T = TypeVar("T", bound=KubeObject)


class Reflector(Generic[T]):
    """The watcher's sink. `on_change(old, new)` is called after the store has changed; it must not wait or fail.

    Several reflectors may share a store as long as no two of them watch the same namespace.
    """

    def __init__(
        self, watcher: Watcher[T], *, store: Store[T], on_change: Callable[[T | None, T | None], None]
    ) -> None:
        self.synced = trio.Event()
        """Set once the store holds a full list."""
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
    def listed(self) -> bool:
        """Whether the store has held a full list."""
        return self.synced.is_set()

    @property
    def problem(self) -> str:
        """Why the store may be behind the cluster just now; empty while all is well."""
        return self._watcher.problem

    def up(self) -> bool:
        """Whether the store follows the cluster just now."""
        return self.listed and not self.problem

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the cluster until cancelled; started once the store holds a full list."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watcher.run, self)
            await self.synced.wait()
            task_status.started()

    def relisted(self, objects: Sequence[T], *, refused: Collection[ObjectKey], resource_version: str) -> None:
        changes = self._store.replace(
            objects, namespace=self.namespace, resource_version=resource_version, keep=refused
        )
        for change in changes:
            self._tell(change)
        self.synced.set()

    def applied(self, obj: T) -> None:
        self._tell(self._store.apply(obj))

    def deleted(self, key: ObjectKey, *, resource_version: str) -> None:
        self._tell(self._store.remove(key, resource_version))

    def _tell(self, change: Change[T] | None) -> None:
        if change is not None:
            self._on_change(change.old, change.new)
