"""What the API server says where a quota refuses a new object. It stands in the message alone.

    secrets "app" is forbidden: exceeded quota: small, requested: secrets=1, used: secrets=3, limited: secrets=3

From plugin/pkg/admission/resourcequota: it names the first quota that refuses, and the resources in which it does.
"""

import re
from fractions import Fraction

_AMOUNTS = r"[^\s,=]+=[^\s,=]+(?:,[^\s,=]+=[^\s,=]+)*"
_EXCEEDED = re.compile(
    rf"\S+ \S+ is forbidden: exceeded quota: \S+, requested: {_AMOUNTS}, used: ({_AMOUNTS}), limited: ({_AMOUNTS})"
)
_QUANTITY = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?")
"""As a quantity of Kubernetes is shown; one below zero is none that a quota has."""
_FACTORS = {name: Fraction(1000) ** power for power, name in enumerate(("n", "u", "m", "", *"kMGTPE"), start=-3)} | {
    f"{name}i": Fraction(1024) ** power for power, name in enumerate("KMGTPE", start=1)
}


def is_full(message: str) -> bool:
    """Whether this is the refusal of a quota that has no room left, but is not exceeded by what there is."""
    refusal = _EXCEEDED.fullmatch(message)
    if refusal is None:
        return False
    used, limited = map(_amounts, refusal.groups())
    return used.keys() == limited.keys() and all(
        amount is not None and (limit := limited[name]) is not None and amount <= limit for name, amount in used.items()
    )


def _amounts(text: str) -> dict[str, Fraction | None]:
    """Return the amount of each resource; None for one that is no quantity."""
    return {name: _quantity(amount) for name, _, amount in (each.partition("=") for each in text.split(","))}


def _quantity(text: str) -> Fraction | None:
    parts = _QUANTITY.fullmatch(text)
    if parts is None:
        return None
    number, suffix, exponent = parts.groups()
    return Fraction(number) * _FACTORS[suffix or ""] * Fraction(10) ** int(exponent or 0)
