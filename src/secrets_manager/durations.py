"""Durations as Go's time.ParseDuration reads them, since users know them from flags and from other kinds: `1m30s`."""

import re
from decimal import Decimal

from secrets_manager.errors import InvalidValue

_MAX_NANOSECONDS = 2**63 - 1
_MAX_LENGTH = 64
"""Characters: more than any that fits."""
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # the micro sign
    "μs": 10**3,  # the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({'|'.join(_NANOSECONDS)})"
_PARTS = re.compile(_PART)
_DURATION = re.compile(rf"([+-]?)(0|(?:{_PART})+)")


def duration(text: str) -> float:
    """Seconds. Raises: InvalidValue."""
    match = _DURATION.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise InvalidValue("is no duration: write numbers with their units, like 5s, 1m30s or 300ms")
    nanoseconds = sum(int(Decimal(number) * _NANOSECONDS[unit]) for number, unit in _PARTS.findall(match[2]))
    if nanoseconds > _MAX_NANOSECONDS:
        raise InvalidValue("is longer than any duration can be, which is 292 years")
    return (-nanoseconds if match[1] == "-" else nanoseconds) / 10**9
