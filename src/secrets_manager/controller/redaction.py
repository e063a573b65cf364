"""Withhold messages of the API server that may contain a value of the Secret.

A webhook may quote the object that it received in any form: plain, base64, escaped, or nested. So the message is
decoded in all these ways, and withheld as a whole if any decoding contains a value. To cut out the value only would
reveal it: what is missing in `/api/v<redacted>/`?

    a value of MIN_SUBSTRING bytes  matches anywhere, and so do its first or last MIN_FRAGMENT bytes
    a shorter value                 matches if it is delimited: in quotes, after `=` or `:`, or as a whole base64 run;
                                    the `1` in `/api/v1/` does not match
    JSON objects, Go's maps         always match: on a deletion the values are unknown

A part of a value, or a hash of it, can't be recognized.
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
MIN_SUBSTRING, MIN_FRAGMENT = 4, 16
MAX_NESTING = 3
"""Nested encodings: base64 in JSON in JSON."""

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
_DELIMITED = (
    (re.compile(rb"""(?<=["'`])"""), re.compile(rb"""["'`]""")),
    (re.compile(rb"(?<=[=:])\s*"), re.compile(rb"\.?(?:[\s,;)}\]]|$)")),
    (re.compile(rb"(?<![^\0])"), re.compile(rb"\0|$")),
)
"""What is before a short value that is delimited, and what is after it. White space before it may be a part of it."""


def redact(error: E, values: Iterable[bytes] | None) -> E:
    """Return the error, without the server's message if that may contain one of the values."""
    message = error.server_message if isinstance(error, ApiError) else str(error)
    if not may_contain_value(message, values):
        return error
    if not isinstance(error, ApiError):
        return type(error)("the response is withheld: it may contain a value")
    reason = error.reason if error.reason in REASONS else ""
    return type(error)(f"{error.summary} ({WITHHELD})", code=error.code, reason=reason, retry_after=error.retry_after)


def may_contain_value(message: str, values: Iterable[bytes] | None) -> bool:
    """Whether the message may contain one of the values, in any encoding, or a whole object.

    `values` are None where any text may be one: then any message may.
    """
    if values is None:
        return bool(message)
    decodings = list(_decodings(message.removesuffix(_CUT).encode()))
    if any(_OBJECT.search(decoding) for decoding in decodings):
        return True
    needles = {needle for value in values for needle in _needles(value)}
    fragments = {part for needle in needles for part in (needle[:MIN_FRAGMENT], needle[-MIN_FRAGMENT:])}
    lengths = set(map(len, fragments))
    if not fragments.isdisjoint(part for text in decodings for part in _parts(text, lengths)):
        return True
    return message.endswith(_CUT) and _are_cut(needles, decodings)


def _needles(value: bytes) -> Iterator[bytes]:
    """Yield the value as it may be printed: stripped or not, with invalid UTF-8 replaced or not."""
    for each in (value, value.decode(errors="replace").encode()):
        yield from (text for text in (each, each.strip()) if text)


def _parts(text: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    """Yield the parts of these lengths; those that are shorter than MIN_SUBSTRING where they are delimited.

    A message is short and values may be thousands: so its parts are looked up among them, not each value in it.
    """
    yield from _delimited(text)
    for length in lengths:
        if length >= MIN_SUBSTRING:
            yield from (text[start : start + length] for start in range(len(text) - length + 1))


def _are_cut(needles: Iterable[bytes], texts: Iterable[bytes]) -> bool:
    """Whether a text ends within a value."""
    ends = {text[-length:] for text in texts for length in range(MIN_SUBSTRING, MIN_FRAGMENT)}
    return any(
        needle[:length] in ends for needle in needles for length in range(MIN_SUBSTRING, min(MIN_FRAGMENT, len(needle)))
    )


def _delimited(text: bytes) -> Iterator[bytes]:
    """Yield all delimited tokens that may be a short value, overlapping ones too."""
    for before, after in _DELIMITED:
        for match in before.finditer(text):
            for start in range(match.start(), match.end() + 1):
                for end in range(start + 1, start + MIN_SUBSTRING):
                    if after.match(text, end):
                        yield text[start:end]


def _decodings(message: bytes) -> set[bytes]:
    """Return the message with all its decodings, nested ones too."""
    known = latest = {message}
    for _ in range(MAX_NESTING):
        latest = {result for decoding in latest for decode in _DECODERS for result in decode(decoding)} - known
        known = known | latest
    return known


def _from_base64(text: bytes) -> Iterator[bytes]:
    """Yield the decoded runs of both alphabets, from each of four alignments, separated by NUL."""
    runs = [run.translate(bytes.maketrans(b"-_", b"+/")) for run in _BASE64.findall(text)]
    for first in range(4):
        yield b"\0".join(_decoded(run[first:]) for run in runs)


def _decoded(run: bytes) -> bytes:
    whole = run if len(run) % 4 != 1 else run[:-1]
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))


def _from_escaped(text: bytes) -> Iterator[bytes]:
    r"""Yield the text unescaped as in Go, JSON and others. `\x` means a byte to some, a character to others."""
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
    """Yield bytes as Go prints them: [104 117 110]."""
    for numbers in _BYTES.findall(text):
        yield bytes(int(number) & 0xFF for number in re.findall(rb"\d+", numbers))


_DECODERS: tuple[Callable[[bytes], Iterator[bytes]], ...] = (_from_base64, _from_escaped, _from_url, _from_numbers)
