"""The interface between a simulation and its actions: those of the workload and those of the nemesis."""

from typing import Protocol

from tests.simulation.servers import Kubernetes, Vault


class Machine(Protocol):
    """A replica and its machine. Times in seconds."""

    clock_skew: float

    def kill(self) -> None:
        """End the process at once, as SIGKILL does."""

    def stop(self) -> None:
        """Ask the process to end, as SIGTERM does."""

    def partition(self, seconds: float) -> None:
        """Drop all traffic for some seconds."""


class Environment(Protocol):
    """A simulation, as seen by an action."""

    kubernetes: Kubernetes
    vault: Vault

    @property
    def faults_ended(self) -> bool:
        """Return whether the program is left alone, to converge."""
        ...

    def schedule(self, seconds: float, action: "Action") -> None:
        """Run an action after some seconds."""

    def machine(self, number: int) -> Machine:
        """Return a machine, by its number modulo their count."""
        ...

    def pause(self, number: int, seconds: float) -> None:
        """Stop a process, and continue it after some seconds."""


class Action(Protocol):
    """One operation on a simulation."""

    def __call__(self, environment: Environment, /) -> None: ...
