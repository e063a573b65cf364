"""Which words of the API server may be told: none that may quote a value of the Secret that they are about.

A webhook may answer with the object that it was shown, in any form: as it is, as base64, escaped, one in the other. So
the words are read in all these ways, and where one of the readings holds a value, all of them are withheld. To cut
the value out would tell it: what is missing in `/api/v<redacted>/`?

    a value of LONG bytes or more    counts wherever it occurs; of one with more than TELLING, its first or last ones
    a shorter one                    counts where it is set off as a value: in quotes, after `=` or `:`, or as the
                                     whole of a base64 word; a `1` within `/api/v1/` says nothing of a value
    JSON objects, Go's maps          count whatever they hold: on a deletion the values are not known here

What a webhook makes of a value beyond that (a part of it, a hash) can't be recognized.
"""

import base64
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from secrets_manager.kube.errors import ApiError, KubeError
from secrets_manager.kube.status import REASONS

WITHHELD = "the server's message is withheld: it may quote a value"
LONG, TELLING = 4, 16
DEPTH = 3
"""Forms within one another: base64 in JSON in JSON."""

E = TypeVar("E", bound=KubeError)

_OBJECT = re.compile(rb"""\{\s*["'][^"']*["']\s*:|map\[|\[\](?:uint8|byte)\{|\bdata:\s*\n""")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{2,}")
_BYTES = re.compile(rb"\[((?:\d{1,3}[ ,]+)*\d{1,3})(?:\]|\s*$)")
_ESCAPED = re.compile(
    rb"""\\(?:
        (?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})
      | (?P<point>u[0-9a-fA-F]{4} | U[0-9a-fA-F]{8})
      | x(?P<byte>[0-9a-fA-F]{2})
      | (?P<octal>[0-7]{3})
      | (?P<char>.)
    )""",
    re.DOTALL | re.VERBOSE,
)
_CONTROLS = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_CUT = "…"


def redacted(error: E, values: Iterable[bytes]) -> E:
    """The error, without the server's words where they may quote one of these values."""
    words = error.server_message if isinstance(error, ApiError) else str(error)
    if not may_quote(words, values):
        return error
    if not isinstance(error, ApiError):
        return type(error)("no answer that can be shown: it may quote a value")
    reason = error.reason if error.reason in REASONS else ""
    return type(error)(f"{error.summary} ({WITHHELD})", code=error.code, reason=reason, retry_after=error.retry_after)


def may_quote(words: str, values: Iterable[bytes]) -> bool:
    """Whether one of these values, in whatever form, or a whole object may be among the words."""
    readings = list(_readings(words.removesuffix(_CUT).encode()))
    if any(_OBJECT.search(reading) for reading in readings):
        return True
    cut = words.endswith(_CUT)
    needles = {needle for value in values for needle in _needles(value)}
    return any(_holds(reading, needle, cut=cut) for needle in needles for reading in readings)


def _needles(value: bytes) -> Iterator[bytes]:
    """The value as it may be printed: with or without the space around it, and with what is no UTF-8 replaced."""
    for each in (value, value.decode(errors="replace").encode()):
        yield from (text for text in (each, each.strip()) if text)


def _holds(reading: bytes, needle: bytes, *, cut: bool) -> bool:
    if len(needle) < LONG:
        return _set_off(needle).search(reading) is not None
    if needle[:TELLING] in reading or needle[-TELLING:] in reading:
        return True
    return cut and any(reading.endswith(needle[:length]) for length in range(LONG, min(TELLING, len(needle))))


def _set_off(needle: bytes) -> re.Pattern[bytes]:
    return re.compile(
        rb"""(?x) ["'`] %(text)s ["'`]  |  [=:] \s* %(text)s (?= \.? (?:[\s,;)}\]]|$))  |  (?:^|\0) %(text)s (?:\0|$)"""
        % {b"text": re.escape(needle)}
    )


def _readings(words: bytes) -> set[bytes]:
    """The words, and what they say if they are taken for base64, for escaped, and so on, also one after the other."""
    known = latest = {words}
    for _ in range(DEPTH):
        latest = {result for reading in latest for decode in _DECODERS for result in decode(reading)} - known
        known = known | latest
    return known


def _from_base64(text: bytes) -> Iterator[bytes]:
    """All words of it in either alphabet, each from any of its first four letters on; a NUL between two."""
    runs = [run.translate(bytes.maketrans(b"-_", b"+/")) for run in _BASE64.findall(text)]
    for first in range(4):
        yield b"\0".join(_decoded(run[first:]) for run in runs)


def _decoded(run: bytes) -> bytes:
    whole = run if len(run) % 4 != 1 else run[:-1]
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))


def _from_escaped(text: bytes) -> Iterator[bytes]:
    """As Go, JSON and most languages quote a string. Some mean a byte by two hexadecimal digits, others a character."""
    if b"\\" in text:
        yield _ESCAPED.sub(_unescaped, text)
        yield _ESCAPED.sub(lambda match: _character(match["byte"]) if match["byte"] else _unescaped(match), text)


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match["pair"]:
        return bytes.fromhex(match["pair"].translate(None, b"\\u").decode()).decode("utf-16-be").encode()
    if match["point"]:
        return _character(match["point"].lstrip(b"uU"))
    if match["byte"]:
        return bytes.fromhex(match["byte"].decode())
    if match["octal"]:
        return bytes([int(match["octal"], 8) & 0xFF])
    return bytes([_CONTROLS.get(match["char"][0], match["char"][0])])


def _character(digits: bytes) -> bytes:
    number = int(digits, 16)
    return chr(number).encode(errors="surrogatepass") if number <= sys.maxunicode else b"?"


def _from_url(text: bytes) -> Iterator[bytes]:
    if b"%" in text or b"+" in text:
        yield unquote_to_bytes(text)
        yield unquote_to_bytes(text.replace(b"+", b" "))


def _from_numbers(text: bytes) -> Iterator[bytes]:
    """As Go prints bytes: [104 117 110]."""
    for numbers in _BYTES.findall(text):
        yield bytes(int(number) & 0xFF for number in re.findall(rb"\d+", numbers))


_DECODERS: tuple[Callable[[bytes], Iterator[bytes]], ...] = (_from_base64, _from_escaped, _from_url, _from_numbers)
