"""Filters that write a value in the notation of something else, or take it from there."""

import binascii
import hashlib
import re
from urllib.parse import quote, unquote_to_bytes

import msgspec

from secrets_manager.templates.errors import Refused
from secrets_manager.templates.values import utf8

_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_UNSAFE_IN_YAML = {chr(code): f"\\u{code:04x}" for code in (*range(0x80, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)}


def base64_encode(text: str) -> str:
    return binascii.b2a_base64(utf8(text), newline=False).decode()


def base64_decode(text: str) -> str:
    """Decode; strict, but for white space around and line breaks."""
    return _text(from_base64(text), "what it decodes to is no text in UTF-8: take the key with encoding: base64")


def from_base64(text: str) -> bytes:
    return _from_base64(text.strip().replace("\n", "").replace("\r", ""), "the value")


def from_pem(body: str) -> bytes:
    """Decode what is between the marks of a PEM block. As for OpenSSL and Go, its lines may end in white space."""
    return _from_base64("".join(body.split()), "a PEM block")


def _from_base64(text: str, what: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise Refused(f"{what} is not base64") from None


def url_encode(text: str) -> str:
    """Percent-encode all that has a meaning anywhere in a URL. A space is %20, which every part of a URL takes."""
    return quote(utf8(text), safe="")


def url_decode(text: str) -> str:
    if _PERCENT.search(text):
        raise Refused("the value has a % that no two hex digits follow: it is not URL-encoded")
    return _text(unquote_to_bytes(utf8(text)), "what it decodes to is no text in UTF-8")


def sha256(text: str) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(utf8(text)).hexdigest()


def json(text: str) -> str:
    """Return a JSON string, with its quotes. U+007F is escaped, as TOML does not take it otherwise."""
    utf8(text)
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def yaml(text: str) -> str:
    """Return a YAML scalar in double quotes, on one line: JSON's, with escapes for what YAML would not print."""
    quoted = json(text)
    for character, escape in _UNSAFE_IN_YAML.items():
        quoted = quoted.replace(character, escape)
    return quoted


def json_field(text: str, name: str | int) -> str:
    """Return a field of a JSON object, or an item of an array: a string as its text, others as they are written."""
    try:
        found = _raw_field(text, name)
        if found is not None and found != b"null":
            return msgspec.json.decode(found, type=str) if found.startswith(b'"') else found.decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        what = "array" if isinstance(name, int) else "object"
        raise Refused(f"the value is not a JSON {what}, or holds half a character (a lone surrogate)") from None
    what = "item" if isinstance(name, int) else "field"  # its name may be a value
    raise Refused(f"the value has no such {what}, or it is null: write it, or correct the name")


def _raw_field(text: str, name: str | int) -> bytes | None:
    if isinstance(name, int):
        items = msgspec.json.decode(text, type=list[msgspec.Raw])
        return bytes(items[name]) if name < len(items) else None
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return bytes(fields[name]) if name in fields else None


def _text(data: bytes, why: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused(why) from None
