"""What is wrong with a definition, in the words of its condition."""

from typing import NamedTuple

from secrets_manager.backends.base import (
    BackendError,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    Unavailable,
)
from secrets_manager.controller.definition import Reason

_REASONS: dict[type[BackendError], Reason] = {
    Unavailable: Reason.BACKEND_UNAVAILABLE,
    SourceNotFound: Reason.SOURCE_NOT_FOUND,
    SourceForbidden: Reason.SOURCE_FORBIDDEN,
    SourceMalformed: Reason.SOURCE_INVALID,
}


class Problem(NamedTuple):
    """Why there is no sync: the reason for machines, and the message that names what to do."""

    reason: Reason
    message: str


def problem_of(error: BackendError, *, key: str) -> Problem:
    """The failed read of the source of `key`."""
    reason = next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return Problem(reason, f"key {key}: {error}")


def summary(problems: list[Problem]) -> Problem:
    """The first problem, and how many more there are: a condition has one reason."""
    first, *others = problems
    if not others:
        return first
    return Problem(first.reason, f"{first.message} (and {len(others)} more of its keys)")
