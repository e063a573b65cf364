"""Run one plan: the servers, the replicas, the workload, the nemesis and the checkers, in virtual time."""

import base64
import logging
from collections import Counter
from contextlib import nullcontext
from http import HTTPStatus
from typing import NamedTuple

import trio
from trio.testing import MockClock

from fake_kubernetes.documents import Object, items, mapping, parse, text
from fake_kubernetes.storage import Change, Key
from tests.managed_fields import MERGER
from tests.simulation.convergence import is_synced
from tests.simulation.course import Course
from tests.simulation.coverage import Pair
from tests.simulation.environment import Action
from tests.simulation.history import History
from tests.simulation.injector import FaultInjector, Injected
from tests.simulation.invariants import InvariantChecker, LogLines, abandoned_by_sender
from tests.simulation.merging import merges
from tests.simulation.nemesis import Disruption
from tests.simulation.pausing import Freezer
from tests.simulation.plan import Plan, ScheduledAction, pauses
from tests.simulation.properties import Property
from tests.simulation.replica import Replica, turns
from tests.simulation.scheduler import deterministic
from tests.simulation.servers import DEFINITIONS, DEPLOYMENTS, ITSELF, USERS, Kubernetes, Vault
from tests.simulation.steps import OF_KUBERNETES, Answer, Call, Step
from tests.simulation.warned import WITHHELD, LastWrites
from tests.simulation.workload import GROUP, interference

