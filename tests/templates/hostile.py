"""Values that are made to take long."""

import base64
from collections.abc import Iterator

from secrets_manager.templates.der import CONTEXT_0, INTEGER, OCTETS, OID, SEQUENCE, element, oid

_DATA = element(OID, oid("1.2.840.113549.1.7.1"))


def quadratic_search() -> Iterator[tuple[str, str]]:
    """Yield texts, and what is sought in them: at each place nearly all of it is found, and it is nowhere."""
    for length, sought in ((2400, 1200), (2400, 300), (29_000, 99), (29_000, 1000), (100_000, 99), (2**19, 2**18)):
        yield "a" * length, "a" * (sought // 2) + "b" + "a" * (sought - sought // 2 - 1)


def bags(parts: int, each: int) -> str:
    """Return the base64 of a PKCS#12 of so many empty bags."""
    return nested_bags(parts, each, 0)


def nested_bags(parts: int, each: int, more: int) -> str:
    """Return the same, with so many empty elements in each bag."""
    empty = element(5)
    bag = element(SEQUENCE, element(OID), element(CONTEXT_0, empty), empty * more)
    part = element(SEQUENCE, _DATA, element(CONTEXT_0, element(OCTETS, element(SEQUENCE, bag * each))))
    whole = element(OCTETS, element(SEQUENCE, part * parts))
    data = element(SEQUENCE, element(INTEGER, b"\3"), element(SEQUENCE, _DATA, element(CONTEXT_0, whole)))
    return base64.b64encode(data).decode()
