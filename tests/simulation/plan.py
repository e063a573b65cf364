"""What happens in one run, as data: a seed leads to one plan, and a plan to one run.

A plan can be shrunk: its events may be left out one by one, and what is left means the same as before.
"""

from collections.abc import Collection
from typing import NamedTuple

from secrets_manager.config import LeaseConfig
from tests.simulation.machines import Paused
from tests.simulation.stage import Action
from tests.simulation.steps import Step


class Settings(NamedTuple):
    """The installation, and the machines that it runs on. Times in seconds."""

    replicas: int = 1
    lease: LeaseConfig = LeaseConfig()
    workers: int = 16
    period: float = 60.0
    list_period: float = 1.0
    by_namespace: bool = False
    """Whether each namespace is watched by itself."""
    restricted: bool = False
    """Whether a namespace may name only paths of its own, and shared ones."""
    token_ttl: int = 3600
    token_max_ttl: int = 0
    lists: bool = True
    """Whether Vault lists versions."""
    road_to_kubernetes: float = 0.0
    road_to_vault: float = 0.0
    restart: float = 1.0
    """Between the end of a process and the next one."""
    collected_every: float = 0.0
    """How often the garbage collector comes; 0: at once."""
    duration: float = 600.0
    """Until all faults end."""


class Bout(NamedTuple):
    """For some time a part of the requests of some steps meets one kind of fault."""

    at: float
    seconds: float
    kind: str
    steps: tuple[Step, ...]
    rate: float
    replica: int | None = None
    """None: all of them."""


class Act(NamedTuple):
    """One action, at its time."""

    at: float
    action: Action


Event = Bout | Act


class Plan(NamedTuple):
    seed: int
    settings: Settings
    events: tuple[Event, ...]

    def only(self, kept: Collection[int]) -> "Plan":
        """The same with these events alone, by their numbers."""
        return self._replace(events=tuple(event for number, event in enumerate(self.events) if number in kept))


def pauses(plan: Plan) -> bool:
    """Whether any process is stopped in it."""
    return any(
        isinstance(event.action, Paused) if isinstance(event, Act) else event.kind == "paused" for event in plan.events
    )
