"""Print findings as JSON: an object with a list, for programs."""

from collections.abc import Sequence

import msgspec

from secrets_manager.doctor.finding import Finding


class _Checks(msgspec.Struct, frozen=True):
    checks: Sequence[Finding]


def encoded(findings: Sequence[Finding]) -> str:
    """Return the JSON. Every field is there, also an empty one."""
    return f"{msgspec.json.format(msgspec.json.encode(_Checks(findings)), indent=2).decode()}\n"
