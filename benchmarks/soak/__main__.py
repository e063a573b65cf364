"""Hours of churn on real parts, and whether anything of the program has grown, stopped, or tells what is not so.

    .venv/bin/python -m benchmarks.soak --minutes 120
    .venv/bin/python -m benchmarks.soak --minutes 240 --seed 7 --log soak.log "secrets-manager --reconcile-period=10s"

Between the real OpenBao and the real API server the program maintains 200 to 350 definitions. They are made, changed,
renamed and deleted; secrets are rotated one by one and forty at once, deleted and undeleted; Secrets are edited and
deleted by hand. Meanwhile Vault is sealed, slow, silent, cut off and limited, and the API server restarts. After the
first minute, every ten minutes, and in the end all that stops: what definitions and Vault say must then be so in the
cluster, and the figures of the process are taken. Before each rest there is one more fault, after which
nothing is changed.

It prints a line a minute, and in the end the figures of the first rest beside those of the last. It ends with exit code
1 where something is not as it must be, or where a figure has grown beyond its bound. A seed repeats what users do and
what happens, in their order; not the moments.
"""

import argparse
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks.program import Measured, Setup, make_namespace, running_servers, show
from benchmarks.soak.churn import churn
from benchmarks.soak.faults import Faults, on_real_parts
from benchmarks.soak.figures import BOUNDS, Stand, measured
from benchmarks.soak.inspection import discrepancies
from benchmarks.soak.model import GRANTED, NAMESPACES, Model
from benchmarks.soak.users import Users
from tests.real.program import ProgramFailed
from tests.real.tcp_proxy import tcp_proxy

FIRST_CHURN, REST = 60.0, 60.0
"""Seconds: of the first phase, and those that a rest is planned to take."""
LAST_FAULT = 5.0
"""Seconds of the fault that comes before a rest."""
SETTLES_WITHIN = 90.0
"""Seconds from the end of churn until all must be as it should be: the longest backoff is a minute."""
IDLE = 10.0
"""Seconds more, in which the last statuses and Events are written."""
SHOWN = 5
"""Sentences about one rest, of however many."""
SHORTEST = 4
"""Minutes: two phases of churn and two rests."""


class Options(argparse.Namespace):
    minutes: float
    every: float
    rate: float
    watch: float
    seed: int
    in_pod: bool
    log: Path
    command: str


class Soak:
    """One run. `faults` are sentences about what is not as it must be."""

    def __init__(self, options: Options, stand: Stand, users: Users, faults: Faults, chance: random.Random) -> None:
        self.complaints: list[str] = []
        self._options = options
        self._stand = stand
        self._users = users
        self._faults = faults
        self._chance = chance
        self._began = self._due = time.monotonic()
        self._minutes_told = 0

    def run(self) -> None:
        """Raises: ProgramFailed where the program ends."""
        rests = []
        for number, seconds in enumerate(phases(self._options.minutes * 60, self._options.every * 60)):
            self._churn(seconds)
            self._users.level()
            with self._faults.before_rest(number):
                self._wait_until(time.monotonic() + LAST_FAULT)
            rests.append(self._rest())
        self.complaints += compare(rests[0], rests[-1])

    def _churn(self, seconds: float) -> None:
        rate = self._options.rate
        for _ in churn(seconds, rate=rate, users=self._users, faults=self._faults, chance=self._chance):
            # What took longer than its turn is not made up for by a burst.
            self._due = max(self._due + 1 / rate, time.monotonic() - 1)
            self._wait_until(self._due)

    def _rest(self) -> dict[str, float]:
        began = time.monotonic()
        found = self._stand_still(lambda: discrepancies(self._stand.model, self._stand.cluster))
        took = time.monotonic() - began
        if not found:
            self._stand.model.in_sync()
        self._wait_until(time.monotonic() + IDLE)
        figures = measured(self._stand, self._options.watch)
        found = found or discrepancies(self._stand.model, self._stand.cluster)
        show(f"rest: {f'{len(found)} faults' if found else 'all in sync'} after {took:.0f} s; {summary(figures)}")
        minute = (time.monotonic() - self._began) / 60
        for sentence in found[:SHOWN]:
            show(f"    {sentence}")
        if found:
            self.complaints.append(f"at the rest of minute {minute:.0f}, {len(found)} things are not so: {found[0]}")
        return figures

    def _stand_still(self, find: Callable[[], list[str]]) -> list[str]:
        """What is still not so when all should have settled."""
        given_up = time.monotonic() + SETTLES_WITHIN
        while (found := find()) and time.monotonic() < given_up:
            self._wait_until(time.monotonic() + 2)
        return found

    def _wait_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))
        program = self._stand.program
        if not program.running:
            raise ProgramFailed(f"the program has ended\n{program.tail()}")
        minutes = int((time.monotonic() - self._began) / 60)
        if minutes > self._minutes_told:
            self._minutes_told = minutes
            show(
                f"minute {minutes}: {len(self._stand.model.definitions)} definitions, {self._users.actions} actions, "
                f"RSS {program.resident:.1f} MB, {len(program.descriptors)} descriptors"
                + (f", {self._faults.present}" if self._faults.present else "")
            )


