"""What a check has found."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

MAX_MESSAGE = 1000
"""Characters of a message."""
MAX_NAME = 100
"""Characters of what a server says of itself, such as its version."""


class State(StrEnum):
    """How what was checked is."""

    OK = "ok"
    WARNING = "warning"
    """It works, or will not work later."""
    FAILURE = "failure"
    SKIPPED = "skipped"
    """It could not be checked, or need not be."""


class Finding(msgspec.Struct, frozen=True):
    """One line about what was checked. `fix` is the next step; empty where there is none to take."""

    check: str
    state: State
    message: str
    fix: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, State.OK, message)


def warning(check: str, message: str, *, fix: str) -> Finding:
    return Finding(check, State.WARNING, message, fix)


def failure(check: str, message: str, *, fix: str) -> Finding:
    return Finding(check, State.FAILURE, message, fix)


def skipped(check: str, message: str) -> Finding:
    return Finding(check, State.SKIPPED, message, "")


def has_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.state is State.FAILURE for finding in findings)
