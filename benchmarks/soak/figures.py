"""What may not grow, and how much it may: the figures of a rest, and their bounds."""

import time
from typing import NamedTuple

from prometheus_client import Metric

from benchmarks.program import Measured, Usage
from benchmarks.soak.model import Model
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

SAMPLES = 3
"""Samples of the queue's depth: an item may just be worked on."""


class Bound(NamedTuple):
    """How large a figure may be at the last rest, by what it was at the first one."""

    factor: float
    more: float

    def of(self, first: float) -> float:
        return first * self.factor + self.more


BOUNDS = {
    "RSS, MB": Bound(1.1, 0),
    "open sockets": Bound(1, 8),
    "file descriptors": Bound(1, 8),
    "series of the process": Bound(1, 200),  # those of an operation come with its first outcome of a kind
    "series a live definition or path": Bound(0, 15),  # two for each kind of error that it has met
    "series of what is gone": Bound(0, 0),
    "items in the queue": Bound(0, 1),
    "reads/s": Bound(1.2, 0.5),
    "listings/s": Bound(1.2, 0.5),
    "other requests to OpenBao/s": Bound(1.2, 0.2),
    "Kubernetes requests/s": Bound(1.2, 0.2),
    "CPU at rest, cores": Bound(1.3, 0.01),
}


class Stand(NamedTuple):
    """What the figures are taken from."""

    program: Measured
    cluster: ControlPlane
    bao: OpenBao
    model: Model

    def usage(self) -> Usage:
        return Usage.of(self.program, self.cluster, self.bao)


def measured(stand: Stand, seconds: float) -> dict[str, float]:
    """All figures, of a rest that has begun a while ago. They are measured for so long."""
    others, before = _others(stand.program.metrics()), stand.usage()
    time.sleep(seconds)
    after = stand.usage()
    rates = after.rates_since(before)
    metrics = stand.program.metrics()
    descriptors = stand.program.descriptors
    general, living, gone = _series(metrics, stand.model)
    things = len(stand.model.definitions) + len(stand.model.paths_in_use())
    figures = {
        "RSS, MB": stand.program.resident,
        "open sockets": sum(1 for each in descriptors if each.startswith("socket:")),
        "file descriptors": len(descriptors),
        "series of the process": general,
        "series a live definition or path": living / things,
        "series of what is gone": gone,
        "items in the queue": min(_depth(stand.program.metrics()) for _ in range(SAMPLES)),
        "other requests to OpenBao/s": (_others(metrics) - others) / (after.at - before.at),
        **rates,
    }
    return {name: figures[name] for name in BOUNDS}


def _series(metrics: list[Metric], model: Model) -> tuple[int, int, int]:
    """How many there are: of the process, of live definitions and of paths in use, of others."""
    general = living = gone = 0
    in_use = model.paths_in_use()
    live = {(each.namespace, name) for each in model.definitions.values() for name in (each.name, each.secret)}
    for sample in (sample for family in metrics for sample in family.samples):
        labels = sample.labels
        if "path" in labels:
            lives = labels["path"] in in_use
        elif {"namespace", "name"} <= labels.keys():
            lives = (labels["namespace"], labels["name"]) in live
        else:
            general += 1
            continue
        living, gone = living + lives, gone + (not lives)
    return general, living, gone


def _depth(metrics: list[Metric]) -> float:
    return _sum(metrics, "workqueue_depth")


def _others(metrics: list[Metric]) -> float:
    """Logins, lookups of the token and the like, as the program itself counts them."""
    name = "secrets_manager_vault_request_duration_seconds_count"
    return sum(
        sample.value
        for family in metrics
        for sample in family.samples
        if sample.name == name and sample.labels["operation"] not in {"read", "list"}
    )


def _sum(metrics: list[Metric], name: str) -> float:
    return sum(sample.value for family in metrics for sample in family.samples if sample.name == name)
