"""The simulator is deterministic, finds and shrinks a planted fault, and pauses processes."""

import subprocess
import sys
from collections import Counter
from contextvars import copy_context
from itertools import takewhile
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.simulation.coverage import missing
from tests.simulation.faults import KINDS, PAIRS
from tests.simulation.generator import generate
from tests.simulation.nemesis import EndWatches, RevokeTokens
from tests.simulation.pausing import REPLICA, Freezer
from tests.simulation.plan import Event, FaultWindow, Plan, ScheduledAction, Settings
from tests.simulation.planted import PLANTED, planted
from tests.simulation.properties import Property
from tests.simulation.shrinking import shrunk
from tests.simulation.simulation import simulate
from tests.simulation.steps import Step
from tests.simulation.workload import (
    MERGE,
    ORPHAN,
    Annotate,
    Break,
    CopySecret,
    CreateForeign,
    CreateWorkload,
    Define,
    DeleteDefinition,
    KeySource,
    Mark,
    Name,
    OverwriteStatus,
    Rename,
    Rotate,
    SetPolicy,
)

ROOT = Path(__file__).parents[2]
APP = Name("shop", "shop-d0")
ROTATE = ScheduledAction(0.0, Rotate(("shop/one",)))
DEFINE = ScheduledAction(0.0, Define(APP, "shop-s0", (KeySource("a", "shop/one", "k1"),)))
INHERIT = ScheduledAction(
    0.0, Define(Name("shop", "shop-d1"), "shop-s1", (KeySource("a", "shop/one", "k1"),), inherited=True)
)
FIXED = ScheduledAction(1.0, Define(APP, "shop-s0", (KeySource("a-pinned", "shop/one", "k1", 1),)))
FORCE = Annotate(APP, "force-sync", "now")
WARN = FaultWindow(0.0, 50.0, "warning", (Step.WRITE,), 1.0)
COPY = ScheduledAction(5.0, CopySecret(Name("shop", "shop-s0"), "shop-copy"))
OVERWRITE = ScheduledAction(5.0, OverwriteStatus(APP))

KEYS = (KeySource("a", "shop/one", "k1"),)
OF_OTHERS = Name("shop", "shop-t0")
OCCUPIED, VACANT = (ScheduledAction(0.0, CreateForeign(OF_OTHERS, what)) for what in ("with a key of ours", "plain"))
MERGES = ScheduledAction(1.0, Define(APP, OF_OTHERS.name, KEYS, policy=MERGE))
MERGES_TOO = ScheduledAction(
    1.0, Define(Name("shop", "shop-d1"), OF_OTHERS.name, (KeySource("b", "shop/one", "k2"),), policy=MERGE)
)
ORPHANS = [
    ScheduledAction(0.0, Define(APP, "shop-s0", KEYS, policy=ORPHAN)),
    ScheduledAction(9.0, DeleteDefinition(APP)),
    ScheduledAction(10.0, SetPolicy("shop", read=False, listing=False)),
    ScheduledAction(11.0, Define(APP, "shop-s0", KEYS, policy=ORPHAN, inherited=True)),
    ScheduledAction(15.0, DeleteDefinition(APP)),
]
ADOPTING = [
    ScheduledAction(0.0, Define(APP, "shop-s0", KEYS, policy=ORPHAN, adopt=True)),
    ScheduledAction(1.0, Define(Name("shop", "shop-d1"), "shop-s0", KEYS, policy=ORPHAN)),
    ScheduledAction(70.0, Annotate(Name("shop", "shop-d1"), "adopt", "true")),
]
LATE = [
    ScheduledAction(10.0, Rotate(("shop/one",))),
    ScheduledAction(10.1, FORCE),
    FaultWindow(9.5, 8.0, "delayed", (Step.WRITE,), 1.0, limit=1),
    ScheduledAction(22.0, Rotate(("shop/one",))),
    ScheduledAction(22.1, FORCE._replace(text="again")),
]
MARKED = [ScheduledAction(at, Mark(APP, "tier", text)) for at, text in ((5.0, "copied"), (15.0, None))]
BREAK = ScheduledAction(5.0, Break(APP))
RENAME = ScheduledAction(5.0, Rename(APP, "shop-s1"))
RESTARTS = [
    ScheduledAction(0.0, CreateWorkload(Name("shop", "shop-w0"))),
    ScheduledAction(1.0, Define(APP, "shop-s0", KEYS, targets=("shop-w0",))),
    ScheduledAction(20.0, Rotate(("shop/one",))),
    ScheduledAction(20.1, FORCE),
    FaultWindow(24.0, 9.0, "reply dropped", (Step.WRITE,), 1.0),
]


def _actions(plan: Plan) -> list[ScheduledAction]:
    return [event for event in plan.events if isinstance(event, ScheduledAction)]


def plan(*events: Event, duration: float = 60.0) -> Plan:
    return Plan(1, Settings(duration=duration, period=5.0), events)


