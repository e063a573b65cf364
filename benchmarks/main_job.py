"""How fast, how quiet and how small: N definitions between the real OpenBao and the real control plane.

    .venv/bin/python -m benchmarks.main_job --definitions 1000
    .venv/bin/python -m benchmarks.main_job --definitions 10000 --namespaces 100
    .venv/bin/python -m benchmarks.main_job --in-pod

By default the program gets a kubeconfig; with --in-pod it finds what a container finds in its pod, which costs less.

Any command with the flags of `secrets-manager` can be measured, several of them in turn, each with servers of its own.
Everything shares this machine's cores, so compare figures of one run only, and by their medians. An older version
beside this one, in pairs:

    git worktree add ../before COMMIT && (cd ../before && .ci/setup)
    .venv/bin/python -m benchmarks.main_job --rounds 5 ../before/.venv/bin/secrets-manager .venv/bin/secrets-manager

`floor` in place of a command is a bare client, which does the same by the least requests.

Requests are counted by the servers themselves. The lag is the time from a write to OpenBao until the API server shows
the Secret that came of it.
"""

import argparse
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeAlias

import msgspec

from benchmarks.floor import Spent, Work
from benchmarks.program import API_VERSION, Measured, Setup, Usage, definition, make_namespace, running_servers, show
from benchmarks.watches import Seen, is_ready
from fake_kubernetes.documents import Object, text
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

FLOOR = "floor"
"""In place of a command: a bare client (benchmarks/floor.py)."""
TIMEOUT = 600.0
SETTLES_WITHIN, QUIET = 120.0, 15.0
"""Seconds in which Kubernetes must be asked nothing any more, and for which nothing is asked then."""
READY_WITHIN = 120.0
"""Seconds from the last Secret to the last condition; a program without conditions never has that."""

Figures: TypeAlias = dict[str, float]
"""By their names, which end in their units."""


class Load(argparse.Namespace):
    """What the program is given to do, and how long it is observed."""

    definitions: int
    keys: int
    folders: int
    namespaces: int
    named: bool
    period: float
    rest: float
    samples: int
    rounds: int
    listing: bool
    default_policy: bool
    in_pod: bool
    templates: bool
    commands: list[str]

    def name(self, number: int) -> str:
        return f"app-{number}"

    @property
    def homes(self) -> list[str]:
        """The namespaces."""
        return [f"bench-{number}" for number in range(self.namespaces)]

    def path(self, number: int) -> str:
        return f"secret/data/bench/folder-{number % self.folders}/{self.name(number)}"

    def values(self, word: str) -> Object:
        return {f"key-{key}": f"{word}-{key}" for key in range(self.keys)}

    def definition(self, number: int) -> Object:
        keys = [f"key-{key}" for key in range(self.keys)]
        keys_map: Object = {key: {"path": self.path(number), "key": key} for key in keys}
        spec: Object = {"name": self.name(number), "keysMap": keys_map}
        if self.templates:
            templated: Object = {key: {"template": f"{{{{ app['{key}'] | append: '' }}}}"} for key in keys}
            spec = {**spec, "sources": {"app": {"path": self.path(number)}}, "keysMap": templated}
        return definition(self.homes[number % self.namespaces], self.name(number), spec)

    def setup(self, bao: OpenBao) -> Setup:
        return Setup(
            vault_url=bao.url,
            readable=("secret/data/*", *(["secret/detailed-metadata/*"] if self.listing else [])),
            default_policy=self.default_policy,
            namespace=self.homes[0],
            in_pod=self.in_pod,
            flags=(
                f"-reconcile-period={self.period:g}s",
                *([f"-watch-namespaces={','.join(self.homes)}"] if self.named else []),
            ),
        )


class Stand:
    """The program and its servers, and what the API server has shown of its work."""

    def __init__(self, program: Measured, cluster: ControlPlane, bao: OpenBao) -> None:
        self.program = program
        self.cluster = cluster
        self.bao = bao
        self.written = Seen(cluster, "/api/v1/secrets", lambda it: text(it, "metadata", "name").startswith("app-"))
        self.ready = Seen(cluster, f"/apis/{API_VERSION}/secretdefinitions", is_ready)

    def usage(self) -> Usage:
        return Usage.of(self.program, self.cluster, self.bao)


