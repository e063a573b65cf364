"""Writes whose answer was lost: the Secret shows later whether they were made.

contention.py counts those that were, as if they had been answered.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from secrets_manager.controller.contention import State
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.kube.errors import Unreachable
from secrets_manager.kube.objects import ObjectKey


class _Write(NamedTuple):
    """A write. `version` is the resourceVersion that it was based on, `after` the state of contention after it."""

    uid: str
    name: str
    version: str
    after: State


class UnansweredWrites:
    """The last write of each definition whose answer was lost. A version is empty for no Secret."""

    def __init__(self) -> None:
        self._writes: dict[ObjectKey, _Write] = {}

    @contextmanager
    def noting(self, definition: SecretDefinition, name: str, *, version: str, after: State) -> Generator[None]:
        """Note the write in the body, of the Secret of this name, if its answer is lost."""
        try:
            yield
        except Unreachable:
            self._writes[definition.key] = _Write(definition.metadata.uid, name, version, after)
            raise

    def resolve(self, definition: SecretDefinition, name: str, *, version: str, before: State) -> State:
        """Return the state of contention once the Secret of this name is at this version, and forget the write."""
        write = self._writes.pop(definition.key, None)
        if write is None or (write.uid, write.name) != (definition.metadata.uid, name) or write.version == version:
            return before
        return write.after

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._writes.pop(key, None)