def phases(whole: float, every: float) -> list[float]:
    """Seconds of churn before each rest."""
    left = whole - FIRST_CHURN - REST
    times = max(1, round(left / every))
    return [FIRST_CHURN, *[left / times - REST] * times]


def summary(figures: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:.3g}" for name, value in figures.items())


def compare(first: dict[str, float], last: dict[str, float]) -> list[str]:
    """Print both; sentences about those that are beyond their bounds."""
    show(f"\n{'':36}{'first rest':>12}{'last rest':>12}{'at most':>12}")
    grown = []
    for name, bound in BOUNDS.items():
        most = bound.of(first[name])
        beyond = last[name] > most
        show(f"{name:36}{first[name]:12.3f}{last[name]:12.3f}{most:12.3f}{'  beyond' if beyond else ''}")
        if beyond:
            grown.append(f"{name}: {last[name]:.3f} at the last rest, and at most {most:.3f} are right")
    return grown


def main() -> None:
    options = parser().parse_args(namespace=Options())
    if options.minutes < SHORTEST:
        parser().error(f"--minutes: {SHORTEST} at least")
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, end)
    chance = random.Random(options.seed)
    model = Model(chance)
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as made,
        running_servers(Path(made)) as (cluster, bao),
        tcp_proxy(int(bao.url.rpartition(":")[2])) as road,
    ):
        users = Users(model, cluster, bao, chance)
        for name in NAMESPACES:
            make_namespace(cluster, name)
        users.settle_in()
        setup = Setup(
            vault_url=road.url,
            readable=GRANTED,
            default_policy=False,
            namespace=NAMESPACES[0],
            in_pod=options.in_pod,
            log=options.log,
        )
        command = shlex.split(options.command)
        with Measured(command, setup, cluster=cluster, bao=bao, folder=Path(made)) as program:
            program.start()
            stand = Stand(program, cluster, bao, model)
            soak = Soak(options, stand, users, Faults(on_real_parts(cluster, bao, road), users, chance), chance)
            soak.run()
    for complaint in soak.complaints:
        show(f"\n{complaint}")
    sys.exit(1 if soak.complaints else 0)


def end(signum: int, _frame: FrameType | None) -> None:
    """Leave all blocks, whose servers end with them; a second signal does not keep them from it."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + signum)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--minutes", type=float, default=120.0, help="of the whole run, about")
    made.add_argument("--every", type=float, default=10.0, help="minutes from one rest to the next")
    made.add_argument("--rate", type=float, default=5.0, help="actions of users a second")
    made.add_argument("--watch", type=float, default=30.0, help="seconds of each rest that are measured")
    made.add_argument("--seed", type=int, default=1, help="decides what users do and what happens")
    made.add_argument("--in-pod", action="store_true", help="start the program as in its container")
    made.add_argument("--log", type=Path, default=Path(os.devnull), help="file to which the program's log is added")
    made.add_argument("command", nargs="?", default=f"{sys.executable} -m secrets_manager", help="what to start")
    return made


if __name__ == "__main__":
    main()
