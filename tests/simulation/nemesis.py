"""Disrupt machines: processes, clocks and networks, and the state of servers."""

from typing import NamedTuple

from tests.simulation.environment import Action, Environment

REPLICAS = 3
"""The largest number of replicas."""


class Kill(NamedTuple):
    """Kill a process, as by SIGKILL."""

    replica: int

    def __call__(self, environment: Environment) -> None:
        environment.machine(self.replica).kill()


class Terminate(NamedTuple):
    """Terminate a process, as by SIGTERM."""

    replica: int

    def __call__(self, environment: Environment) -> None:
        environment.machine(self.replica).stop()


class Pause(NamedTuple):
    """Pause a process, as by SIGSTOP and SIGCONT."""

    replica: int
    seconds: float

    def __call__(self, environment: Environment) -> None:
        environment.pause(self.replica, self.seconds)


class Partition(NamedTuple):
    """Partition a machine from both servers for some seconds."""

    replica: int
    seconds: float

    def __call__(self, environment: Environment) -> None:
        environment.machine(self.replica).partition(self.seconds)


class ClockSkew(NamedTuple):
    """Skew the wall clock of a machine."""

    replica: int
    seconds: float

    def __call__(self, environment: Environment) -> None:
        environment.machine(self.replica).clock_skew = self.seconds


class RevokeTokens(NamedTuple):
    """Revoke all tokens of Vault."""

    def __call__(self, environment: Environment) -> None:
        environment.vault.revoke_tokens()


class EndWatches(NamedTuple):
    """End all watches, as a restart of the API server does."""

    compacts: bool
    """Whether their resourceVersions expire, too."""

    def __call__(self, environment: Environment) -> None:
        environment.kubernetes.cluster.end_watches()
        if self.compacts:
            environment.kubernetes.cluster.compact()


class WhileDown(NamedTuple):
    """Kill all processes, and do something before any starts again."""

    action: Action

    def __call__(self, environment: Environment) -> None:
        for number in range(REPLICAS):
            environment.machine(number).kill()
        self.action(environment)


Disruption = Kill | Terminate | Pause | Partition | ClockSkew | RevokeTokens | EndWatches | WhileDown
