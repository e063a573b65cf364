"""How long the program may take until all is right, once the faults of a plan have ended: all times in seconds.

It follows from the constants of the program: periods, backoffs, leases, and timeouts.
"""

from secrets_manager.controller.contention import SLOW
from tests.simulation.faults import KINDS
from tests.simulation.machines import CutOff, Killed, Paused, Stopped
from tests.simulation.people import CrdGoes, Fight, NamespaceGoes
from tests.simulation.plan import Act, Bout, Plan

FAILING = 60.0
"""The longest period of a source that can't be read."""
QUEUE = 60.0
"""The longest backoff of the queue."""
TIMEOUTS = 20.0
"""Two calls that are under way when all is well again, and are never answered."""
WATCH = 30.0
"""The longest backoff of a watch: it is what finds a CRD that comes back."""
SILENCE = 110.0
"""Until a watch is given up that a network has cut off."""
QUIET = 65.0
"""Longer than any backoff: if nothing is written for so long, nothing will be."""


def recovery(plan: Plan) -> float:
    """Until every Secret, status and metric is as it should be."""
    settings = plan.settings
    seconds = 2 * max(settings.period, 60.0) + FAILING + QUEUE + TIMEOUTS
    seconds += max((KINDS[bout.kind].recovery for bout in plan.events if isinstance(bout, Bout)), default=0.0)
    seconds += max((_of_action(act) for act in plan.events if isinstance(act, Act)), default=0.0)
    seconds += settings.restart + 10 * (settings.road_to_kubernetes + settings.road_to_vault)
    seconds += 2 * settings.collected_every
    return seconds + (2 * settings.lease.duration + settings.lease.retry_period if settings.lease.enabled else 0.0)


def _of_action(act: Act) -> float:
    match act.action:
        case Fight():
            return 2 * SLOW
        case NamespaceGoes(_, back_after) | CrdGoes(back_after):
            return back_after + WATCH
        case Paused(_, seconds):
            return seconds
        case CutOff(_, seconds):
            return seconds + SILENCE
        case Killed() | Stopped():
            return FAILING
        case _:
            return 2 * SLOW  # three edits of one field are a fight, too
