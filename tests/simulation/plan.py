"""The plan of one run, as data. A seed determines a plan, and a plan determines a run.

A plan can be shrunk: each event may be left out, and the others mean the same as before.
"""

from collections.abc import Collection
from typing import NamedTuple

from secrets_manager.config import LeaseConfig
from tests.simulation.environment import Action
from tests.simulation.nemesis import Pause
from tests.simulation.steps import Step


class Settings(NamedTuple):
    """The configuration of the program, the servers and the network. Times in seconds."""

    replicas: int = 1
    lease: LeaseConfig = LeaseConfig()
    workers: int = 16
    period: float = 60.0
    list_period: float = 1.0
    list_batch: int = 15
    """The listings of a period; in a simulation there are five folders, and few would never take turns with 15."""
    by_namespace: bool = False
    """Whether the program watches each namespace by itself."""
    restricted: bool = False
    """Whether definitions may use only the paths of their namespace, and shared ones."""
    token_ttl: int = 3600
    token_max_ttl: int = 0
    token_polling_period: float = 15.0
    backend_concurrency: int = 16
    lists: bool = True
    """Whether Vault lists versions, as OpenBao does."""
    latency_to_kubernetes: float = 0.0
    latency_to_vault: float = 0.0
    restart: float = 1.0
    """Between the end of a process and its next start."""
    collected_every: float = 0.0
    """The period of the garbage collector; 0: at once."""
    api_servers: tuple[float, ...] = (0.0,)
    """The API servers, api-0 and so on: by so much each lags behind in lists and watches, until all faults end."""
    duration: float = 600.0
    """The time of faults."""
    rounds: int = 1
    """In so many parts the time of faults is divided; after each the program must converge."""
    idle: float = 0.0
    """The length of a stretch without any event, after the program has converged."""


class FaultWindow(NamedTuple):
    """For some time, one kind of fault is injected into a part of the requests of some steps."""

    at: float
    seconds: float
    kind: str
    steps: tuple[Step, ...]
    rate: float
    replica: int | None = None
    """None: every replica."""
    server: int | None = None
    """None: every API server."""
    limit: int = 0
    """The largest number of requests that it is injected into; 0: any number."""


class ScheduledAction(NamedTuple):
    """One action at its time."""

    at: float
    action: Action


Event = FaultWindow | ScheduledAction


class Plan(NamedTuple):
    seed: int
    settings: Settings
    events: tuple[Event, ...]

    def only(self, kept: Collection[int]) -> "Plan":
        """Return the same plan with these events alone, by their numbers."""
        return self._replace(events=tuple(event for number, event in enumerate(self.events) if number in kept))


def pauses(plan: Plan) -> bool:
    """Return whether a plan pauses any process."""
    return any(
        isinstance(event.action, Pause) if isinstance(event, ScheduledAction) else event.kind == "paused"
        for event in plan.events
    )
