"""Translate an error response of the API server into an ApiError.

By status code and the fields of the Status in the body, never by wording, except for what is nowhere else: the managers
of a FieldConflict, and whether authorization refuses, a full quota, or other admission. A body that is not a Status (a
proxy's page) is not quoted. What is quoted is bounded and stays on one line.

A server that sheds load says 429 in plain text, before it looks at the request. A 429 with a Status concerns the one
request, also without a reason: an admission webhook denies one object so.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses
from typing import Literal

import msgspec

from secrets_manager.kube import quota
from secrets_manager.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    FieldConflict,
    FieldOwner,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
    ServerError,
    Throttled,
    Unauthorized,
)
from secrets_manager.kube.objects import Wire

MAX_MESSAGE = 256
"""Characters of the server's message that are quoted."""
MAX_RETRY_AFTER = 32.0
"""Seconds. A longer Retry-After, such as that of a proxy's page, is cut to this: API Priority and Fairness asks for no
more."""
QUOTE_MARKERS = (", error found in #", 'Invalid value: "{')
"""Where a server starts to quote the request: a part of a body that can't be decoded (before 1.23), or the whole object
that a patch would result in, with a Secret's values."""

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
"""The reasons of Kubernetes. Any other one is free text of a webhook."""

BY_CODE: Mapping[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.REQUEST_TIMEOUT: ServerError,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Expired,
    HTTPStatus.TOO_MANY_REQUESTS: Throttled,
}


_FIELD_CONFLICT = "FieldManagerConflict"
_MANAGER = re.compile(r'"(?:[^"\\]|\\.)*"')
"""The first text in quotes: `conflict with "kubectl" using v1`."""
_AUTHORIZATION = re.compile(r'\bforbidden: User ".*" cannot [a-z]+ (?:resource|path) "')
"""The API server's own words for what the authorizers refuse."""


class _Cause(Wire, frozen=True):
    reason: str = ""
    message: str = ""
    field: str = ""


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


def error_from_status(status_code: int, headers: Mapping[str, str], body: bytes, *, request: str = "") -> ApiError:
    """Translate an error response. `headers` must ignore case; `request` starts the error's message."""
    status = _decode(body)
    details = status.details or _Details()
    usual = responses.get(status_code, "")
    known, unknown = (status.reason, "") if status.reason in REASONS else (usual, status.reason)
    message = _truncate("; ".join(_messages(status.message, details.causes or ())))
    summary = _join(request, f"{status_code} {known}".rstrip())
    server_message = _join(_truncate(unknown), message)
    owners = tuple(_owner(cause) for cause in details.causes or () if cause.reason == _FIELD_CONFLICT)
    kind = _type_of(status_code, status.reason)
    if kind is Conflict and owners:
        kind = FieldConflict
    elif kind is Throttled and status is _NO_STATUS:
        kind = Overloaded
    error = kind(
        _escape(_join(summary, server_message)),
        code=status_code,
        reason=status.reason,
        retry_after=_retry_after(headers.get("Retry-After", ""), details.retry_after_seconds),
        summary=summary,
        server_message=server_message,
    )
    if isinstance(error, FieldConflict):
        error.owners = owners
    if isinstance(error, Forbidden):
        error.by_authorization = _AUTHORIZATION.search(status.message) is not None
        error.by_full_quota = quota.is_full(status.message)
    return error


def one_line(text: str) -> str:
    """Return the text truncated, and escaped so that it stays on one line."""
    return _escape(_truncate(text))


def _owner(cause: _Cause) -> FieldOwner:
    quoted = _MANAGER.search(cause.message)
    try:
        manager = msgspec.json.decode(quoted[0], type=str) if quoted else ""
    except msgspec.MsgspecError:
        manager = ""
    return FieldOwner(one_line(cause.field), one_line(manager))


def _type_of(code: int, reason: str) -> type[ApiError]:
    if code == HTTPStatus.CONFLICT and reason == "AlreadyExists":
        return AlreadyExists
    if code in BY_CODE:
        return BY_CODE[code]
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    return Invalid if code >= HTTPStatus.BAD_REQUEST else ApiError


def _decode(body: bytes) -> _Status:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _NO_STATUS


def _messages(message: str, causes: tuple[_Cause, ...]) -> list[str]:
    """Return the message, and those of the causes that it does not contain."""
    server_message = [_without_quote(message)] if message else []
    for cause in causes:
        said = _without_quote(cause.message or cause.reason)
        if said and not any(said in each for each in server_message):
            server_message.append(said)
    return server_message


def _without_quote(text: str) -> str:
    for mark in QUOTE_MARKERS:
        text = text.partition(mark)[0]
    return text.rstrip()


def _truncate(text: str) -> str:
    """Truncate at white space: half of a value reveals it, and can't be recognized."""
    if len(text) <= MAX_MESSAGE:
        return text
    whole_words = re.match(r"(?s).*\s", text[:MAX_MESSAGE])
    return f"{whole_words[0].rstrip() if whole_words else ''}…"


def _join(*parts: str) -> str:
    return ": ".join(filter(None, parts))


def _escape(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _retry_after(text: str, seconds: float) -> float | None:
    """Return the seconds; the header wins. Kubernetes does not use the form with a date."""
    wanted = float(text) if text.isascii() and text.isdecimal() else seconds
    return min(wanted, MAX_RETRY_AFTER) if wanted > 0 else None
