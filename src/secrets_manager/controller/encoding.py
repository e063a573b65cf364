"""Decode values of the backend."""

import binascii
import re

from secrets_manager.controller import rules
from secrets_manager.errors import SecretsManagerError

_LINE_BREAKS = str.maketrans("", "", "\r\n")
_TO_STANDARD = str.maketrans("-_", "+/")
_BASE64URL = re.compile(r"[-_a-zA-Z0-9]*={0,2}")


class EncodingError(SecretsManagerError):
    """The value does not match the encoding, or the encoding is unknown."""


def decode(text: str, encoding: str) -> bytes:
    """Decode a value.

    base64 and base64url are strict about the alphabet; padding may be missing. Surrounding white space is ignored, and
    so are line breaks: the command `base64` wraps its output.

    Raises:
        EncodingError: Its text never contains the value.
    """
    match encoding:
        case "" | "text":
            return _utf8(text)
        case "base64":
            return _base64(_unwrapped(text), "base64")
        case "base64url":
            unwrapped = _unwrapped(text)
            return _base64(unwrapped.translate(_TO_STANDARD) if _BASE64URL.fullmatch(unwrapped) else "?", "base64url")
        case _:
            raise EncodingError(rules.ENCODING.fault(repr(encoding)))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncodingError("the value holds half a character (a lone surrogate), which no text encoding has") from None


def _unwrapped(text: str) -> str:
    return text.strip().translate(_LINE_BREAKS)


def _base64(text: str, encoding: str) -> bytes:
    padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:
        raise EncodingError(f"the value is not {encoding}: encode it, or remove encoding: {encoding}") from None
