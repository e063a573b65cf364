"""Runs seed after seed on all cores, tells how it goes, and how to repeat what has failed."""

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

from tests.simulation.drawing import draw
from tests.simulation.plan import Plan
from tests.simulation.planted import PLANTED, planted
from tests.simulation.promises import Promise
from tests.simulation.shrinking import shrunk
from tests.simulation.situations import Pair, report
from tests.simulation.world import Outcome, simulate

COMMAND = "just simulate"
LONGEST = 120.0
"""Seconds of CPU that one seed may take: a run that does not end is a failure, too."""
IN_ADVANCE = 4
"""Seeds for each process that are handed out before they are needed."""
ENOUGH = 10
"""Failures after which the run ends."""


class Report(NamedTuple):
    """The result of one seed. `seconds` are virtual, `cost` is in seconds of CPU."""

    seed: int
    broken: Promise | None
    failure: str
    seconds: float
    recovered: float
    cost: float
    digest: str
    situations: Counter[Pair]


class Total:
    """Of all seeds so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seeds = 0
        self.seconds = self.cost = 0.0
        self.recovered = 0.0
        self.failures: list[Report] = []
        self.situations: Counter[Pair] = Counter()

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.seconds += report.seconds
        self.cost += report.cost
        self.recovered = max(self.recovered, report.recovered)
        self.situations += report.situations
        if report.broken is not None:
            self.failures.append(report)

    @property
    def line(self) -> str:
        days, took = self.seconds / 86400, time.monotonic() - self.began
        speed = self.seconds / self.cost if self.cost else 0.0
        return (
            f"{self.seeds} seeds, {days:.1f} days simulated in {took:.0f} s, "
            f"{speed:,.0f} s for each s of a core, all right again after {self.recovered:.0f} s at most, "
            f"{len(self.failures)} failures"
        )


def run(plan: Plan) -> Report:
    """Simulate a plan, which may not take for ever."""

    def end(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    began = time.process_time()
    signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        outcome = simulate(plan)
    except Exception as error:  # noqa: BLE001 - whatever ends the run from within
        why = f"{Promise.END}: {error!r}"
        return Report(plan.seed, Promise.END, why, 0.0, 0.0, time.process_time() - began, "", Counter())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return _report(outcome, time.process_time() - began)


def run_seed(seed: int, fault: str = "") -> Report:
    """Simulate a seed, in a program with a fault planted into it where one is named."""
    with planted(fault):
        return run(draw(seed))


def _report(outcome: Outcome, cost: float) -> Report:
    return Report(
        outcome.plan.seed,
        outcome.broken,
        outcome.failure,
        outcome.seconds,
        outcome.recovered,
        cost,
        outcome.digest,
        outcome.situations,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is a part of the history
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
    total, shown_at = Total(), 0.0
    ends_at = total.began + 60 * options.minutes if options.minutes else float("inf")
    seeds = islice(count(options.first), None if options.minutes and not options.seeds else options.seeds or 1000)
    for one in _in_parallel(seeds, options.jobs, ends_at=ends_at):
        total.add(one)
        if one.broken is not None:
            _show(f"seed {one.seed} fails: {one.failure}\n")
        if len(total.failures) >= ENOUGH:
            break
        if time.monotonic() > shown_at + (0.5 if sys.stdout.isatty() else 15):
            shown_at = time.monotonic()
            _show(total.line + ("" if sys.stdout.isatty() else "\n"))
    _show(total.line + "\n")
    if options.situations:
        _say("\n".join(report(total.situations)))
    by_promise = {one.broken: one for one in reversed(total.failures)}
    for failure in by_promise.values():
        _tell_how_to_repeat(failure)
    return 1 if total.failures else 0


def _in_parallel(seeds: Iterator[int], jobs: int, *, ends_at: float, fault: str = "") -> Iterator[Report]:
    """The reports, in the order in which they come."""
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


def _tell_how_to_repeat(failure: Report) -> None:
    """Shrink it, and print the command."""
    plan = draw(failure.seed)

    def fails(kept: Collection[int]) -> bool:
        return run(plan.only(kept)).broken is failure.broken

    kept = shrunk(len(plan.events), fails)
    small = plan.only(kept)
    _say(f"seed {failure.seed}, with {len(kept)} of its {len(plan.events)} events: {run(small).failure}")
    _say(f"  {small.settings}")
    for event in small.events:
        _say(f"  {event}")
    _say(f"{COMMAND} --from {failure.seed} --only {','.join(map(str, kept)) or 'none'}")


def _repeat(options: argparse.Namespace) -> int:
    """Run some events of one seed, and show what the servers saw."""
    plan = draw(options.first)
    if options.only == "none":
        plan = plan.only(())
    elif options.only != "all":
        plan = plan.only({int(number) for number in options.only.split(",")})
    with planted(options.planted or ""):
        outcome = simulate(plan)
    _say(f"{plan.settings}")
    for event in plan.events:
        _say(f"  {event}")
    _say("\n".join([*outcome.history[-options.lines :], *outcome.logged[-options.lines :]]))
    _say(f"{outcome.failure or 'all held'} {outcome.digest}")
    return 1 if outcome.failure else 0


def _find_planted(options: argparse.Namespace) -> int:
    """Tell within how many seeds each planted fault is found."""
    names = list(PLANTED) if options.planted == "all" else [options.planted]
    needed: list[float] = []
    for name in names:
        seeds = islice(count(options.first), options.seeds or 2000)
        found = _first_failure(_in_parallel(seeds, options.jobs, ends_at=float("inf"), fault=name))
        needed.append(float("inf") if found is None else found.seed - options.first + 1)
        _say(f"{name}: {needed[-1]:g} seeds{': ' + found.failure[:200] if found else ''}")
    needed.sort()
    _say(f"{sum(each < float('inf') for each in needed)} of {len(needed)} found, median {needed[len(needed) // 2]:g}")
    return 0 if needed[-1] < float("inf") else 1


def _first_failure(reports: Iterator[Report]) -> Report | None:
    return next((each for each in reports if each.broken is not None), None)


def _show(text: str) -> None:
    """The line of progress: on a terminal always the same one."""
    sys.stdout.write(f"\r{text}" if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _say(text: str) -> None:
    _show(f"{text}\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Simulate the program in a world that is out of order.")
    parser.add_argument("--seeds", type=int, default=0, help="how many (1000, or what the minutes allow)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED", help="the first one")
    parser.add_argument("--minutes", type=float, default=0.0, help="for how long, at most")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (all cores)")
    parser.add_argument("--situations", action="store_true", help="tell which faults have met which steps")
    parser.add_argument("--only", metavar="NUMBERS", help="run one seed, with these of its events, and show it all")
    parser.add_argument("--lines", type=int, default=60, help="of the history, with --only")
    parser.add_argument(
        "--planted", metavar="NAME", help="plant a known fault into the program, or all of them in turn"
    )
    return parser
