"""Print explanations as JSON: an object with a list, for programs."""

from collections.abc import Sequence

import msgspec

from secrets_manager.explain.explanation import Explanation


class _Definitions(msgspec.Struct, frozen=True):
    definitions: Sequence[Explanation]


def encoded(explanations: Sequence[Explanation]) -> str:
    """Return the JSON. Every field is there, also an empty one."""
    return f"{msgspec.json.format(msgspec.json.encode(_Definitions(explanations)), indent=2).decode()}\n"
