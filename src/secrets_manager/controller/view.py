"""A read-only view of what the controller knows. It holds no value of a secret."""

from typing import NamedTuple

from secrets_manager.controller.definition import SecretDefinition, Status
from secrets_manager.controller.freshness import Freshness
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.standing import Standing, standing
from secrets_manager.controller.status import next_status
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.controller.watches import Watches
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.workqueue import WorkQueue


class StoreHealth(NamedTuple):
    """The secret store. `error` is empty while it is up; `since` is by Trio's clock."""

    error: str
    since: float


class QueueState(NamedTuple):
    """The work queue. `longest` is in seconds."""

    waiting: int
    in_progress: int
    longest: float


class View:
    """The view. Times are in seconds of Trio's clock."""

    def __init__(
        self,
        watches: Watches,
        *,
        statuses: StatusWriter,
        sources: Sources,
        queue: WorkQueue[ObjectKey],
        freshness: Freshness,
        excluded: frozenset[str],
    ) -> None:
        self._watches = watches
        self._statuses = statuses
        self._sources = sources
        self._queue = queue
        self._freshness = freshness
        self._excluded = excluded

    def definitions(self) -> list[SecretDefinition]:
        """Return all definitions, but those of excluded namespaces."""
        return [each for each in self._watches.definitions if each.key.namespace not in self._excluded]

    def standing(self, definition: SecretDefinition) -> Standing:
        """Return how a definition stands."""
        return standing(definition, self._statuses.state(definition))

    def status(self, definition: SecretDefinition) -> Status:
        """Return the status of a definition, also if it is not written yet."""
        state = self._statuses.state(definition)
        return definition.status if state is None else next_status(definition, state)

    def last_in_sync(self, definition: SecretDefinition) -> float:
        """Return when the definition was last found in sync; -infinity if not by this process."""
        return self._freshness.last_verified(definition.key)

    @property
    def store(self) -> StoreHealth:
        error = self._sources.store_error
        return StoreHealth("" if error is None else str(error), self._sources.store_since)

    @property
    def queue(self) -> QueueState:
        return QueueState(len(self._queue), self._queue.in_progress, self._queue.longest_running())

    @property
    def unwatched(self) -> list[str]:
        """What is not watched, a line each."""
        return [*self._watches.unsynced, *self._watches.unwatched]
