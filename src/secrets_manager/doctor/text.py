"""Print findings as a table: state, check and message, and the fix below it."""

from collections import Counter
from collections.abc import Iterable, Iterator

from secrets_manager.doctor.finding import Finding, State
from secrets_manager.logs import one_line

HEAD = ("STATE", "CHECK", "MESSAGE")


def table(findings: Iterable[Finding]) -> str:
    """Return the table, and below it how many findings there are of each state."""
    found = list(findings)
    state_width = max(len(each) for each in (HEAD[0], *State))
    check_width = max(len(each) for each in (HEAD[1], *(finding.check for finding in found)))
    rows = [HEAD, *(row for finding in found for row in _rows(finding))]
    lines = [f"{state:{state_width}}  {check:{check_width}}  {message}".rstrip() for state, check, message in rows]
    return "".join(f"{one_line(line)}\n" for line in [*lines, "", _summary(found)])


def _rows(finding: Finding) -> Iterator[tuple[str, str, str]]:
    yield finding.state, finding.check, finding.message
    if finding.fix:
        yield "", "", f"Fix: {finding.fix}"


def _summary(findings: Iterable[Finding]) -> str:
    counts = Counter(finding.state for finding in findings)
    return ", ".join(f"{counts[state]} {state}" for state in State)