SAMPLED_EVERY = 10.0
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
    requests: int
    coverage: Counter[Pair]
    history: History
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
        self.last_writes = LastWrites()
        self._changed_secrets: set[Key] = set()
        """Those that a replica has changed, until the answer is sent."""
        self.log = LogLines(self._logged)
        self.invariants = InvariantChecker(self.fail, one_leader=settings.lease.enabled)
        self._injector = FaultInjector(plan)
        self._course = Course(self, self._do)
        self._freezer = Freezer()
        self._scope = trio.CancelScope()
        self._resumed_at: dict[str, float] = {}
        self._unhealthy_since: dict[str, float] = {}
        self._shutdown_time = settings.lease.renew_deadline / 2 + SAMPLED_EVERY
        """Seconds that a process has to end after it lost its lease."""
        self.activity = 0
        self.last_activity: Call | None = None
        self._checking = True

    def run(self) -> Outcome:
        """Run the plan."""
        logger = logging.getLogger("secrets_manager")
        before = logger.level, logger.propagate
        logger.addHandler(self.log)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            with (
                deterministic(self.plan.seed),
                turns(self.plan.settings.list_batch),
                self._freezer.installed() if pauses(self.plan) else nullcontext(),
            ):
                seconds = trio.run(self._main, clock=MockClock(autojump_threshold=0))
        finally:
            logger.removeHandler(self.log)
            logger.level, logger.propagate = before
        return Outcome(
            self.plan,
            self.broken,
            self.failure,
            seconds,
            self._course.converged_after,
            self.requests,
            self.coverage,
            self.history,
            list(self.log.lines),
        )

    async def _main(self) -> float:
        async with trio.open_nursery() as self.nursery:
            with self._scope:
                for replica in self.replicas:
                    self.nursery.start_soon(replica.run)
                self.nursery.start_soon(self.kubernetes.collect)
                self.nursery.start_soon(self._sample)
                await self._course.run()
            ended_at = trio.current_time()
            self._checking = False
            self.nursery.cancel_scope.cancel()
        return ended_at

    @property
    def faults_ended(self) -> bool:
        """Return whether the program is left alone, to converge."""
        return self._course.faults_ended

    @property
    def plan_time(self) -> float:
        return self._course.plan_time

    def _do(self, action: Action) -> None:
        self.history.note(action)
        action(self)

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
            self.history.note(who, "is paused for", seconds, "s")
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
        injected = self._injector.effect(call, replica.number, self.plan_time)
        self.requests += 1
        server = f"api-{call.server}" if call.step in OF_KUBERNETES else "vault"
        self.history.note(call.who, "sends to", server, call.method, call.path, injected.kind and f"- {injected.kind}")
        if self._checking:
            self.invariants.sent(call, self.kubernetes)
            if call.step in (Step.READ, Step.LISTING) and self.vault.is_expired(call.token):
                self.fail(Property.LIVE_TOKEN, f"{call}")
        if self.faults_ended and call.step in EXPECTED_IDLE and not self._is_expected_at_rest(call):
            self.activity += 1
            self.last_activity = call
        if injected.kind:
            self.coverage[injected.kind, call.step] += 1
        return injected

    def on_receive(self, call: Call, *, behind: float, is_late: bool) -> Answer:
        """Let the server handle a request, whose sender may have given up."""
        token = abandoned_by_sender.set(is_late)
        try:
            if call.step in OF_KUBERNETES:
                if (read := definition_of(call)) is not None:
                    self.invariants.definition_read(call.who, read, self.kubernetes.cluster.storage.revision)
                return self.kubernetes.answer(call, behind=max(behind, self.lag(call)))
            return self.vault.answer(call)
        finally:
            abandoned_by_sender.reset(token)

    def lag(self, call: Call) -> float:
        """Return by how many seconds the API server of a list or watch lags behind."""
        lags = self.plan.settings.api_servers
        return 0.0 if call.step not in (Step.LIST, Step.WATCH) or self.faults_ended else lags[call.server]

    def on_secret_written(self, call: Call, answer: Answer, warning: str) -> Answer:
        """Add a warning to the answer of a write, and remember it.

        A request that arrives twice may have written, and be refused then: no warning reaches its sender.
        """
        secret = secret_of(call)
        if secret is None or secret not in self._changed_secrets:
            return answer  # a definition, without its finalizer, or a workload, or nothing has changed
        self._changed_secrets.discard(secret)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self.last_writes.stored(secret, merger_of(call), call.who, "")
            return answer
        values = [str(value) for value in mapping(parse(call.body), "data").values() if value]
        quoted = base64.b64decode(values[0]).decode() if values else "none"
        text = warning.format(quoted)
        self.last_writes.stored(secret, merger_of(call), call.who, WITHHELD if quoted in text and values else text)
        if not text:
            return answer
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return answer._replace(headers=[*answer.headers, (b"Warning", f'299 - "{escaped}"'.encode())])

    def on_success(self, call: Call) -> None:
        """Record that the answer to a request that succeeded has reached its replica."""
        if call.step is Step.WRITE and (secret := secret_of(call)) is not None:
            self.last_writes.answered(secret, merger_of(call), call.who)

    def interfere(self, what: str, call: Call) -> None:
        """Let another client change the Secret that a request writes."""
        secret = secret_of(call)
        if secret is None:
            return
        owners = items(parse(call.body) if call.body else {}, "metadata", "ownerReferences")
        definition = merger_of(call) or (text(owners[-1], "name") if owners else "")
        action = interference(what, secret.namespace, secret.name, definition)
        if action is not None:
            self._do(action)

    def _is_expected_at_rest(self, call: Call) -> bool:
        """Return whether a request is about a foreign Secret: such are not watched, so the program polls them.

        Before it makes a Secret again, it reads the definition again. It tries again to merge keys that it may not,
        and requests workloads that do not exist.
        """
        if f"/{DEPLOYMENTS.split('.')[0]}/" in call.path:
            namespace, _, name = call.path.rpartition("/namespaces/")[2].split("/")
            return Key(DEPLOYMENTS, namespace, name) not in self.kubernetes.objects(DEPLOYMENTS)
        key = secret_of(call)
        definitions = self.kubernetes.objects(DEFINITIONS)
        if (read := definition_of(call)) is not None:
            key = Key("secrets", read.namespace, text(definitions.get(read), "spec", "name"))
        if key is not None and (merger := merger_of(call)):
            definition = definitions.get(Key(DEFINITIONS, key.namespace, merger))
            return definition is not None and not is_synced(definition)
        if (
            key is not None
            and call.step is Step.GET
            and any(merges_in_vain(each, key) for each in definitions.values())
        ):
            return True
        secret = None if key is None else self.kubernetes.objects("secrets").get(key)
        return secret is not None and not text(secret, "metadata", "labels", f"{GROUP}/owner")

    def _changed(self, change: Change, writer: str) -> None:
        resource, namespace, name = change.key
        what = "creates" if change.before is None else "deletes" if change.after is None else "changes"
        self.history.note(writer, what, resource, f"{namespace}/{name}", "at", change.revision)
        if resource == "secrets" and writer not in (USERS, ITSELF):
            self._changed_secrets.add(change.key)
        if self._checking:
            self.invariants.changed(self.kubernetes, change, writer)

    def _logged(self, line: str) -> None:
        if self._checking:
            self.invariants.logged(line)

    def fail(self, broken_property: Property, why: str) -> None:
        """Record the first failure, and end the run."""
        if self.broken is None and self._checking:
            self.broken, self.failure = broken_property, f"{broken_property}: after {trio.current_time():.3f} s: {why}"
            self.history.note("FAILURE:", self.failure)
            self._scope.cancel()

    def on_lost_leadership(self, replica: Replica, why: str) -> None:
        """Check whether a process had a reason to lose its lease."""
        self.history.note(replica.identity, "ends:", why)
        if len(self.plan.events) == sum(1 for each in self.plan.events if isinstance(each, ScheduledAction)):
            machines = [
                each
                for each in self.plan.events
                if isinstance(each, ScheduledAction) and isinstance(each.action, Disruption)
            ]
            if not machines and not self.plan.settings.latency_to_kubernetes:
                self.fail(Property.NO_EXIT, why)

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


def definition_of(call: Call) -> Key | None:
    """Return the definition that a request reads; None for other requests."""
    if call.step is not Step.GET or "/secretdefinitions/" not in call.path:
        return None
    namespace, _, name = call.path.rpartition("/namespaces/")[2].split("/")
    return Key(DEFINITIONS, namespace, name)


def merges_in_vain(definition: Object, secret: Key) -> bool:
    """Whether a definition can't merge its keys into a Secret, and tries again."""
    same = (text(definition, "metadata", "namespace"), text(definition, "spec", "name")) == secret[1:]
    return same and merges(definition) and not is_synced(definition)


def merger_of(call: Call) -> str:
    """Return the definition whose keys a request merges; empty for others."""
    manager = call.query.get("fieldManager", "")
    return manager.removeprefix(MERGER) if manager.startswith(MERGER) else ""


def simulate(plan: Plan) -> Outcome:
    """Run a plan. The same plan has the same outcome."""
    return Simulation(plan).run()
