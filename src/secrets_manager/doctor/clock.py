"""Compare this machine's clock with a server's, by the header Date of a response."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from secrets_manager.doctor.finding import Finding, failure, ok, skipped, warning

Clock = Callable[[], datetime]
"""Returns the present time of this machine."""

DAY = timedelta(days=1)
TOLERANCE = timedelta(seconds=5)
"""The header has whole seconds, and the response was on its way."""
MAX_SKEW = timedelta(seconds=60)
"""The leeway of servers for the times in a ServiceAccount's token."""
FIX = "synchronize the clocks of both machines (NTP): tokens and certificates are judged by them"


def skew_of(date: str, now: datetime) -> timedelta | None:
    """Return by how much the server's clock is ahead; None if the header is not a date, or the last one there is.

    The server's time can be computed from it for another day.
    """
    try:
        found = parsedate_to_datetime(date)
        tomorrow = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC) + DAY
    except (ValueError, OverflowError):
        return None
    return tomorrow - DAY - now


def judge(check: str, server: str, skew: timedelta | None) -> Finding:
    """Return the finding about the clock of a server."""
    if skew is None:
        return skipped(check, f"{server} does not say its time")
    if abs(skew) <= TOLERANCE:
        return ok(check, f"{server} has the same time")
    direction = "ahead of" if skew > timedelta() else "behind"
    message = f"the clock of {server} is {abs(skew).total_seconds():.0f} s {direction} that of this machine"
    judged = failure if abs(skew) > MAX_SKEW else warning
    return judged(check, message, fix=FIX)