def main() -> None:
    load = parser().parse_args(namespace=Load())
    if load.samples < 2:  # noqa: PLR2004 - of less, there is no distribution
        parser().error("--samples: two at least")
    commands = load.commands or [f"{sys.executable} -m secrets_manager"]
    figures: dict[str, list[Figures]] = {command: [] for command in commands}
    for number in range(load.rounds):
        # What changes slowly on this machine should favour none: every second round goes back.
        for command in commands[:: -1 if number % 2 else 1]:
            show(f"\n{command}" + (f", round {number + 1}" if load.rounds > 1 else ""))
            figures[command].append(try_out(shlex.split(command), load))
    if load.rounds > 1:
        summarize(figures)


def try_out(command: list[str], load: Load) -> Figures:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as made, running_servers(Path(made)) as (cluster, bao):
        show(f"writing {load.definitions} paths and definitions")
        for name in load.homes:
            make_namespace(cluster, name)
        for number in range(load.definitions):
            bao.write_kv(load.path(number), load.values("first"))
            cluster.create(load.definition(number))
        if command == [FLOOR]:
            return floor(load, cluster, bao)
        with Measured(command, load.setup(bao), cluster=cluster, bao=bao, folder=Path(made)) as program:
            stand = Stand(program, cluster, bao)
            began = time.monotonic()
            program.start()
            return first_sync(load, stand, began) | settle(stand, began) | rest(load, stand) | changes(load, stand)


def floor(load: Load, cluster: ControlPlane, bao: OpenBao) -> Figures:
    """What a bare client takes for the same Secrets and statuses. Raises: CalledProcessError."""
    numbers = range(load.definitions)
    todo = Work(
        vault=bao.url,
        vault_token=bao.root_token,
        kube=cluster.url,
        kube_token=cluster.admin_token,
        ca_file=str(cluster.ca_file),
        paths=[load.path(number) for number in numbers],
        names=[load.name(number) for number in numbers],
        namespaces=[load.homes[number % load.namespaces] for number in numbers],
        statuses=f"/apis/{API_VERSION}/namespaces/%s/secretdefinitions/%s/status",
    )
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.floor"], input=msgspec.json.encode(todo), stdout=subprocess.PIPE, check=True
    )
    spent = msgspec.json.decode(ran.stdout, type=Spent)
    show(f"all written  {spent.written:.2f} s, CPU {spent.written_cpu:.2f} s")
    show(f"all Ready    {spent.ready:.2f} s, CPU {spent.ready_cpu:.2f} s")
    return {
        "all Secrets written, s": spent.written,
        "CPU until then, s": spent.written_cpu,
        "all Ready, s": spent.ready,
        "CPU until all Ready, s": spent.ready_cpu,
        "all Ready after the last Secret, s": spent.ready - spent.written,
    }


def first_sync(load: Load, stand: Stand, began: float) -> Figures:
    """Until all Secrets are written, and until all definitions say so. Raises: TimeoutError."""
    written, ready = stand.written, stand.ready
    if not written.wait(lambda: len(written) == load.definitions, seconds=TIMEOUT):
        raise TimeoutError(f"{len(written)} Secrets were written, and no more")
    used, resident, last = stand.program.cpu, stand.program.resident, written.last_new_at
    show(f"first sync   {last - began:.2f} s, CPU {used:.2f} s, RSS {resident:.0f} MB")
    figures = {
        "all Secrets written, s": last - began,
        "CPU until then, s": used,
        "RSS then, MB": resident,
    }
    if not ready.wait(lambda: len(ready) == load.definitions, seconds=READY_WITHIN):
        show(f"not Ready    {load.definitions - len(ready)} of {load.definitions}")
        return figures
    after = ready.last_new_at - last
    show(f"all Ready    {ready.last_new_at - began:.2f} s, {after:.2f} s after the last Secret")
    figures["CPU until all Ready, s"] = stand.program.cpu
    return figures | {"all Ready, s": ready.last_new_at - began, "all Ready after the last Secret, s": after}


