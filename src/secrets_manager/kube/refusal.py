"""What the API server means by an answer that is no success.

By status code and by fields of the Status in the body, never by wording. A body that is no Status (a proxy's page)
is not repeated; what is repeated is bounded, and stays on one line.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses
from typing import Literal

import msgspec

from secrets_manager.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    ServerFailed,
    Throttled,
    Unauthorized,
)
from secrets_manager.kube.objects import Wire

LONGEST_TEXT = 256
"""Characters of the server's words that are repeated."""
LONGEST_WAIT = 3600.0
"""Seconds. A server that asks for more is taken for confused."""
EXCERPTS = (", error found in #", 'Invalid value: "{')
"""Where a server begins to quote what it was sent: in the first form (before 1.23) a piece of a body that can't be
read, in the second the whole object that a patch would lead to, a Secret's values included."""

REASONS = frozenset(
    {
        "AlreadyExists",
        "BadRequest",
        "Conflict",
        "Expired",
        "Forbidden",
        "Gone",
        "InternalError",
        "Invalid",
        "MethodNotAllowed",
        "NotAcceptable",
        "NotFound",
        "RequestEntityTooLarge",
        "ServerTimeout",
        "ServiceUnavailable",
        "StoreReadError",
        "Timeout",
        "TooManyRequests",
        "Unauthorized",
        "UnsupportedMediaType",
    }
)
"""The reasons that Kubernetes itself gives. Any other one is free text of a webhook."""

BY_CODE: Mapping[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.REQUEST_TIMEOUT: ServerFailed,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Expired,
    HTTPStatus.TOO_MANY_REQUESTS: Throttled,
}


class _Cause(Wire, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(Wire, frozen=True):
    causes: tuple[_Cause, ...] | None = None
    retry_after_seconds: float = 0.0


class _Status(Wire, frozen=True):
    kind: Literal["Status"]
    message: str = ""
    reason: str = ""
    details: _Details | None = None


_NO_STATUS = _Status(kind="Status")
_decoder = msgspec.json.Decoder(_Status)


def error_of(status_code: int, headers: Mapping[str, str], body: bytes, *, request: str = "") -> ApiError:
    """Translate an answer that is no success. `headers` ignore case; `request` begins the error's text."""
    status = _decode(body)
    details = status.details or _Details()
    usual = responses.get(status_code, "")
    known, unknown = (status.reason, "") if status.reason in REASONS else (usual, status.reason)
    message = _cut("; ".join(_words(status.message, details.causes or ())))
    summary = _joined(request, f"{status_code} {known}".rstrip())
    words = _joined(_cut(unknown), message)
    return _type_of(status_code, status.reason)(
        _on_one_line(_joined(summary, words)),
        code=status_code,
        reason=status.reason,
        retry_after=_retry_after(headers.get("Retry-After", ""), details.retry_after_seconds),
        summary=summary,
        words=words,
    )


def one_line(text: str) -> str:
    """The server's words, bounded, with nothing in them that could break a line of a log."""
    return _on_one_line(_cut(text))


def _type_of(code: int, reason: str) -> type[ApiError]:
    if code == HTTPStatus.CONFLICT and reason == "AlreadyExists":
        return AlreadyExists
    if code in BY_CODE:
        return BY_CODE[code]
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerFailed
    return Invalid if code >= HTTPStatus.BAD_REQUEST else ApiError


def _decode(body: bytes) -> _Status:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _NO_STATUS


def _words(message: str, causes: tuple[_Cause, ...]) -> list[str]:
    """The message, and those of the causes that say something else."""
    words = [_without_excerpt(message)] if message else []
    for cause in causes:
        said = _without_excerpt(cause.message or cause.reason)
        if said and not any(said in each for each in words):
            words.append(said)
    return words


def _without_excerpt(text: str) -> str:
    for mark in EXCERPTS:
        text = text.partition(mark)[0]
    return text.rstrip()


def _cut(text: str) -> str:
    """A word that would be cut in two is left out: half of a value tells too much of it, and can't be recognized."""
    if len(text) <= LONGEST_TEXT:
        return text
    whole_words = re.match(r"(?s).*\s", text[:LONGEST_TEXT])
    return f"{whole_words[0].rstrip() if whole_words else ''}…"


def _joined(*parts: str) -> str:
    return ": ".join(filter(None, parts))


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _retry_after(text: str, seconds: float) -> float | None:
    """The header wins. Its other form, a date, is not used by Kubernetes."""
    wanted = float(text) if text.isascii() and text.isdecimal() else seconds
    return min(wanted, LONGEST_WAIT) if wanted > 0 else None