def test_a_run_without_faults_converges() -> None:
    outcome = simulate(plan(ROTATE, DEFINE, ScheduledAction(20.0, Rotate(("shop/one",)))))
    assert outcome.failure == ""
    lines = takewhile(lambda line: "all faults end" not in line, outcome.history.lines)
    written = [line for line in lines if "replica-0-1" in line and "secrets shop/shop-s0" in line]
    assert [line.split()[2] for line in written] == ["creates", "changes"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_recovers_from_each_kind_of_fault(kind: str) -> None:
    steps = KINDS[kind].steps
    course = [
        ROTATE,
        ScheduledAction(1.0, DEFINE.action),
        *(ScheduledAction(at, Rotate(("shop/one",))) for at in (10.0, 20.0, 30.0, 40.0)),
    ]
    troubles = [
        ScheduledAction(12.0, EndWatches(compacts=False)),
        ScheduledAction(15.0, RevokeTokens()),
        ScheduledAction(25.0, EndWatches(compacts=True)),
    ]
    outcome = simulate(plan(*course, *troubles, FaultWindow(0.0, 50.0, kind, steps, 0.7)))
    assert outcome.failure == ""
    assert {step for name, step in outcome.coverage if name == kind} <= {*steps}
    assert any(name == kind for name, _ in outcome.coverage)


@pytest.mark.real
def test_the_same_seed_has_the_same_history_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--from", "16", "--only", "all", "--lines", "1000000"]
    first, second = (
        subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True).stdout for _ in range(2)
    )
    assert first == second
    assert "sends" in first


def test_a_plan_has_the_same_history_each_time_and_another_seed_has_another_one() -> None:
    first, other, second = (simulate(plan(ROTATE, DEFINE)._replace(seed=seed)) for seed in (1, 2, 1))
    assert first.history.digest == second.history.digest != other.history.digest


def test_a_seed_has_one_plan_and_each_pair_of_fault_and_step_has_its_turn() -> None:
    assert generate(7) == generate(7)
    drawn = {
        (event.kind, step)
        for seed in range(len(PAIRS))
        for event in generate(seed).events
        if isinstance(event, FaultWindow)
        for step in event.steps
    }
    assert drawn == set(PAIRS)


def test_some_plans_act_on_few_definitions_of_one_namespace_again_and_again() -> None:
    defined = [
        {each.action.name for each in _actions(generate(seed)) if isinstance(each.action, Define)}
        for seed in range(100)
    ]
    narrow = [names for names in defined if len(names) <= 3 and len({name.namespace for name in names}) == 1]
    assert 25 <= len(narrow) <= 55


def test_a_fault_of_writes_is_injected_again_when_a_workload_is_restarted() -> None:
    seed = PAIRS.index(("reply dropped", Step.WRITE))
    events = generate(seed).events
    windows = [each for each in events if isinstance(each, FaultWindow) and each.steps == (Step.WRITE,) and each.limit]
    rotated = [each.at for each in _actions(generate(seed)) if isinstance(each.action, Rotate)]
    assert len(windows) == 2
    assert any(abs(windows[1].at - at) <= 2.0 for at in rotated)


def test_a_fault_of_watches_lasts_beyond_the_other_faults() -> None:
    some = generate(PAIRS.index(("silent", Step.WATCH)))
    last = some.settings.duration - 20.0
    ended = [each.at for each in _actions(some) if each.action == EndWatches(compacts=False)]
    begun = [each.at for each in some.events if isinstance(each, FaultWindow) and each.steps == (Step.WATCH,)]
    assert last in ended
    assert last in begun


def test_a_planted_fault_is_found_and_its_plan_shrunk() -> None:
    whole = plan(
        ROTATE,
        DEFINE,
        INHERIT,
        ScheduledAction(5.0, Rotate(("shop/two",))),
        ScheduledAction(9.0, DeleteDefinition(APP)),
    )
    with planted("the finalizer of the original stays"):
        assert simulate(whole).broken is Property.CONVERGENCE
        kept = shrunk(len(whole.events), lambda kept: simulate(whole.only(kept)).broken is Property.CONVERGENCE)
    assert [whole.events[number] for number in kept] == [ROTATE, INHERIT]
    assert simulate(whole).failure == ""


@pytest.mark.parametrize("fault", PLANTED)
def test_each_fault_can_still_be_planted(fault: str) -> None:
    with planted(fault):
        pass


