"""Count how often each kind of fault was injected into each step of the program."""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.faults import PAIRS
from tests.simulation.steps import OF_KUBERNETES, OF_VAULT, Step

Pair = tuple[str, Step]


def missing(met: Counter[Pair]) -> list[Pair]:
    """Return the pairs that were never injected."""
    return [pair for pair in PAIRS if not met[pair]]


def report(met: Counter[Pair]) -> Iterator[str]:
    """Yield a table: a line for each kind of fault, a column for each step."""
    steps = OF_KUBERNETES + OF_VAULT
    yield " " * 18 + "".join(f"{step:>9}" for step in steps)
    kinds = dict.fromkeys(kind for kind, _ in PAIRS)
    possible = set(PAIRS)
    for kind in kinds:
        cells = (f"{met[kind, step]:>9}" if (kind, step) in possible else " " * 9 for step in steps)
        yield f"{kind:<18}" + "".join(cells)
    absent = missing(met)
    yield f"{len(PAIRS) - len(absent)} of {len(PAIRS)} pairs covered" + (
        f"; never: {', '.join(f'{kind}/{step}' for kind, step in absent)}" if absent else ""
    )
