"""A Vault token and its lifetime, without I/O.

Times are in seconds on Trio's clock. A TTL counts from before the request that it was granted to, so that a token never
seems to live longer than it does.
"""

import math
from enum import Enum, auto
from typing import Annotated

import msgspec

from secrets_manager.backends.vault.responses import decode

RENEW_AT = 1 / 3
"""The fraction of the TTL that remains when a token is renewed or replaced: enough to survive an outage of Vault."""

REPLACE_AT = 1 / 6
"""The fraction of the TTL that remains when even a renewable token is replaced."""

MIN_RENEWAL_GAIN = 1.0
"""Seconds that a renewal must add. Vault rounds to whole seconds."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token. Its repr does not show the secret.

    `ttl` is the TTL that was granted last, infinite for a token that does not expire. `uses` is the number of requests
    that the token was granted for, 0 for no limit. `policies` are those that the role had at the login: later changes
    of a role don't affect its tokens.
    """

    secret: str
    ttl: float
    expires_at: float
    renewable: bool
    uses: int = 0
    policies: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Token(ttl={self.ttl}, expires_at={self.expires_at}, renewable={self.renewable})"

    def remaining(self, now: float) -> float:
        """Return the remaining TTL."""
        return max(0.0, self.expires_at - now)

    def is_valid(self, now: float) -> bool:
        """Return whether the token has not expired."""
        return self.expires_at > now

    def is_due(self, now: float) -> bool:
        """Return whether it is time to renew or replace the token."""
        return self.remaining(now) <= self.ttl * RENEW_AT


class Step(Enum):
    """What to do with a token."""

    KEEP = auto()
    RENEW = auto()
    REPLACE = auto()


def next_step(token: Token, *, now: float, max_token_ttl: float) -> Step:
    """Renew after two thirds of the TTL, or with less than `max_token_ttl` seconds left; else replace."""
    if math.isinf(token.expires_at):
        return Step.KEEP
    remaining = token.remaining(now)
    if remaining <= token.ttl * REPLACE_AT:
        return Step.REPLACE
    if token.renewable:
        return Step.RENEW if remaining < max_token_ttl or token.is_due(now) else Step.KEEP
    return Step.REPLACE if token.is_due(now) else Step.KEEP


def until_due(token: Token, *, now: float) -> float:
    """Return the seconds until the token must be renewed or replaced."""
    return math.inf if math.isinf(token.expires_at) else token.remaining(now) - token.ttl * RENEW_AT


Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Those that a float holds."""


class Lookup(msgspec.Struct, frozen=True):
    """The response of lookup-self. A ttl of 0 without an expire_time means that the token does not expire."""

    ttl: Seconds
    expire_time: str | None
    renewable: bool

    @property
    def seconds(self) -> float:
        """The remaining TTL."""
        return math.inf if self.expire_time is None else float(self.ttl)


class _Auth(msgspec.Struct, frozen=True):
    """The auth object in the response to a login or a renewal."""

    lease_duration: Seconds
    renewable: bool
    client_token: str = ""
    num_uses: int = 0
    policies: tuple[str, ...] | None = None


class _AuthResponse(msgspec.Struct, frozen=True):
    auth: _Auth


class _LookupResponse(msgspec.Struct, frozen=True):
    data: Lookup


def parse_token(body: bytes, *, sent_at: float) -> Token | None:
    """Return the token in the response to a login; None without one that fits in a header."""
    response = decode(body, _AuthResponse)
    if response is None or not _fits_in_header(response.auth.client_token):
        return None
    auth = response.auth
    ttl = float(auth.lease_duration) or math.inf
    return Token(
        secret=auth.client_token,
        ttl=ttl,
        expires_at=sent_at + ttl,
        renewable=auth.renewable,
        uses=auth.num_uses,
        policies=frozenset(auth.policies or ()),
    )


def parse_lookup(body: bytes) -> Lookup | None:
    """Parse the response to lookup-self; None if it is not one."""
    response = decode(body, _LookupResponse)
    return None if response is None else response.data


def with_lookup(token: Token, lookup: Lookup, *, sent_at: float) -> Token:
    """Return the token, updated by a lookup: others may have renewed or changed it."""
    return msgspec.structs.replace(
        token, expires_at=sent_at + lookup.seconds, renewable=token.renewable and lookup.renewable
    )


def with_renewal(token: Token, body: bytes, *, sent_at: float) -> Token | None:
    """Return the token, updated by the response to its renewal; None if it is not one.

    Near the max TTL a renewal succeeds but adds nothing: then the token is no longer renewable.
    """
    response = decode(body, _AuthResponse)
    if response is None:
        return None
    ttl = float(response.auth.lease_duration) or math.inf
    if ttl < token.ttl and ttl <= token.remaining(sent_at) + MIN_RENEWAL_GAIN:
        return msgspec.structs.replace(token, expires_at=sent_at + ttl, renewable=False)
    return msgspec.structs.replace(token, ttl=ttl, expires_at=sent_at + ttl, renewable=response.auth.renewable)


def _fits_in_header(secret: str) -> bool:
    return secret.isascii() and secret.isprintable() and bool(secret) and " " not in secret
