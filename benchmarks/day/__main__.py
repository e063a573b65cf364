"""A simulated day of churn, to see where the memory of the program ends.

    .venv/bin/python -m benchmarks.day
    .venv/bin/python -m benchmarks.day --hours 24 --churn 60

The users and the faults are those of the soak, and so is their rate; time is virtual, and the servers are the tests'
doubles, in another process. So what is measured is the program, without its sockets and its TLS; the soak measures
those. Each hour begins with some minutes of churn. Then all is at rest: what definitions and Vault say must be so in
the cluster, and a line of figures is printed. In the end a full collection and malloc_trim give back what they can.
Reads and listings are rarer than by default, since they take most of the time. An hour with ten minutes of churn takes
about a minute of CPU. It ends with exit code 1 where something is not as it must be.
"""

import argparse
import ctypes
import gc
import os
import random
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio
from trio.testing import MockClock

from benchmarks.day.roads import RoadToKubernetes, RoadToVault, Trouble, UsersVault, Wire, users_kubernetes
from benchmarks.day.servers import EndWatches, running
from benchmarks.program import make_namespace, show
from benchmarks.soak.churn import churn
from benchmarks.soak.faults import RATE, Faults, Happenings
from benchmarks.soak.inspection import discrepancies
from benchmarks.soak.model import GRANTED, NAMESPACES, Model
from benchmarks.soak.users import Reach, Users
from secrets_manager import logs
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.cli.main import GC_THRESHOLD
from secrets_manager.config import Config, ControllerConfig, LogConfig, VaultConfig
from secrets_manager.controller.controller import Controller
from secrets_manager.kube.client import open_client
from secrets_manager.metrics import BackendMetrics, ControllerMetrics, Registry, VaultMetrics
from secrets_manager.server.metrics import metrics
from secrets_manager.server.router import Router
from tests.doubles.kube_transport import DOUBLE, virtual_time
from tests.doubles.vault_tokens import Credentials

HOUR = 3600.0
SCRAPED_EVERY = 30.0
SETTLES_WITHIN = 180.0
"""Seconds after which all must be as it should be."""
PAGE = os.sysconf("SC_PAGESIZE")
MB = 1024 * 1024


class Options(argparse.Namespace):
    hours: int
    churn: float
    rate: float
    seed: int


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / MB


class Day:
    """One run. `complaints` are sentences about what is not as it must be."""

    def __init__(self, options: Options, wire: Wire, credentials: Credentials) -> None:
        self.complaints: list[str] = []
        self._options = options
        self._wire = wire
        self._kubernetes, self._vault = RoadToKubernetes(wire), RoadToVault(wire, rate=RATE)
        self._registry = Registry()
        self._config = Config(
            controller=ControllerConfig(reconcile_period=30, list_period=10),
            vault=VaultConfig(url="http://vault.test", role_id=credentials.role_id, secret_id=credentials.secret_id),
        )

    async def run(self) -> None:
        options, chance = self._options, random.Random(self._options.seed)
        model, cluster = Model(chance), users_kubernetes(self._wire)
        users = Users(model, cluster, UsersVault(self._wire), chance)
        faults = Faults(self._happenings(), users, chance)
        for name in NAMESPACES:
            make_namespace(cluster, name)
        users.settle_in()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run_program)
            nursery.start_soon(self._scrape)
            await trio.sleep(SETTLES_WITHIN)
            self._show(0, users)
            for hour in range(1, options.hours + 1):
                ends = trio.current_time() + HOUR
                for _ in churn(options.churn * 60, rate=options.rate, users=users, faults=faults, chance=chance):
                    await trio.sleep(1 / options.rate)
                users.level()
                await trio.sleep(SETTLES_WITHIN)
                self.complaints += discrepancies(model, cluster)
                model.in_sync()
                await trio.sleep_until(ends)
                self._show(hour, users)
            nursery.cancel_scope.cancel()

    async def run_program(self, *, task_status: trio.TaskStatus[None]) -> None:
        config, registry, chance = self._config, self._registry, random.Random(1)
        async with (
            open_client(DOUBLE, transport=self._kubernetes) as client,
            open_vault(config.vault, VaultMetrics(registry, config.vault), transport=self._vault) as backend,
            trio.open_nursery() as process,
        ):
            self._controller = controller = Controller(
                client,
                backend,
                config.controller,
                ControllerMetrics(registry),
                BackendMetrics(registry),
                identity="day",
                random=chance,
                clock=virtual_time,
            )
            process.start_soon(backend.maintain)
            process.start_soon(controller.watches.run)
            process.start_soon(controller.run)
            task_status.started()

    async def _scrape(self) -> None:
        router = Router(metrics(self._registry))
        while True:
            await trio.sleep(SCRAPED_EVERY)
            await router.respond("GET", "/metrics")

    def _happenings(self) -> Happenings:
        return {
            "Vault limited": partial(self._in, Trouble.LIMITED),
            "Vault sealed": partial(self._in, Trouble.SEALED),
            "Vault slow": partial(self._in, Trouble.SLOW),
            "Vault silent": partial(self._in, Trouble.SILENT),
            "replies of Vault cut short": partial(self._in, Trouble.CUT),
            "API server down": self._restarted,
        }

    @contextmanager
    def _in(self, trouble: Trouble) -> Generator[Reach]:
        self._vault.trouble = trouble
        yield Reach()
        self._vault.trouble = Trouble.NONE

    @contextmanager
    def _restarted(self) -> Generator[Reach]:
        self._kubernetes.down = True
        self._wire.ask(EndWatches())
        yield Reach(kubernetes=False)
        self._kubernetes.down = False

    def _show(self, hour: int, users: Users) -> None:
        series = sum(len(family.samples) for family in self._registry.collect())
        tasks, streams = trio.lowlevel.current_statistics().tasks_living, len(self._wire.streams)
        show(
            f"hour {hour:2}: RSS {resident():.1f} MB, {sys.getallocatedblocks()} blocks of Python, "
            f"{tasks} tasks, {streams} streams, {series} series, "
            f"{len(self._controller.view.definitions())} definitions, {users.actions} actions, "
            f"{time.process_time():.0f} s of CPU"
        )


def main() -> None:
    options = parser().parse_args(namespace=Options())
    with running(GRANTED) as (channel, credentials), Path(os.devnull).open("w") as sink:
        logs.configure(LogConfig(), sink)
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        day = Day(options, Wire(channel), credentials)
        trio.run(day.run, clock=MockClock(autojump_threshold=0))
    show(f"ended: RSS {resident():.1f} MB")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    show(f"collected and trimmed: RSS {resident():.1f} MB")
    for complaint in day.complaints:
        show(complaint)
    sys.exit(1 if day.complaints else 0)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.day",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--hours", type=int, default=24, help="of the whole run")
    made.add_argument("--churn", type=float, default=10.0, help="minutes at the beginning of each hour")
    made.add_argument("--rate", type=float, default=5.0, help="actions of users a second")
    made.add_argument("--seed", type=int, default=1, help="decides what users do and what happens")
    return made


if __name__ == "__main__":
    main()
