"""Choose the requests that a fault is injected into: each fault window of a plan has a random generator of its own.

So shrinking a plan leaves the choices of the remaining windows as they were.
"""

from math import inf
from random import Random
from typing import NamedTuple

from tests.simulation.faults import KINDS, Effect
from tests.simulation.plan import FaultWindow, Plan
from tests.simulation.steps import OF_KUBERNETES, Call, Step


class Injected(NamedTuple):
    """The effect on a request, the name of the fault (empty for none), and the end of its window."""

    effect: Effect
    kind: str = ""
    until: float = 0.0


class _Active:
    """A fault window with its random generator, and the number of requests that it has yet."""

    def __init__(self, window: FaultWindow, seed: int) -> None:
        self.window = window
        self.random = Random(f"{seed} {window}")
        self.left = window.limit or inf


class FaultInjector:
    """Of one run."""

    def __init__(self, plan: Plan) -> None:
        windows = [event for event in plan.events if isinstance(event, FaultWindow)]
        active = [_Active(window, plan.seed) for window in windows]
        self._by_step = {step: [each for each in active if step in each.window.steps] for step in Step}
        settings = plan.settings
        self._no_fault = {
            step: Injected(
                _latency(settings.latency_to_kubernetes if step in OF_KUBERNETES else settings.latency_to_vault)
            )
            for step in Step
        }

    def effect(self, call: Call, replica: int, now: float) -> Injected:
        no_fault = self._no_fault[call.step]
        for active in self._by_step[call.step]:
            window, random = active.window, active.random
            if (
                window.at <= now < window.at + window.seconds
                and window.replica in (None, replica)
                and window.server in (None, call.server)
                and active.left > 0
                and random.random() < window.rate
            ):
                active.left -= 1
                effect = KINDS[window.kind].draw_effect(random)
                plain = no_fault.effect
                slowed = effect._replace(there=effect.there + plain.there, back=effect.back + plain.back)
                return Injected(slowed, window.kind, window.at + window.seconds)
        return no_fault


def _latency(seconds: float) -> Effect:
    return Effect(there=seconds / 2, back=seconds / 2)
