"""Inject the pair of fault and step whose turn it is: each seed has one, in turn.

Some steps are rare, so each has actions and settings that make the program take it.
"""

from secrets_manager.config import LeaseConfig
from tests.simulation.draws import Draws
from tests.simulation.environment import Action
from tests.simulation.faults import CRASHES, PAIRS
from tests.simulation.nemesis import EndWatches, RevokeTokens
from tests.simulation.plan import Event, FaultWindow, ScheduledAction, Settings
from tests.simulation.steps import Step
from tests.simulation.workload import (
    Annotate,
    CreateWorkload,
    Define,
    DeleteSecret,
    Edit,
    KeySource,
    Name,
    Rename,
    Rotate,
    SetPolicy,
)

HARMLESS = ("warning",)
"""Hides nothing, and is injected without limit."""
LIMIT = 3
"""Injections of the pair in one run: enough to cover it, too few to hide what the rest of the run does."""
LAST_WATCHES = 20.0
"""Seconds before the end of all faults at which the watches begin that are to be struck."""


def targeted_settings(seed: int, settings: Settings, random: Draws) -> Settings:
    """Return settings under which the step of the pair is taken."""
    _, step = PAIRS[seed % len(PAIRS)]
    if step is Step.LEASE:
        lease = settings.lease if settings.lease.enabled else LeaseConfig(enabled=True)
        return settings._replace(lease=lease, replicas=max(2, settings.replicas))
    if step is Step.LISTING:
        return settings._replace(lists=True, list_period=random.choice((1.0, 5.0)))
    return settings


def targeted_events(seed: int, settings: Settings, random: Draws) -> list[Event]:
    """Return the fault window of the pair, and actions that make the program take its step."""
    kind, step = PAIRS[seed % len(PAIRS)]
    at = random.choice((0.0, 0.0, random.uniform(0.0, settings.duration / 3)))
    limit = 1 if kind in CRASHES else 0 if kind in HARMLESS else LIMIT
    window = FaultWindow(at, settings.duration - at, kind, (step,), 1.0, limit=limit)
    if step is Step.LEASE and kind not in CRASHES:  # long enough for another replica to take it
        window = FaultWindow(at, 2 * settings.lease.duration, kind, (step,), 1.0, replica=random.randrange(2))
    events = _provocations(step, at + 1.0, settings, random)
    again = None
    if step is Step.WRITE:  # when workloads are restarted
        again = at + settings.duration / 3 + random.choice((0.0, 3.0))
    elif step is Step.WATCH:  # so late that it lasts beyond the other faults
        again = settings.duration - LAST_WATCHES
    if again is not None:
        events.append(window._replace(at=again, seconds=settings.duration - again))
    return [window, *events]


def _provocations(step: Step, at: float, settings: Settings, random: Draws) -> list[Event]:
    namespace = random.choice(random.namespaces)
    name = Name(namespace, f"{namespace}-d0")
    secret, other = f"{namespace}-s0", f"{namespace}-s4"
    paths = tuple(f"{namespace}/{each}" for each in ("one", "two", "three"))
    keys = tuple(KeySource(each[-3:], each, "k1") for each in paths)
    later = at + settings.duration / 3
    actions: tuple[Action, ...] = (Rotate(paths), Define(name, secret, keys))
    if step is Step.WRITE:
        workload = Name(namespace, f"{namespace}-w0")
        define = Define(name, secret, keys, targets=(workload.name,))
        actions = (Rotate(paths), CreateWorkload(workload), define)
    events: list[Event] = [ScheduledAction(each, action) for each in (at, later) for action in actions]
    match step:
        case Step.LIST:
            events += [ScheduledAction(each, EndWatches(compacts=True)) for each in (at, later)]
        case Step.WATCH:
            last = settings.duration - LAST_WATCHES
            events += [ScheduledAction(each, EndWatches(compacts=False)) for each in (at, later, last)]
        case Step.GET:
            renames = (
                ScheduledAction(later + 20.0 * number, Rename(name, (other, secret)[number])) for number in (0, 1)
            )
            deletions = (
                ScheduledAction(each, DeleteSecret(Name(namespace, secret))) for each in (at + 9.0, later + 40.0)
            )
            events += [*renames, *deletions]
        case Step.WRITE:
            events += [ScheduledAction(each, Annotate(name, "force-sync", f"{each:g}")) for each in (at, later)]
            events += [ScheduledAction(later + each, Edit(Name(namespace, secret), "a value")) for each in (2.0, 20.0)]
        case Step.LISTING:
            events.append(ScheduledAction(at, SetPolicy(namespace, read=True, listing=True)))
        case Step.TOKEN | Step.LOGIN:
            events += [ScheduledAction(each, RevokeTokens()) for each in (at, later)]
        case Step.HEALTH:
            events.append(FaultWindow(at, 40.0, "sealed", (Step.READ, Step.LISTING), 1.0))
        case _:
            pass
    return events
