"""Values that are made to take long."""

import base64
from collections.abc import Iterator

from secrets_manager.templates.der import CONTEXT_0, INTEGER, OCTETS, OID, SEQUENCE, element, oid
from tests.templates.wrapping import certificate_bag, encrypted_part, pkcs12_of

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


def slow_certificates(count: int, secret: bytes, kind: str = "3") -> str:
    """Return the base64 of a PKCS#12 of so many encrypted certificates, on a curve for which OpenSSL takes long."""
    curve = element(OID, oid("1.2.840.10045.2.1")), element(OID, oid("1.2.840.10045.3.0.19"))
    key = element(SEQUENCE, element(SEQUENCE, *curve), element(3, b"\0\2" + bytes(45) + b"\7"))
    signed_by, dates = (
        element(SEQUENCE, element(OID, b"\x2a")),
        element(SEQUENCE, *[element(0x17, b"010101000000Z")] * 2),
    )
    bags = b""
    for number in range(count):
        name = element(SEQUENCE)
        parts = element(INTEGER, (1000 + number).to_bytes(2)), signed_by, name, dates, name, key
        bags += certificate_bag(element(SEQUENCE, element(SEQUENCE, *parts), signed_by, element(3, b"\0")))
    return pkcs12_of(encrypted_part(element(SEQUENCE, bags), secret, kind))
