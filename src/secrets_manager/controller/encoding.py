"""Decode values of the backend."""

import binascii

from secrets_manager.controller import rules
from secrets_manager.errors import SecretsManagerError

_LINE_BREAKS = str.maketrans("", "", "\r\n")


class EncodingError(SecretsManagerError):
    """The value does not match the encoding, or the encoding is unknown."""


def decode(text: str, encoding: str) -> bytes:
    """Decode a value.

    base64 is strict about alphabet and padding. Surrounding white space is ignored, and so are line breaks: the command
    `base64` wraps its output.

    Raises:
        EncodingError: Its text never contains the value.
    """
    match encoding:
        case "" | "text":
            return _utf8(text)
        case "base64":
            return _base64(text)
        case _:
            raise EncodingError(rules.ENCODING.fault(repr(encoding)))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncodingError("the value holds half a character (a lone surrogate), which no text encoding has") from None


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.strip().translate(_LINE_BREAKS), strict_mode=True)
    except ValueError:
        raise EncodingError("the value is not base64: encode it, or remove encoding: base64") from None
