"""Run one plan: the servers, the replicas, the workload, the nemesis and the checkers, in virtual time."""

import logging
from collections import Counter
from contextlib import nullcontext
from typing import NamedTuple

import trio
from prometheus_client import generate_latest
from trio.testing import MockClock

from secrets_manager.demo.api.documents import items, parse, text
from secrets_manager.demo.api.storage import Change, Key
from tests.simulation import convergence
from tests.simulation.bounds import IDLE_TIME, recovery
from tests.simulation.coverage import Pair
from tests.simulation.environment import Action
from tests.simulation.history import History
from tests.simulation.injector import FaultInjector, Injected
from tests.simulation.invariants import InvariantChecker, LogLines, abandoned_by_sender
from tests.simulation.nemesis import Disruption
from tests.simulation.pausing import Freezer
from tests.simulation.plan import Plan, ScheduledAction, pauses
from tests.simulation.properties import Property
from tests.simulation.replica import Replica
from tests.simulation.scheduler import deterministic
from tests.simulation.servers import DEFINITIONS, NAMESPACES, Kubernetes, Vault
from tests.simulation.steps import OF_KUBERNETES, Answer, Call, Step
from tests.simulation.workload import GROUP, CreateCrd, CreateNamespace, interference

SAMPLED_EVERY = 10.0
CHECKED_EVERY = 10.0
EXPECTED_IDLE = (Step.LIST, Step.GET, Step.WRITE, Step.STATUS)
"""The steps that send nothing at rest."""
RESUME_GRACE = 1.0
"""Seconds after a pause in which health is not checked."""


class Outcome(NamedTuple):
    """The outcome of a plan. `broken` is the property that did not hold, if any; `seconds` are virtual."""

    plan: Plan
    broken: Property | None
    failure: str
    seconds: float
    converged_after: float
    """Seconds from the last fault to convergence."""
    digest: str
    requests: int
    coverage: Counter[Pair]
    history: list[str]
    logged: list[str]


