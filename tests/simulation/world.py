"""One run: the servers, the replicas, and what a plan lets befall them, in virtual time."""

import logging
from collections import Counter
from contextlib import nullcontext
from typing import NamedTuple

import trio
from prometheus_client import generate_latest
from trio.testing import MockClock

from secrets_manager.demo.api.documents import items, parse, text
from secrets_manager.demo.api.storage import Change, Key
from secrets_manager.net.exchange import Answer
from tests.simulation import truth
from tests.simulation.bounds import QUIET, recovery
from tests.simulation.chance import seeded
from tests.simulation.history import History
from tests.simulation.machines import Moment
from tests.simulation.pausing import Freezer
from tests.simulation.people import GROUP, CrdComes, NamespaceComes, meddling
from tests.simulation.plan import Act, Plan, pauses
from tests.simulation.promises import Promise
from tests.simulation.properties import Always, LogLines, given_up
from tests.simulation.replica import Replica
from tests.simulation.servers import DEFINITIONS, NAMESPACES, Kubernetes, Vault
from tests.simulation.situations import Pair
from tests.simulation.stage import Action
from tests.simulation.steps import OF_KUBERNETES, Ask, Step
from tests.simulation.weather import Met, Weather

SAMPLED_EVERY = 10.0
CHECKED_EVERY = 10.0
RESTING = (Step.LIST, Step.GET, Step.WRITE, Step.STATUS)
"""What is not asked at rest."""
RESTED = 1.0
"""Seconds that a process which was stopped has to notice it."""


class Outcome(NamedTuple):
    """What came of a plan. `broken` is the promise that was not kept, if any; `seconds` are virtual."""

    plan: Plan
    broken: Promise | None
    failure: str
    seconds: float
    recovered: float
    """Seconds after the end of all faults until all was right and at rest."""
    digest: str
    requests: int
    situations: Counter[Pair]
    history: list[str]
    logged: list[str]


