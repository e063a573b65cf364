"""The gate in front of what is guarded.

    401  no token, or one that is not valid
    403  the user may not `get` this path
    429  too many unknown tokens at the moment
    503  the API server did not answer

A token is kept nowhere: caches have its keyed hash. Reviews of unknown tokens are bounded in rate, so bad tokens can't
load the API server; tokens that were accepted before don't count. If the API server is down, what is
cached counts until it expires, and then all requests are refused: an attacker who separates the controller from the
API server must not extend the life of a token. For a second after a failure no review is tried.
"""

import logging
from functools import partial
from hashlib import blake2b
from math import ceil
from typing import Protocol

import trio

from secrets_manager.access.cache import ReviewCache
from secrets_manager.access.reviews import ReviewFailed, User
from secrets_manager.server.message import Request, Response
from secrets_manager.tokenbucket import TokenBucket

log = logging.getLogger(__name__)

UNKNOWN_RATE, UNKNOWN_BURST = 5.0, 20
"""Reviews of unknown tokens a second."""
RETRY_INTERVAL = 1.0
"""Seconds without reviews after one has failed."""
MAX_RETRY_AFTER = 30.0

UNAUTHORIZED = Response(
    401, b"a valid token is needed: send Authorization: Bearer TOKEN\n", headers=((b"www-authenticate", b"Bearer"),)
)


class Reviewer(Protocol):
    """Authenticates tokens, and authorizes their users."""

    async def authenticate(self, token: str) -> User | None:
        """Return the user of the token; None if it is not valid. Raises: ReviewFailed."""
        ...

    async def authorize(self, user: User, path: str) -> bool:
        """Whether the user may `get` this path. Raises: ReviewFailed."""
        ...


class TooManyUnknown(ReviewFailed):
    """There are too many unknown tokens."""


class TokenGate:
    """Checks the token of each request. `key` is a secret of this process, for the hashes."""

    def __init__(self, reviewer: Reviewer, *, key: bytes) -> None:
        self._reviewer = reviewer
        self._key = key
        self._users = ReviewCache[bytes, User | None]()
        self._rights = ReviewCache[tuple[bytes, str], bool]()
        self._unknown = TokenBucket(rate=UNKNOWN_RATE, burst=UNKNOWN_BURST)
        self._retry_at = float("-inf")
        self._failure: ReviewFailed | None = None

    def __repr__(self) -> str:
        return f"TokenGate(users={self._users}, rights={self._rights})"

    async def check(self, request: Request) -> Response | None:
        """Return None if the request may pass, else the refusal."""
        token = _bearer_token(request)
        if not token:
            return UNAUTHORIZED
        digest = blake2b(token.encode(), key=self._key).digest()
        try:
            user = await self._users.get(digest, partial(self._authenticate, token, digest))
            if user is None:
                return UNAUTHORIZED
            allowed = await self._rights.get((digest, request.path), partial(self._authorize, user, request.path))
        except TooManyUnknown:
            return _retry_later(429, "too many unknown tokens", RETRY_INTERVAL)
        except ReviewFailed as error:
            return _retry_later(503, "the API server can't check the token now: see the log", error.retry_after)
        return None if allowed else _forbidden(request.path)

    async def _authenticate(self, token: str, digest: bytes) -> User | None:
        self._check_pause()
        if not self._users.is_known(digest) and not self._unknown.try_take(trio.current_time()):
            raise TooManyUnknown("too many unknown tokens")
        try:
            user = await self._reviewer.authenticate(token)
        except ReviewFailed as error:
            raise self._failed(error) from None
        self._succeeded()
        return user

    async def _authorize(self, user: User, path: str) -> bool:
        self._check_pause()
        try:
            allowed = await self._reviewer.authorize(user, path)
        except ReviewFailed as error:
            raise self._failed(error) from None
        self._succeeded()
        return allowed

    def _check_pause(self) -> None:
        """Send no review within a second after a failed one. Raises: ReviewFailed."""
        if self._failure is not None and trio.current_time() < self._retry_at:
            raise self._failure.copy()

    def _failed(self, error: ReviewFailed) -> ReviewFailed:
        if self._failure is None:
            log.warning("tokens can't be checked", extra={"fields": {"error": str(error)}})
        self._failure = error.copy()  # the traceback of the other one would keep the token
        self._retry_at = trio.current_time() + _bounded(error.retry_after)
        return error

    def _succeeded(self) -> None:
        if self._failure is not None:
            log.info("tokens can be checked again")
        self._failure = None


def _bearer_token(request: Request) -> str:
    """Return the token of the request; empty without exactly one."""
    values = request.header(b"authorization")
    if len(values) != 1:
        return ""
    scheme, _, token = values[0].decode("latin-1").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _forbidden(path: str) -> Response:
    return Response(403, f"the token's user has no right to get the non-resource URL {path}\n".encode())


def _retry_later(status: int, why: str, seconds: float) -> Response:
    return Response(status, f"{why}\n".encode(), headers=((b"retry-after", str(ceil(_bounded(seconds))).encode()),))


def _bounded(seconds: float) -> float:
    return min(max(seconds, RETRY_INTERVAL), MAX_RETRY_AFTER)