@pytest.mark.parametrize(
    ("fault", "events", "broken"),
    [
        ("what will pass is called stalled", [DEFINE], Property.CONVERGENCE),
        ("a fixed version is not kept", [ROTATE, FIXED], Property.RESPONSE),
        ("a warning is forgotten", [ROTATE, WARN, DEFINE, ScheduledAction(5.0, FORCE)], Property.CONVERGENCE),
        ("a copy of a Secret is deleted", [ROTATE, DEFINE, COPY, ScheduledAction(9.0, FORCE)], Property.OWNERSHIP),
        ("the conditions of others are dropped", [ROTATE, DEFINE, OVERWRITE], Property.OWNERSHIP),
        ("a changed definition is not read afresh", [ROTATE, DEFINE], Property.RESPONSE),
        ("a key of others is overwritten", [ROTATE, OCCUPIED, MERGES], Property.OWNERSHIP),
        (
            "keys of a deleted definition stay",
            [ROTATE, VACANT, MERGES, MERGES_TOO, ScheduledAction(9.0, DeleteDefinition(APP))],
            Property.CONVERGENCE,
        ),
        ("a late apply is taken", [ROTATE, VACANT, MERGES, *LATE], Property.VERSION_ORDER),
        ("a Secret is taken from its definition", [ROTATE, *ADOPTING], Property.OWNERSHIP),
        ("an orphan is deleted with its definition", [ROTATE, ORPHANS[0]], Property.CONVERGENCE),
        ("the finalizer of the original deletes an orphan", [ROTATE, *ORPHANS], Property.OWNERSHIP),
        ("the first Secret restarts, too", [ROTATE, *RESTARTS], Property.RESTARTS),
        ("a restart is repeated", [ROTATE, *RESTARTS], Property.RESTARTS),
        ("a condition is dated by each write", [ROTATE, DEFINE, *RESTARTS[2:4]], Property.TRANSITIONS),
        ("the TTL that was granted is shown as what remains", [DEFINE], Property.CONVERGENCE),
        ("what was copied stays", [ROTATE, DEFINE, *MARKED], Property.CONVERGENCE),
        ("a template that can't be parsed is left out", [ROTATE, DEFINE, BREAK], Property.CONVERGENCE),
        ("a Secret of a former name stays", [ROTATE, DEFINE, RENAME], Property.CONVERGENCE),
    ],
)
def test_each_property_finds_what_breaks_it(fault: str, events: list[Event], broken: Property) -> None:
    some = plan(*events)
    some = some._replace(settings=some.settings._replace(period=300.0, list_period=0.0, duration=80.0))
    assert simulate(some).failure == ""
    with planted(fault):
        assert simulate(some).broken is broken


def test_an_idle_stretch_costs_no_request_to_kubernetes_but_watches() -> None:
    some = plan(ROTATE, DEFINE)
    outcome = simulate(some._replace(settings=some.settings._replace(idle=7200.0)))
    assert outcome.failure == ""
    idle = [line for line in outcome.history.lines if "sends to api" in line and 1000 < float(line.split()[0]) < 7000]
    assert idle
    assert all("secret" in line and "GET" in line for line in idle)


def test_an_api_server_that_lags_shows_its_state_late() -> None:
    some = plan(ROTATE, ScheduledAction(10.0, DEFINE.action))
    late = simulate(some._replace(settings=some.settings._replace(api_servers=(5.0,))))
    assert late.failure == ""
    created = [float(line.split()[0]) for line in late.history.lines if "creates secrets shop/shop-s0" in line]
    assert 15.0 <= created[0] <= 20.0


def test_faults_end_after_each_round() -> None:
    some = plan(ROTATE, DEFINE, FaultWindow(0.0, 60.0, "sealed", (Step.READ,), 1.0))
    outcome = simulate(some._replace(settings=some.settings._replace(rounds=2)))
    assert outcome.failure == ""
    assert [line.split(maxsplit=1)[1] for line in outcome.history.lines].count("all faults end") == 2


def test_what_is_shrunk_fails_by_what_is_left() -> None:
    tried: Counter[tuple[int, ...]] = Counter()

    def fails(kept: object) -> bool:
        assert isinstance(kept, list)
        tried[tuple(kept)] += 1
        return {3, 11} <= {*kept}

    assert shrunk(20, fails) == [3, 11]
    assert sum(tried.values()) < 60
    assert shrunk(20, fails, tries=1) == list(range(10, 20)) or shrunk(20, fails, tries=1) == list(range(20))


def test_pairs_that_were_never_injected_are_listed() -> None:
    assert missing(Counter(PAIRS)) == []
    assert missing(Counter(PAIRS[1:])) == [PAIRS[0]]
    assert ("unreachable", Step.LEASE) in PAIRS


async def test_a_replica_that_is_paused_takes_no_step_until_it_goes_on(autojump_clock: MockClock) -> None:
    freezer, steps = Freezer(), list[tuple[str, float]]()

    async def live(who: str) -> None:
        REPLICA.set(who)
        for _ in range(4):
            await trio.sleep(1)
            steps.append((who, trio.current_time()))

    with freezer.installed():
        async with trio.open_nursery() as nursery:
            for who in ("one", "two"):
                copy_context().run(nursery.start_soon, live, who)
            await trio.sleep(1.5)
            freezer.freeze("one")
            await trio.sleep(2)
            freezer.thaw("one")
    assert [at for who, at in steps if who == "two"] == [1.0, 2.0, 3.0, 4.0]
    assert [at for who, at in steps if who == "one"] == [1.0, 3.5, 4.5, 5.5]
