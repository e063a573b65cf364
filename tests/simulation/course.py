"""Run a plan in time: rounds of faults, after each of which the program must converge, and an idle stretch."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import trio
from prometheus_client import generate_latest

from fake_kubernetes.documents import text
from fake_kubernetes.storage import Key
from tests.simulation import convergence
from tests.simulation.bounds import IDLE_TIME, recovery, response, settling
from tests.simulation.environment import Action
from tests.simulation.plan import ScheduledAction
from tests.simulation.properties import Property
from tests.simulation.servers import DEFINITIONS, NAMESPACES
from tests.simulation.workload import Annotate, CreateCrd, CreateNamespace, Name, Rotate, SetPolicy

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

CHECKED_EVERY = 10.0
MOMENT = 0.3
"""Seconds, less than the program serves other definitions from one read."""


class Course:
    """Of one run. `do` runs an action."""

    def __init__(self, simulation: "Simulation", do: Callable[[Action], None]) -> None:
        self.faults_ended = False
        """Whether the program is left alone, to converge."""
        self.converged_after = 0.0
        """The longest time from the last fault of a round to convergence."""
        self._simulation = simulation
        self._settings = simulation.plan.settings
        self._do = do
        self._round_offset = 0.0

    async def run(self) -> None:
        for name in NAMESPACES:
            self._do(CreateNamespace(name))
        settings, simulation = self._settings, self._simulation
        seconds = settings.duration / settings.rounds
        for number in range(settings.rounds):
            await self._run_round(number * seconds, seconds)
            await self._converge()
            await self._probe(forced=(number + simulation.plan.seed) % 2 == 1)
        if settings.idle:
            await self._converge()  # what failed at the probe is tried again later
            await self._idle()
            await self._probe(forced=simulation.plan.seed % 2 == 0)

    @property
    def plan_time(self) -> float:
        """Return the time of the plan, in which faults are scheduled; infinite between rounds."""
        return inf if self.faults_ended else trio.current_time() - self._round_offset

    async def _run_round(self, begin: float, seconds: float) -> None:
        """Run one part of the time of faults."""
        self._round_offset, self.faults_ended = trio.current_time() - begin, False
        actions = [each for each in self._simulation.plan.events if isinstance(each, ScheduledAction)]
        for each in sorted(actions, key=lambda each: each.at):
            if begin <= each.at < begin + seconds:
                await trio.sleep_until(each.at + self._round_offset)
                self._do(each.action)
        await trio.sleep_until(begin + seconds + self._round_offset)
        self.faults_ended = True
        self._simulation.history.note("all faults end")
        self._do(CreateCrd())

    async def _converge(self) -> None:
        await self._await_convergence()
        simulation = self._simulation
        for replica in simulation.replicas:
            simulation.invariants.exposed(generate_latest(replica.registry).decode())
        if found := convergence.differences(simulation):
            simulation.fail(Property.CONVERGENCE, "; ".join(found))
        elif found := convergence.leaks(simulation):
            simulation.fail(Property.NO_LEAK, "; ".join(found))

    async def _await_convergence(self) -> None:
        """Wait until the program has converged and is idle, at most for the bound of the plan."""
        simulation = self._simulation
        ended_at = rest_since = trio.current_time()
        bound = ended_at + recovery(simulation.plan)
        while trio.current_time() < rest_since + IDLE_TIME:
            before = simulation.activity
            await trio.sleep(max(CHECKED_EVERY, self._settings.period / 10))
            now = trio.current_time()
            if simulation.activity != before or convergence.differences(simulation):
                if now > bound and simulation.activity == before:
                    return  # the bound is over, and the check fails
                rest_since = now
                self.converged_after = max(self.converged_after, now - ended_at)
            if now > bound + IDLE_TIME:
                simulation.fail(Property.QUIESCENCE, f"it never comes to rest: {simulation.last_activity}")

    async def _probe(self, *, forced: bool) -> None:
        """Rotate every path, and expect the result within a bound.

        `forced`: a moment after each was read, and with a forced sync of each definition. Else with listings that are
        forbidden from then on, in every other run.
        """
        simulation = self._simulation
        await trio.sleep(settling(simulation.plan))
        objects = simulation.kubernetes.objects(DEFINITIONS)
        synced = {key: each for key, each in objects.items() if convergence.is_synced(each)}
        definitions = [key for key, each in synced.items() if forced or not text(each, "spec", "refreshInterval")]
        if forced:
            self._force(definitions)
            await trio.sleep(MOMENT)
        elif simulation.plan.seed % 4 < 2:
            for folder, readable in simulation.vault.readable.items():
                self._do(SetPolicy(folder, readable, listing=False))
        self._do(Rotate(tuple(sorted(simulation.vault.paths))))
        if forced:
            self._force(definitions)
        await trio.sleep(response(simulation.plan, forced=forced))
        if late := [problem for key in definitions for problem in convergence.differences_of(simulation, key)]:
            simulation.fail(Property.RESPONSE, "; ".join(late))

    def _force(self, definitions: list[Key]) -> None:
        for _, namespace, name in definitions:
            self._do(Annotate(Name(namespace, name), "force-sync", f"{trio.current_time()}"))

    async def _idle(self) -> None:
        """Let nothing happen for long, and expect the same of the program."""
        simulation = self._simulation
        before = simulation.activity
        simulation.history.note("idle")
        await trio.sleep(self._settings.idle)
        if simulation.activity != before:
            simulation.fail(Property.QUIESCENCE, f"it is not idle: {simulation.last_activity}")
        if found := convergence.differences(simulation):
            simulation.fail(Property.CONVERGENCE, "; ".join(found))