def settle(stand: Stand, began: float) -> Figures:
    """Wait until Events too are written, if ever the program stops asking Kubernetes for something."""
    last, given_up = stand.usage(), time.monotonic() + SETTLES_WITHIN
    while (now := stand.usage()).at < last.at + QUIET:
        if now.requests > last.requests:
            last = now
        if now.at > given_up:
            show(f"not settled  after {now.at - began:.0f} s")
            return {}
        time.sleep(1.0)
    show(f"settled      {last.at - began:.0f} s")
    return {"settled, s": last.at - began}


def rest(load: Load, stand: Stand) -> Figures:
    before = stand.usage()
    time.sleep(load.rest)
    figures = stand.usage().rates_since(before) | {"RSS at rest, MB": stand.program.resident}
    show(
        f"at rest      {figures['reads/s']:.1f} reads/s, {figures['listings/s']:.2f} listings/s, "
        f"{figures['Kubernetes requests/s']:.1f} Kubernetes requests/s, "
        f"CPU {figures['CPU at rest, cores']:.3f} cores, RSS {figures['RSS at rest, MB']:.0f} MB"
    )
    return figures


def changes(load: Load, stand: Stand) -> Figures:
    lags = [lag(load, stand, sample) for sample in range(load.samples)]
    p50, p99 = statistics.median(lags), statistics.quantiles(lags, n=100, method="inclusive")[98]
    show(f"lag          p50 {p50:.2f} s, p99 {p99:.2f} s, of {load.samples} changes")
    return {"lag p50, s": p50, "lag p99, s": p99}


def lag(load: Load, stand: Stand, sample: int) -> float:
    """Seconds from the write of one path to its Secret. Raises: TimeoutError."""
    number = random.randrange(load.definitions)
    name, written = load.name(number), stand.written
    time.sleep(random.uniform(0, load.period))  # no change may keep step with the polls
    seen = written.times(name)
    stand.bao.write_kv(load.path(number), load.values(f"change-{sample}"))
    began = time.monotonic()
    if not written.wait(lambda: written.times(name) > seen, seconds=TIMEOUT):
        raise TimeoutError(f"the change of {name} did not arrive")
    return time.monotonic() - began


def summarize(figures: dict[str, list[Figures]]) -> None:
    """Each figure of each command: the median of its rounds, its least and its most."""
    show("")
    for number, command in enumerate(figures):
        show(f"({number + 1}) {command}")
    names = dict.fromkeys(name for rounds in figures.values() for each in rounds for name in each)
    show(f"\n{'median (least to most)':36}" + "".join(f"{f'({number + 1})':>28}" for number in range(len(figures))))
    for name in names:
        columns = [[each[name] for each in rounds if name in each] for rounds in figures.values()]
        show(f"{name:36}" + "".join(f"{summary(column):>28}" for column in columns))


def summary(values: list[float]) -> str:
    """Of the rounds that have this figure."""
    if not values:
        return "none"
    digits = 3 if max(values) < 1 else 2
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.main_job",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--definitions", type=int, default=1000)
    made.add_argument("--keys", type=int, default=4, help="of each Secret, all of one path")
    made.add_argument("--folders", type=int, default=1, help="across which the paths are distributed")
    made.add_argument("--namespaces", type=int, default=1, help="across which the definitions are distributed")
    made.add_argument("--named", action="store_true", help="watch each namespace by itself, not all by one watch")
    made.add_argument("--period", type=float, default=5.0, help="seconds between two polls of a path")
    made.add_argument("--rest", type=float, default=20.0, help="seconds of rest that are measured")
    made.add_argument("--samples", type=int, default=60, help="changes of which the lag is measured")
    made.add_argument(
        "--rounds", type=int, default=1, help="times that the commands take turns; then medians are shown"
    )
    made.add_argument("--no-listing", dest="listing", action="store_false", help="grant no right to list folders")
    made.add_argument("--default-policy", action="store_true", help="let the role have it, which costs OpenBao more")
    made.add_argument("--in-pod", action="store_true", help="start the program as in its container")
    made.add_argument("--templates", action="store_true", help="make each key by a template, which reads the same")
    made.add_argument("commands", nargs="*", help="each a program to measure; this one by default")
    return made


if __name__ == "__main__":
    main()
