"""Bound the time that the program has to converge after the last fault of a plan. All times in seconds.

The bound follows from constants of the program: periods, backoffs, leases and timeouts.
"""

from secrets_manager.controller.contention import REWRITE_INTERVAL
from tests.simulation.environment import Action
from tests.simulation.faults import KINDS
from tests.simulation.nemesis import Kill, Partition, Pause, Terminate, WhileDown
from tests.simulation.plan import FaultWindow, Plan, ScheduledAction
from tests.simulation.steps import Step
from tests.simulation.workload import Contend, DeleteCrd, DeleteNamespace

FAILING = 60.0
"""The longest period of a source that can't be read."""
LONGEST_INTERVAL = 60.0
"""The longest interval that a definition asks for."""
QUEUE = 60.0
"""The longest backoff of the queue."""
TIMEOUTS = 20.0
"""Two calls in flight when the faults end, which are never answered."""
WATCH = 30.0
"""The longest backoff of a watch, which is what finds a CRD that is created again."""
SILENCE = 110.0
"""Until the program gives up a watch whose connection is partitioned."""
IDLE_TIME = 65.0
"""Longer than any backoff: if nothing is written for so long, nothing will be."""


def recovery(plan: Plan) -> float:
    """Return the seconds until every Secret, status and metric must be right."""
    settings = plan.settings
    seconds = 2 * max(settings.period, 60.0) + FAILING + QUEUE + TIMEOUTS
    seconds += max(
        (KINDS[window.kind].recovery for window in plan.events if isinstance(window, FaultWindow)), default=0.0
    )
    seconds += max((_of_action(act.action) for act in plan.events if isinstance(act, ScheduledAction)), default=0.0)
    seconds += settings.restart + 10 * (settings.latency_to_kubernetes + settings.latency_to_vault)
    seconds += 2 * settings.collected_every + 2 * max(settings.api_servers)
    return seconds + (2 * settings.lease.duration + settings.lease.retry_period if settings.lease.enabled else 0.0)


def settling(plan: Plan) -> float:
    """Return the seconds until no watch is left that the network has silenced."""
    windows = [each for each in plan.events if isinstance(each, FaultWindow)]
    silenced = any(Step.WATCH in each.steps or each.kind == "partition" for each in windows)
    partitioned = any(isinstance(each, ScheduledAction) and isinstance(each.action, Partition) for each in plan.events)
    return SILENCE if silenced or partitioned else 0.0


def response(plan: Plan, *, forced: bool) -> float:
    """Return the seconds from a change in the backend, at rest, to the Secret: a forced sync waits for no period."""
    settings = plan.settings
    latency = 20 * (settings.latency_to_kubernetes + settings.latency_to_vault)
    return 10.0 + latency + (0.0 if forced else 1.5 * settings.period + settings.list_period)


def verification(plan: Plan) -> float:
    """Return the seconds since a definition in sync was last compared with the backend, at most, at rest."""
    return response(plan, forced=False) + 1.5 * max(0.0, LONGEST_INTERVAL - plan.settings.period)


def _of_action(action: Action) -> float:
    match action:
        case Contend():
            return 2 * REWRITE_INTERVAL
        case DeleteNamespace(_, back_after) | DeleteCrd(back_after):
            return back_after + WATCH
        case Pause(_, seconds) | Partition(_, seconds):
            return seconds + (SILENCE if isinstance(action, Partition) else 0.0)
        case WhileDown(then):
            return FAILING + _of_action(then)
        case Kill() | Terminate():
            return FAILING
        case _:
            return 2 * REWRITE_INTERVAL  # three edits of one field are a fight, too
