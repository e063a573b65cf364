"""Run seeds on all cores, report progress, and shrink failures."""

import argparse
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count, islice
from types import FrameType
from typing import NamedTuple

from tests.simulation.coverage import Pair, report
from tests.simulation.generator import generate
from tests.simulation.plan import Plan
from tests.simulation.planted import PLANTED, planted
from tests.simulation.properties import Property
from tests.simulation.shrinking import shrunk
from tests.simulation.simulation import Outcome, simulate

COMMAND = "just simulate"
LONGEST = 120.0
"""Seconds of CPU that one seed may take: a run that does not end has failed."""
IN_ADVANCE = 4
"""Seeds that are queued for each worker process."""
ENOUGH = 10
"""Failures after which the run ends."""


class Report(NamedTuple):
    """The result of one seed. `seconds` are virtual, `cost` is in seconds of CPU."""

    seed: int
    broken: Property | None
    failure: str
    seconds: float
    converged_after: float
    cost: float
    coverage: Counter[Pair]


class Summary:
    """The sums over all seeds so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seeds = 0
        self.seconds = self.cost = 0.0
        self.converged_after = 0.0
        self.failures: list[Report] = []
        self.coverage: Counter[Pair] = Counter()

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.seconds += report.seconds
        self.cost += report.cost
        self.converged_after = max(self.converged_after, report.converged_after)
        self.coverage += report.coverage
        if report.broken is not None:
            self.failures.append(report)

    @property
    def line(self) -> str:
        days, took = self.seconds / 86400, time.monotonic() - self.began
        speed = self.seconds / self.cost if self.cost else 0.0
        return (
            f"{self.seeds} seeds, {days:.1f} days simulated in {took:.0f} s, "
            f"{speed:,.0f} s for each s of a core, converged within {self.converged_after:.0f} s, "
            f"{len(self.failures)} failures"
        )


def run(plan: Plan) -> Report:
    """Simulate a plan within a limit of CPU time."""

    def end(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    began = time.process_time()
    signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        outcome = simulate(plan)
    except Exception as error:  # noqa: BLE001 - any error of the run itself
        why = f"{Property.TERMINATION}: {error!r}"
        return Report(plan.seed, Property.TERMINATION, why, 0.0, 0.0, time.process_time() - began, Counter())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return _report(outcome, time.process_time() - began)


def run_seed(seed: int, fault: str = "") -> Report:
    """Simulate a seed, with a planted fault where one is named."""
    with planted(fault):
        return run(generate(seed))


def _report(outcome: Outcome, cost: float) -> Report:
    return Report(
        outcome.plan.seed,
        outcome.broken,
        outcome.failure,
        outcome.seconds,
        outcome.converged_after,
        cost,
        outcome.coverage,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets must have the same order in each process
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *given])
    gc.freeze()
    gc.set_threshold(10_000)
    options = _options().parse_args(given)
    if options.only is not None:
        return _repeat(options)
    if options.planted:
        return _find_planted(options)
    return _simulate(options)


def _simulate(options: argparse.Namespace) -> int:
    total, shown_at = Summary(), 0.0
    ends_at = total.began + 60 * options.minutes if options.minutes else float("inf")
    seeds = islice(count(options.first), None if options.minutes and not options.seeds else options.seeds or 1000)
    for one in _in_parallel(seeds, options.jobs, ends_at=ends_at):
        total.add(one)
        if one.broken is not None:
            _write(f"seed {one.seed} fails: {one.failure}\n")
        if len(total.failures) >= ENOUGH:
            break
        if time.monotonic() > shown_at + (0.5 if sys.stdout.isatty() else 15):
            shown_at = time.monotonic()
            _write(total.line + ("" if sys.stdout.isatty() else "\n"))
    _write(total.line + "\n")
    if options.coverage:
        _print("\n".join(report(total.coverage)))
    by_property = {one.broken: one for one in reversed(total.failures)}
    for failure in by_property.values():
        _report_shrunk(failure)
    return 1 if total.failures else 0


def _in_parallel(seeds: Iterator[int], jobs: int, *, ends_at: float, fault: str = "") -> Iterator[Report]:
    """Yield the reports as they arrive."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        running: set[Future[Report]] = set()
        try:
            while True:
                while len(running) < IN_ADVANCE * jobs and time.monotonic() < ends_at:
                    seed = next(seeds, None)
                    if seed is None:
                        break
                    running.add(pool.submit(run_seed, seed, fault))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda each: each.result().seed):
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def _report_shrunk(failure: Report) -> None:
    """Shrink a failure, and print the command that repeats it."""
    plan = generate(failure.seed)

    def fails(kept: Collection[int]) -> bool:
        return run(plan.only(kept)).broken is failure.broken

    kept = shrunk(len(plan.events), fails)
    small = plan.only(kept)
    _print(f"seed {failure.seed}, with {len(kept)} of its {len(plan.events)} events: {run(small).failure}")
    _print(f"  {small.settings}")
    for event in small.events:
        _print(f"  {event}")
    _print(f"{COMMAND} --from {failure.seed} --only {','.join(map(str, kept)) or 'none'}")


def _repeat(options: argparse.Namespace) -> int:
    """Run some events of one seed, and print the history."""
    plan = generate(options.first)
    if options.only == "none":
        plan = plan.only(())
    elif options.only != "all":
        plan = plan.only({int(number) for number in options.only.split(",")})
    with planted(options.planted or ""):
        outcome = simulate(plan)
    _print(f"{plan.settings}")
    for event in plan.events:
        _print(f"  {event}")
    _print("\n".join([*outcome.history.lines[-options.lines :], *outcome.logged[-options.lines :]]))
    _print(f"{outcome.failure or 'all held'} {outcome.history.digest}")
    return 1 if outcome.failure else 0


def _find_planted(options: argparse.Namespace) -> int:
    """Print within how many seeds each planted fault is found."""
    names = list(PLANTED) if options.planted == "all" else [options.planted]
    needed: list[float] = []
    for name in names:
        seeds = islice(count(options.first), options.seeds or 2000)
        found = _first_failure(_in_parallel(seeds, options.jobs, ends_at=float("inf"), fault=name))
        needed.append(float("inf") if found is None else found.seed - options.first + 1)
        _print(f"{name}: {needed[-1]:g} seeds{': ' + found.failure[:200] if found else ''}")
    needed.sort()
    _print(f"{sum(each < float('inf') for each in needed)} of {len(needed)} found, median {needed[len(needed) // 2]:g}")
    return 0 if needed[-1] < float("inf") else 1


def _first_failure(reports: Iterator[Report]) -> Report | None:
    return next((each for each in reports if each.broken is not None), None)


def _write(text: str) -> None:
    """Print the progress, on a terminal always in the same line."""
    sys.stdout.write(f"\r{text}" if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _print(text: str) -> None:
    _write(f"{text}\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Simulate the program under faults.")
    parser.add_argument("--seeds", type=int, default=0, help="how many (1000, or what the minutes allow)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED", help="the first one")
    parser.add_argument("--minutes", type=float, default=0.0, help="for how long, at most")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (all cores)")
    parser.add_argument(
        "--coverage", action="store_true", help="print how often each fault was injected into each step"
    )
    parser.add_argument("--only", metavar="NUMBERS", help="run one seed, with these of its events, and show it all")
    parser.add_argument("--lines", type=int, default=60, help="of the history, with --only")
    parser.add_argument(
        "--planted", metavar="NAME", help="plant a known fault into the program, or all of them in turn"
    )
    return parser
