"""Tells the score, and which survivors are neither killed nor argued."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import KILLED, Module

ARGUED = Path(__file__).with_name("argued.txt")
ENOUGH = 95.0
"""Per cent of all mutants that are killed, at least."""


def argued() -> dict[str, str]:
    """The survivors that are argued, each with its argument: the last comment above it."""
    found: dict[str, str] = {}
    argument = ""
    for line in filter(None, ARGUED.read_text().splitlines()):
        if line.startswith("# "):
            argument = line[2:]
        else:
            found[line] = argument
    return found


def report(modules: Sequence[Module]) -> int:
    """Print the table of modules and what is to be done. Returns 1 if there is any, or the score is too low."""
    known = argued()
    met: set[str] = set()
    open_: list[tuple[str, str]] = []
    total: Counter[str] = Counter()
    print(f"{'module':32} {'mutants':>8} {'killed':>8} {'argued':>8} {'alive':>8} {'not run':>8} {'score':>8}")
    for module in modules:
        counts: Counter[str] = Counter()
        for mutant in module.data.exit_code_by_key:
            status = module.status(mutant)
            if status in KILLED:
                counts["killed"] += 1
            elif status == "not checked":
                counts["not run"] += 1
            elif (change := module.change(mutant)) in known:
                counts["argued"] += 1
                met.add(change)
            else:
                counts["alive"] += 1
                open_.append((mutant, change))
        _print_row(module.name, counts)
        total += counts
    _print_row("all", total)
    names = {module.name for module in modules}
    stale = [change for change in known if change not in met and _module_of(change) in names]
    for mutant, change in open_:
        print(f"\nalive: {mutant}\n{change}")
    for change in stale if not total["not run"] else ():
        print(f"\nargued, but it is killed or is no mutant any more:\n{change}")
    return int(bool(open_ or stale or total["not run"]) or _score(total) < ENOUGH)


def _module_of(change: str) -> str:
    """`controller.reading` of `controller.reading.step: ...`; the function has no dot but that of a class."""
    parts = change.partition(":")[0].split(".")
    return ".".join(part for part in parts[:-1] if part.islower())


def _score(counts: Counter[str]) -> float:
    judged = counts.total() - counts["not run"]
    return 100 * counts["killed"] / judged if judged else 100.0


def _print_row(name: str, counts: Counter[str]) -> None:
    figures = " ".join(f"{counts[key]:8}" for key in ("killed", "argued", "alive", "not run"))
    score = f"{_score(counts):7.1f}%" if counts.total() > counts["not run"] else f"{'-':>8}"
    print(f"{name:32} {counts.total():8} {figures} {score}")
