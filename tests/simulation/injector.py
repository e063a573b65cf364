"""Choose the requests that a fault is injected into: each fault window of a plan has a random generator of its own.

So shrinking a plan leaves the choices of the remaining windows as they were.
"""

from random import Random
from typing import NamedTuple

from tests.simulation.faults import KINDS, Effect
from tests.simulation.plan import FaultWindow, Plan
from tests.simulation.steps import OF_KUBERNETES, Call


class Injected(NamedTuple):
    """The effect on a request, the name of the fault (empty for none), and the end of its window."""

    effect: Effect
    kind: str = ""
    until: float = 0.0


class _Active(NamedTuple):
    window: FaultWindow
    random: Random


class FaultInjector:
    """Of one run."""

    def __init__(self, plan: Plan) -> None:
        windows = [event for event in plan.events if isinstance(event, FaultWindow)]
        self._active = [_Active(window, Random(f"{plan.seed} {window}")) for window in windows]
        self._no_fault = {
            True: Injected(_latency(plan.settings.latency_to_kubernetes)),
            False: Injected(_latency(plan.settings.latency_to_vault)),
        }

    def effect(self, call: Call, replica: int, now: float) -> Injected:
        no_fault = self._no_fault[call.step in OF_KUBERNETES]
        for window, random in self._active:
            if (
                window.at <= now < window.at + window.seconds
                and call.step in window.steps
                and window.replica in (None, replica)
                and random.random() < window.rate
            ):
                effect = KINDS[window.kind].draw_effect(random)
                plain = no_fault.effect
                slowed = effect._replace(there=effect.there + plain.there, back=effect.back + plain.back)
                return Injected(slowed, window.kind, window.at + window.seconds)
        return no_fault


def _latency(seconds: float) -> Effect:
    return Effect(there=seconds / 2, back=seconds / 2)
