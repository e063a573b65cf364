"""What befalls the machines at a moment: processes, clocks, networks, and the servers' own memory."""

from typing import NamedTuple

from tests.simulation.stage import Stage


class Killed(NamedTuple):
    """As by SIGKILL."""

    replica: int

    def __call__(self, stage: Stage) -> None:
        stage.machine(self.replica).kill()


class Stopped(NamedTuple):
    """By SIGTERM."""

    replica: int

    def __call__(self, stage: Stage) -> None:
        stage.machine(self.replica).stop()


class Paused(NamedTuple):
    """As by SIGSTOP and SIGCONT."""

    replica: int
    seconds: float

    def __call__(self, stage: Stage) -> None:
        stage.pause(self.replica, self.seconds)


class CutOff(NamedTuple):
    """Nothing reaches it, and nothing of it reaches anybody, for some seconds."""

    replica: int
    seconds: float

    def __call__(self, stage: Stage) -> None:
        stage.machine(self.replica).cut_off(self.seconds)


class ClockJumps(NamedTuple):
    """The wall clock of a machine is put elsewhere."""

    replica: int
    seconds: float

    def __call__(self, stage: Stage) -> None:
        stage.machine(self.replica).clock_off = self.seconds


class TokensDie(NamedTuple):
    """All that Vault has granted."""

    def __call__(self, stage: Stage) -> None:
        stage.vault.drop_tokens()


class WatchesEnd(NamedTuple):
    """As where an API server is restarted."""

    compacts: bool
    """Whether they can't go on from where they were."""

    def __call__(self, stage: Stage) -> None:
        stage.kubernetes.cluster.end_watches()
        if self.compacts:
            stage.kubernetes.cluster.compact()


Moment = Killed | Stopped | Paused | CutOff | ClockJumps | TokensDie | WatchesEnd
