"""Metrics of all definitions, computed at each scrape: how many are Ready, which are not, and how fresh they are."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily

from secrets_manager.metrics import buckets

Key = tuple[str, str]
"""Namespace and name of a definition."""

PENDING = "Pending"
"""The state of definitions that this process has not reconciled yet. Their reason is empty."""
READY = "Ready"
MAX_NOT_READY = 200
"""Definitions with a series of their own. In an outage all may be not ready, and one says as much as ten thousand."""


class Definitions(NamedTuple):
    """Where the collector looks at each scrape.

    `states` has the state of each reason. `reasons` returns the reason of each definition that was reconciled, and
    `ages` the seconds since each definition was verified, by reason.
    """

    states: Mapping[str, str]
    reasons: Callable[[], Iterable[tuple[Key, str]]]
    ages: Callable[[], Mapping[str, Sequence[float]]]


class DefinitionMetrics:
    """A collector."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._definitions = Definitions({}, tuple, dict)
        registry.register(self)

    def follow(self, definitions: Definitions) -> None:
        """Look there at each scrape."""
        self._definitions = definitions

    def describe(
        self,
    ) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily]:
        """Return the metric families without samples."""
        return (
            GaugeMetricFamily(
                "secrets_manager_controller_definitions",
                "Number of SecretDefinitions by the reason of their Ready condition, as of the last reconcile, and by "
                "what it means: Ready, Reconciling, Stalled, or Pending before the first reconcile",
                labels=("state", "reason"),
            ),
            GaugeMetricFamily(
                "secrets_manager_controller_definition_not_ready",
                "1 for each SecretDefinition that is not ready, with the reason of its Ready condition. At most "
                f"{MAX_NOT_READY}, those with the rarest reasons",
                labels=("namespace", "name", "reason"),
            ),
            GaugeHistogramMetricFamily(
                "secrets_manager_controller_verification_age_seconds",
                "Seconds since each SecretDefinition was verified: its Secret was written, or was equal to what a read "
                "or a listing showed. By the reason of the Ready condition",
                labels=("reason",),
            ),
            GaugeMetricFamily(
                "secrets_manager_controller_max_verification_age_seconds",
                "The longest time since a SecretDefinition was verified, by the reason of the Ready condition",
                labels=("reason",),
            ),
        )

    def collect(self) -> Iterator[Metric]:
        """Return the metric families."""
        return self._families(dict(self._definitions.reasons()), self._definitions.ages())

    def _families(self, reasons: Mapping[Key, str], by_reason: Mapping[str, Sequence[float]]) -> Iterator[Metric]:
        families = counts, not_ready, ages, oldest = self.describe()
        states = self._definitions.states
        found = Counter(reasons.values())
        for reason, state in states.items():
            counts.add_metric((state, reason), found[reason])
        counts.add_metric((PENDING, ""), len(by_reason.get("", ())))
        failing = [(*key, reason) for key, reason in reasons.items() if states[reason] != READY]
        if len(failing) > MAX_NOT_READY:
            failing.sort(key=lambda each: found[each[-1]])  # what few have is not hidden by what all have
        for series in failing[:MAX_NOT_READY]:
            not_ready.add_metric(series, 1)
        for reason, unsorted in by_reason.items():
            seconds = sorted(unsorted)
            within = [(str(bound), bisect_right(seconds, bound)) for bound in buckets.AGES]
            ages.add_metric((reason,), [*within, ("+Inf", len(seconds))], gsum_value=sum(seconds))
            oldest.add_metric((reason,), seconds[-1])
        yield from families
