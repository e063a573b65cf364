"""Problems of a definition, as its condition reports them."""

from typing import NamedTuple

from secrets_manager.backends import (
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
    """Why a definition is not in sync. The message names the next step."""

    reason: Reason
    message: str


def read_problem(error: BackendError, *, where: str) -> Problem:
    """Return the problem of a failed read. `where` is the place in the spec that needs it."""
    reason = next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return Problem(reason, f"{where}: {error}")


def summarize(problems: list[Problem]) -> Problem:
    """Return the first problem, with the number of others: a condition has one reason."""
    first, *others = problems
    if not others:
        return first
    return Problem(first.reason, f"{first.message} (and {len(others)} more of its keys)")