class Simulation:
    """One run."""

    nursery: trio.Nursery
    """Of all tasks outside the program."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.plan = plan
        self.history = History()
        self.broken: Property | None = None
        self.failure = ""
        self.coverage: Counter[Pair] = Counter()
        self.requests = 0
        self.kubernetes = Kubernetes(collected_every=settings.collected_every, changed=self._changed)
        self.vault = Vault(lists=settings.lists, token_ttl=settings.token_ttl, token_max_ttl=settings.token_max_ttl)
        self.replicas = [Replica(self, number) for number in range(settings.replicas)]
        self.log = LogLines(self._logged)
        self._invariants = InvariantChecker(self.fail, one_leader=settings.lease.enabled)
        self._injector = FaultInjector(plan)
        self._freezer = Freezer()
        self._scope = trio.CancelScope()
        self._resumed_at: dict[str, float] = {}
        self._unhealthy_since: dict[str, float] = {}
        self._shutdown_time = settings.lease.renew_deadline / 2 + SAMPLED_EVERY
        """Seconds that a process has to end after it lost its lease."""
        self._activity = 0
        self._converged_after = 0.0
        self._last_activity = ""
        self._checking = True

    def run(self) -> Outcome:
        """Run the plan."""
        logger = logging.getLogger("secrets_manager")
        before = logger.level, logger.propagate
        logger.addHandler(self.log)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        clock = MockClock(autojump_threshold=0)
        try:
            with deterministic(self.plan.seed), self._freezer.installed() if pauses(self.plan) else nullcontext():
                seconds = trio.run(self._main, clock=clock)
        finally:
            logger.removeHandler(self.log)
            logger.level, logger.propagate = before
        return Outcome(
            self.plan,
            self.broken,
            self.failure,
            seconds,
            self._converged_after,
            self.history.digest,
            self.requests,
            self.coverage,
            self.history.lines,
            list(self.log.lines),
        )

    async def _main(self) -> float:
        async with trio.open_nursery() as self.nursery:
            with self._scope:
                for replica in self.replicas:
                    self.nursery.start_soon(replica.run)
                self.nursery.start_soon(self.kubernetes.collect)
                self.nursery.start_soon(self._sample)
                await self._run_plan()
            ended_at = trio.current_time()
            self._checking = False
            self.nursery.cancel_scope.cancel()
        return ended_at

    async def _run_plan(self) -> None:
        for name in NAMESPACES:
            CreateNamespace(name)(self)
        for act in sorted(
            (each for each in self.plan.events if isinstance(each, ScheduledAction)), key=lambda each: each.at
        ):
            await trio.sleep_until(act.at)
            self._do(act.action)
        await trio.sleep_until(self.plan.settings.duration)
        self.history.note("all faults end")
        CreateCrd()(self)
        await self._await_convergence()
        self._check_converged()

    async def _await_convergence(self) -> None:
        """Wait until the program has converged and is idle, at most for the bound of the plan."""
        ended_at = rest_since = trio.current_time()
        bound = ended_at + recovery(self.plan)
        while trio.current_time() < rest_since + IDLE_TIME:
            before = self._activity
            await trio.sleep(CHECKED_EVERY)
            now = trio.current_time()
            if self._activity != before or convergence.differences(self):
                if now > bound and self._activity == before:
                    return  # the bound is over, and the check fails
                rest_since = now
                self._converged_after = now - ended_at
            if now > bound + IDLE_TIME:
                self.fail(Property.QUIESCENCE, f"it never comes to rest: {self._last_activity}")

    def _do(self, action: Action) -> None:
        self.history.note(f"{action}")
        action(self)

    @property
    def faults_ended(self) -> bool:
        """Return whether the time of faults is over."""
        return trio.current_time() >= self.plan.settings.duration

    def schedule(self, seconds: float, action: Action) -> None:
        """Run an action after some seconds."""
        self.nursery.start_soon(self._do_later, seconds, action)

    async def _do_later(self, seconds: float, action: Action) -> None:
        await trio.sleep(seconds)
        self._do(action)

    def machine(self, number: int) -> Replica:
        """Return a replica, by its number modulo their count."""
        return self.replicas[number % len(self.replicas)]

    def pause(self, number: int, seconds: float) -> None:
        """Stop a process, and continue it after some seconds."""
        who = self.machine(number).identity
        if who and not self._freezer.is_frozen(who):
            self.history.note(f"{who} is paused for {seconds:.3f} s")
            self._freezer.freeze(who)
            trio.lowlevel.spawn_system_task(self._resume, who, seconds)

    async def _resume(self, who: str, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
        finally:
            self._resumed_at[who] = trio.current_time()
            self._freezer.thaw(who)

    def on_send(self, call: Call, replica: Replica) -> Injected:
        """Record and check a request that a replica sends, and choose its fault."""
        injected = self._injector.effect(call, replica.number, trio.current_time())
        self.requests += 1
        self.history.note(f"{call.who} sends {call.method} {call.path}{' - ' if injected.kind else ''}{injected.kind}")
        if self._checking:
            self._invariants.sent(call, self.kubernetes)
        if call.step in EXPECTED_IDLE and not self._is_expected_at_rest(call):
            self._activity += 1
            self._last_activity = f"{call}"
        if injected.kind:
            self.coverage[injected.kind, call.step] += 1
        return injected

    def on_receive(self, call: Call, *, behind: float, is_late: bool) -> Answer:
        """Let the server handle a request, whose sender may have given up."""
        token = abandoned_by_sender.set(is_late)
        try:
            if call.step in OF_KUBERNETES:
                return self.kubernetes.answer(call, behind=behind)
            return self.vault.answer(call)
        finally:
            abandoned_by_sender.reset(token)

    def interfere(self, what: str, call: Call) -> None:
        """Let another client change the Secret that a request writes."""
        secret = secret_of(call)
        if secret is None:
            return
        owners = items(parse(call.body) if call.body else {}, "metadata", "ownerReferences")
        action = interference(what, secret.namespace, secret.name, text(owners[-1], "name") if owners else "")
        if action is not None:
            self._do(action)

    def _is_expected_at_rest(self, call: Call) -> bool:
        """Return whether a request is about a foreign Secret: such are not watched, so the program polls them.

        Before it makes a Secret again, it reads the definition again.
        """
        key = secret_of(call)
        if key is None and call.step is Step.GET and "/secretdefinitions/" in call.path:
            namespace, _, name = call.path.rpartition("/namespaces/")[2].split("/")
            definition = self.kubernetes.objects(DEFINITIONS).get(Key(DEFINITIONS, namespace, name))
            key = Key("secrets", namespace, text(definition, "spec", "name"))
        secret = None if key is None else self.kubernetes.objects("secrets").get(key)
        return secret is not None and not text(secret, "metadata", "labels", f"{GROUP}/owner")

    def _changed(self, change: Change, writer: str) -> None:
        place = f"{change.key.resource} {change.key.namespace}/{change.key.name}"
        what = "creates" if change.before is None else "deletes" if change.after is None else "changes"
        self.history.note(f"{writer} {what} {place} at {change.revision}")
        if self._checking:
            self._invariants.changed(self.kubernetes, change, writer)

    def _logged(self, line: str) -> None:
        if self._checking:
            self._invariants.logged(line)

    def fail(self, broken_property: Property, why: str) -> None:
        """Record the first failure, and end the run."""
        if self.broken is None and self._checking:
            self.broken, self.failure = broken_property, f"{broken_property}: after {trio.current_time():.3f} s: {why}"
            self.history.note(f"FAILURE: {self.failure}")
            self._scope.cancel()

    def on_lost_leadership(self, replica: Replica, why: str) -> None:
        """Check whether a process had a reason to lose its lease."""
        self.history.note(f"{replica.identity} ends: {why}")
        if len(self.plan.events) == sum(1 for each in self.plan.events if isinstance(each, ScheduledAction)):
            machines = [
                each
                for each in self.plan.events
                if isinstance(each, ScheduledAction) and isinstance(each.action, Disruption)
            ]
            if not machines and not self.plan.settings.latency_to_kubernetes:
                self.fail(Property.NO_EXIT, why)

    def _check_converged(self) -> None:
        for replica in self.replicas:
            self._invariants.exposed(generate_latest(replica.registry).decode())
        if found := convergence.differences(self):
            self.fail(Property.CONVERGENCE, "; ".join(found))
        elif found := convergence.leaks(self):
            self.fail(Property.NO_LEAK, "; ".join(found))

    async def _sample(self) -> None:
        """Check the liveness of every replica periodically."""
        while True:
            await trio.sleep(SAMPLED_EVERY)
            for replica in self.replicas:
                who = replica.identity
                if replica.ending or self._freezer.is_frozen(who):
                    continue
                if trio.current_time() - self._resumed_at.get(who, -RESUME_GRACE) < RESUME_GRACE:
                    continue
                failures = replica.liveness.failures
                if not failures:
                    self._unhealthy_since.pop(who, None)
                elif (
                    trio.current_time() - self._unhealthy_since.setdefault(who, trio.current_time())
                    > self._shutdown_time
                ):
                    self.fail(Property.HEALTH, f"{who}: {failures}")


def secret_of(call: Call) -> Key | None:
    """Return the Secret that a request is about; None for other objects and for collections."""
    namespace, _, rest = call.path.removeprefix("/api/v1/namespaces/").partition("/")
    kind, _, name = rest.partition("/")
    if kind != "secrets" or not (name or call.body):
        return None
    return Key("secrets", namespace, name or text(parse(call.body), "metadata", "name"))


def simulate(plan: Plan) -> Outcome:
    """Run a plan. The same plan has the same outcome."""
    return Simulation(plan).run()
