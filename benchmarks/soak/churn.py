"""The course of a phase of churn: what users do, with one fault after another."""

import random
from collections.abc import Iterator

from benchmarks.soak.faults import Faults
from benchmarks.soak.users import Reach, Users

GAP, LASTS = (2.0, 8.0), (3.0, 8.0)
"""Seconds between two faults, and of one, each between these two."""


def churn(seconds: float, *, rate: float, users: Users, faults: Faults, chance: random.Random) -> Iterator[None]:
    """Do one thing for each step of the iterator, of which `rate` are meant to be made a second."""

    def steps(seconds: float) -> int:
        return round(seconds * rate)

    def act(steps: int, reach: Reach) -> Iterator[None]:
        for _ in range(steps):
            users.act(reach)
            yield

    left = steps(seconds)
    while left > 0:
        without = min(left, steps(chance.uniform(*GAP)))
        yield from act(without, Reach())
        left -= without
        lasts = min(left, steps(chance.uniform(*LASTS)))
        if lasts > 0:
            with faults.next() as reach:
                yield from act(lasts, reach)
        left -= lasts