class World:
    """All that there is in one run."""

    nursery: trio.Nursery
    """Of all that is not the program's."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.plan = plan
        self.history = History()
        self.broken: Promise | None = None
        self.failure = ""
        self.situations: Counter[Pair] = Counter()
        self.requests = 0
        self.kubernetes = Kubernetes(collected_every=settings.collected_every, changed=self._changed)
        self.vault = Vault(lists=settings.lists, token_ttl=settings.token_ttl, token_max_ttl=settings.token_max_ttl)
        self.replicas = [Replica(self, number) for number in range(settings.replicas)]
        self.log = LogLines(self._logged)
        self._always = Always(self.fail, one_leader=settings.lease.enabled)
        self._weather = Weather(plan)
        self._freezer = Freezer()
        self._scope = trio.CancelScope()
        self._resumed_at: dict[str, float] = {}
        self._ill_since: dict[str, float] = {}
        self._parting = settings.lease.renew_deadline / 2 + SAMPLED_EVERY
        """Seconds that a process may take to end, whose work has ended since its lease is lost."""
        self._at_work = 0
        self._recovered = 0.0
        self._last_work = ""
        self._judges = True

    def run(self) -> Outcome:
        """Let it all happen."""
        logger = logging.getLogger("secrets_manager")
        before = logger.level, logger.propagate
        logger.addHandler(self.log)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        clock = MockClock(autojump_threshold=0)
        try:
            with seeded(self.plan.seed), self._freezer.installed() if pauses(self.plan) else nullcontext():
                seconds = trio.run(self._happen, clock=clock)
        finally:
            logger.removeHandler(self.log)
            logger.level, logger.propagate = before
        return Outcome(
            self.plan,
            self.broken,
            self.failure,
            seconds,
            self._recovered,
            self.history.digest,
            self.requests,
            self.situations,
            self.history.lines,
            list(self.log.lines),
        )

    async def _happen(self) -> float:
        async with trio.open_nursery() as self.nursery:
            with self._scope:
                for replica in self.replicas:
                    self.nursery.start_soon(replica.run)
                self.nursery.start_soon(self.kubernetes.collect)
                self.nursery.start_soon(self._sample)
                await self._take_course()
            ended_at = trio.current_time()
            self._judges = False
            self.nursery.cancel_scope.cancel()
        return ended_at

    async def _take_course(self) -> None:
        for name in NAMESPACES:
            NamespaceComes(name)(self)
        for act in sorted((each for each in self.plan.events if isinstance(each, Act)), key=lambda each: each.at):
            await trio.sleep_until(act.at)
            self._do(act.action)
        await trio.sleep_until(self.plan.settings.duration)
        self.history.note("all faults end")
        CrdComes()(self)
        await self._recover()
        self._must_be_right()

    async def _recover(self) -> None:
        """Wait until all is right and nothing has been written for a while, for as long as that may take."""
        ended_at = rest_since = trio.current_time()
        bound = ended_at + recovery(self.plan)
        while trio.current_time() < rest_since + QUIET:
            before = self._at_work
            await trio.sleep(CHECKED_EVERY)
            now = trio.current_time()
            if self._at_work != before or truth.problems(self):
                if now > bound and self._at_work == before:
                    return  # it is not right, and must be by now
                rest_since = now
                self._recovered = now - ended_at
            if now > bound + QUIET:
                self.fail(Promise.REST, f"it goes on and on: {self._last_work}")

    # What the plan does

    def _do(self, action: Action) -> None:
        self.history.note(f"{action}")
        action(self)

    @property
    def is_over(self) -> bool:
        """Whether all faults have ended."""
        return trio.current_time() >= self.plan.settings.duration

    def later(self, seconds: float, action: Action) -> None:
        """Do something after a while."""
        self.nursery.start_soon(self._do_later, seconds, action)

    async def _do_later(self, seconds: float, action: Action) -> None:
        await trio.sleep(seconds)
        self._do(action)

    def machine(self, number: int) -> Replica:
        """One of the replicas, whatever the number."""
        return self.replicas[number % len(self.replicas)]

    def pause(self, number: int, seconds: float) -> None:
        """Stop a process, and let it go on after a while."""
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

    # What the servers see

    def leaves(self, ask: Ask, replica: Replica) -> Met:
        """A request leaves a replica. What will become of it?"""
        met = self._weather.treatment(ask, replica.number, trio.current_time())
        self.requests += 1
        self.history.note(f"{ask.who} asks {ask.method} {ask.path}{' - ' if met.kind else ''}{met.kind}")
        if self._judges:
            self._always.sent(ask, self.kubernetes)
        if ask.step in RESTING and not self._is_in_the_way(ask):
            self._at_work += 1
            self._last_work = f"{ask}"
        if met.kind:
            self.situations[met.kind, ask.step] += 1
        return met

    def arrives(self, ask: Ask, *, behind: float, is_late: bool) -> Answer:
        """It arrives at its server, maybe when its sender has given it up."""
        token = given_up.set(is_late)
        try:
            if ask.step in OF_KUBERNETES:
                return self.kubernetes.answer(ask, behind=behind)
            return self.vault.answer(ask)
        finally:
            given_up.reset(token)

    def meddle(self, what: str, ask: Ask) -> None:
        """Others are at the Secret that this request writes."""
        secret = secret_of(ask)
        if secret is None:
            return
        owners = items(parse(ask.body) if ask.body else {}, "metadata", "ownerReferences")
        action = meddling(what, secret.namespace, secret.name, text(owners[-1], "name") if owners else "")
        if action is not None:
            self._do(action)

    def _is_in_the_way(self, ask: Ask) -> bool:
        """Whether it is about a Secret of others: such are not watched, so the program tries again now and then.

        Before it makes a Secret again, it reads the definition again.
        """
        key = secret_of(ask)
        if key is None and ask.step is Step.GET and "/secretdefinitions/" in ask.path:
            namespace, _, name = ask.path.rpartition("/namespaces/")[2].split("/")
            definition = self.kubernetes.objects(DEFINITIONS).get(Key(DEFINITIONS, namespace, name))
            key = Key("secrets", namespace, text(definition, "spec", "name"))
        secret = None if key is None else self.kubernetes.objects("secrets").get(key)
        return secret is not None and not text(secret, "metadata", "labels", f"{GROUP}/owner")

    def _changed(self, change: Change, writer: str) -> None:
        place = f"{change.key.resource} {change.key.namespace}/{change.key.name}"
        what = "creates" if change.before is None else "deletes" if change.after is None else "changes"
        self.history.note(f"{writer} {what} {place} at {change.revision}")
        if self._judges:
            self._always.changed(self.kubernetes, change, writer)

    def _logged(self, line: str) -> None:
        if self._judges:
            self._always.logged(line)

    # What must not be

    def fail(self, promise: Promise, why: str) -> None:
        """The first failure ends the run."""
        if self.broken is None and self._judges:
            self.broken, self.failure = promise, f"{promise}: after {trio.current_time():.3f} s: {why}"
            self.history.note(f"FAILURE: {self.failure}")
            self._scope.cancel()

    def lost_leadership(self, replica: Replica, why: str) -> None:
        """A process ends since it could not renew its lease in time."""
        self.history.note(f"{replica.identity} ends: {why}")
        if len(self.plan.events) == sum(1 for each in self.plan.events if isinstance(each, Act)):
            machines = [each for each in self.plan.events if isinstance(each, Act) and isinstance(each.action, Moment)]
            if not machines and not self.plan.settings.road_to_kubernetes:
                self.fail(Promise.LIFE, why)

    def _must_be_right(self) -> None:
        for replica in self.replicas:
            self._always.exposed(generate_latest(replica.registry).decode())
        if found := truth.problems(self):
            self.fail(Promise.TRUTH, "; ".join(found))
        elif found := truth.leftovers(self):
            self.fail(Promise.MEMORY, "; ".join(found))

    async def _sample(self) -> None:
        """Ask for everybody's health now and then."""
        while True:
            await trio.sleep(SAMPLED_EVERY)
            for replica in self.replicas:
                who = replica.identity
                if replica.ending or self._freezer.is_frozen(who):
                    continue
                if trio.current_time() - self._resumed_at.get(who, -RESTED) < RESTED:
                    continue
                failures = replica.liveness.failures
                if not failures:
                    self._ill_since.pop(who, None)
                elif trio.current_time() - self._ill_since.setdefault(who, trio.current_time()) > self._parting:
                    self.fail(Promise.HEALTH, f"{who}: {failures}")


def secret_of(ask: Ask) -> Key | None:
    """The Secret that a request is about; None where it is about something else, or about many."""
    namespace, _, rest = ask.path.removeprefix("/api/v1/namespaces/").partition("/")
    kind, _, name = rest.partition("/")
    if kind != "secrets" or not (name or ask.body):
        return None
    return Key("secrets", namespace, name or text(parse(ask.body), "metadata", "name"))


def simulate(plan: Plan) -> Outcome:
    """Run a plan. The same plan has the same outcome."""
    return World(plan).run()
