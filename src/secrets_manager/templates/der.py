"""Read and write DER, as far as the wrapping of keys and certificates needs it."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from secrets_manager.templates.errors import Refused

INTEGER, OCTETS, OID, SEQUENCE = 0x02, 0x04, 0x06, 0x30
CONTEXT_0 = 0xA0
MAX_ELEMENTS = 32
"""In one element. A certificate has some ten extensions."""
_LONG, _MAX_LENGTH_BYTES = 0x80, 3
_MALFORMED = "the value is not in DER, or damaged"


class Element(NamedTuple):
    """An element: its tag, its content, and all of it as it stands."""

    tag: int
    content: bytes
    whole: bytes

    def children(self) -> list["Element"]:
        """Raises: Refused."""
        return list(elements(self.content))

    def integer(self) -> int:
        """Raises: Refused."""
        if self.tag != INTEGER:
            raise Refused(_MALFORMED)
        return int.from_bytes(self.content, signed=True)


def only(data: bytes) -> Element:
    """Return the one element that the data is. Raises: Refused."""
    found, *others = elements(data)
    if others:
        raise Refused(_MALFORMED)
    return found


def take(parent: Element, *tags: int) -> list[Element]:
    """Return the first children, which have to have these tags; the others are not looked at. Raises: Refused."""
    found = list(islice(elements(parent.content), len(tags)))
    if [each.tag for each in found] != list(tags):
        raise Refused(_MALFORMED)
    return found


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements of a concatenation, of which there is at least one. Raises: Refused."""
    position = count = 0
    while position < len(data) or position == 0:
        count += 1
        if count > MAX_ELEMENTS:
            raise Refused(f"a part of it has more than {MAX_ELEMENTS} parts")
        start, end = _content(data, position)
        yield Element(data[position], data[start:end], data[position:end])
        position = end


def element(tag: int, *contents: bytes) -> bytes:
    """Return an element in DER."""
    content = b"".join(contents)
    length = len(content)
    if length < _LONG:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, _LONG | len(size)]) + size + content


def oid(dotted: str) -> bytes:
    """Return the content of an object identifier."""
    first, second, *others = map(int, dotted.split("."))
    return bytes([40 * first + second, *(each for arc in others for each in _base128(arc))])


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(_LONG | arc & 0x7F)
    return bytes(reversed(digits))


def _content(data: bytes, position: int) -> tuple[int, int]:
    """Return where the content of the element at a position starts and ends."""
    start = position + 2
    if len(data) < start:
        raise Refused(_MALFORMED)
    length = data[position + 1]
    if length >= _LONG:
        more = length & ~_LONG
        if not 0 < more <= _MAX_LENGTH_BYTES:
            raise Refused(_MALFORMED)
        length = int.from_bytes(data[start : start + more])
        start += more
    if len(data) < start + length:
        raise Refused(_MALFORMED)
    return start, start + length
