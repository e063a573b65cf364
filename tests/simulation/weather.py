"""Which requests meet which fault: the bouts of a plan, each with chances of its own.

So one bout that is left out of a plan leaves the draws of the others as they were.
"""

from random import Random
from typing import NamedTuple

from tests.simulation.faults import KINDS, Treatment
from tests.simulation.plan import Bout, Plan
from tests.simulation.steps import OF_KUBERNETES, Ask


class Met(NamedTuple):
    """A request's treatment, the name of its fault (empty for none), and when that bout ends."""

    treatment: Treatment
    kind: str = ""
    until: float = 0.0


class _Front(NamedTuple):
    bout: Bout
    random: Random


class Weather:
    """Of one run."""

    def __init__(self, plan: Plan) -> None:
        bouts = [event for event in plan.events if isinstance(event, Bout)]
        self._fronts = [_Front(bout, Random(f"{plan.seed} {bout}")) for bout in bouts]
        self._calm = {
            True: Met(_on_the_road(plan.settings.road_to_kubernetes)),
            False: Met(_on_the_road(plan.settings.road_to_vault)),
        }

    def treatment(self, ask: Ask, replica: int, now: float) -> Met:
        calm = self._calm[ask.step in OF_KUBERNETES]
        for bout, random in self._fronts:
            if (
                bout.at <= now < bout.at + bout.seconds
                and ask.step in bout.steps
                and bout.replica in (None, replica)
                and random.random() < bout.rate
            ):
                treatment = KINDS[bout.kind].treat(random)
                road = calm.treatment
                slowed = treatment._replace(there=treatment.there + road.there, back=treatment.back + road.back)
                return Met(slowed, bout.kind, bout.at + bout.seconds)
        return calm


def _on_the_road(seconds: float) -> Treatment:
    return Treatment(there=seconds / 2, back=seconds / 2)
