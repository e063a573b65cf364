"""What a world offers to those who act in it: people, other programs, and what befalls machines."""

from typing import Protocol

from tests.simulation.servers import Kubernetes, Vault


class Machine(Protocol):
    """A replica, and the machine that it runs on. Times in seconds."""

    clock_off: float

    def kill(self) -> None:
        """End the process here and now."""

    def stop(self) -> None:
        """Ask the process to end."""

    def cut_off(self, seconds: float) -> None:
        """Let nothing come or go for so long."""


class Stage(Protocol):
    """A world, as it is acted upon."""

    kubernetes: Kubernetes
    vault: Vault

    @property
    def is_over(self) -> bool:
        """Whether all faults have ended."""

    def later(self, seconds: float, action: "Action") -> None:
        """Do something after a while."""

    def machine(self, number: int) -> Machine:
        """One of those that there are, whatever the number."""

    def pause(self, number: int, seconds: float) -> None:
        """Stop a process, and let it go on after a while."""


class Action(Protocol):
    """One thing that is done to a world."""

    def __call__(self, stage: Stage, /) -> None: ...
