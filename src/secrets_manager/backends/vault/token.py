"""A token of Vault and the arithmetic of its life, without any I/O.

Vault tells a time to live when it grants a token or its renewal. Times here are on Trio's clock, counted from before
the request, so that a token never seems to live longer than it does.
"""

import math
from enum import Enum, auto

import msgspec

from secrets_manager.backends.vault.replies import decode

LAST_PART = 1 / 3
"""The part of a token's time at which it is renewed or replaced: early enough to sit out an outage of Vault."""

LAST_RESORT = 1 / 6
"""Here renewal has had its chance, and even a renewable token is replaced."""

GAIN = 1.0
"""Seconds that a renewal must bring; less is the rounding of Vault's whole seconds."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a login or a renewal granted. Its repr does not tell the secret.

    `ttl` is what was granted, in seconds, infinite for a token that does not expire. `uses` is the number of requests
    that it is good for, 0 for any. `policies` are those of the role at the time of the login: a role that is changed
    later leaves its tokens as they are.
    """

    secret: str
    ttl: float
    expires_at: float
    renewable: bool
    uses: int = 0
    policies: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Token(ttl={self.ttl}, expires_at={self.expires_at}, renewable={self.renewable})"

    def left(self, now: float) -> float:
        """Seconds to live."""
        return max(0.0, self.expires_at - now)

    def alive(self, now: float) -> bool:
        return self.expires_at > now

    def due(self, now: float) -> bool:
        """Whether it is in its last part, in which it has to be renewed or replaced."""
        return self.left(now) <= self.ttl * LAST_PART


class Step(Enum):
    """What to do with a token."""

    KEEP = auto()
    RENEW = auto()
    REPLACE = auto()


def next_step(token: Token, *, now: float, max_token_ttl: float) -> Step:
    """Renew at two thirds of the time, or earlier with less than `max_token_ttl` seconds left; else replace."""
    if math.isinf(token.expires_at):
        return Step.KEEP
    left = token.left(now)
    if left <= token.ttl * LAST_RESORT:
        return Step.REPLACE
    if token.renewable:
        return Step.RENEW if left < max_token_ttl or token.due(now) else Step.KEEP
    return Step.REPLACE if token.due(now) else Step.KEEP


def until_due(token: Token, *, now: float) -> float:
    """Seconds until the token needs attention, whatever the polling period says."""
    return math.inf if math.isinf(token.expires_at) else token.left(now) - token.ttl * LAST_PART


class Lookup(msgspec.Struct, frozen=True):
    """What lookup-self tells. A ttl of 0 without an expire_time means for ever."""

    ttl: int
    expire_time: str | None
    renewable: bool

    @property
    def seconds(self) -> float:
        return math.inf if self.expire_time is None else float(self.ttl)


class _Auth(msgspec.Struct, frozen=True):
    """What a login or a renewal grants."""

    lease_duration: int
    renewable: bool
    client_token: str = ""
    num_uses: int = 0
    policies: tuple[str, ...] | None = None


class _Granting(msgspec.Struct, frozen=True):
    auth: _Auth


class _Telling(msgspec.Struct, frozen=True):
    data: Lookup


def token_of(body: bytes, *, asked_at: float) -> Token | None:
    """The token in the reply to a login, or None where there is none that can be sent in a header."""
    reply = decode(body, _Granting)
    if reply is None or not _fits_in_header(reply.auth.client_token):
        return None
    auth = reply.auth
    ttl = float(auth.lease_duration) or math.inf
    return Token(
        secret=auth.client_token,
        ttl=ttl,
        expires_at=asked_at + ttl,
        renewable=auth.renewable,
        uses=auth.num_uses,
        policies=frozenset(auth.policies or ()),
    )


def lookup_of(body: bytes) -> Lookup | None:
    reply = decode(body, _Telling)
    return None if reply is None else reply.data


def looked_up(token: Token, lookup: Lookup, *, asked_at: float) -> Token:
    """The token with what Vault says of it now: somebody may have changed it."""
    return msgspec.structs.replace(
        token, expires_at=asked_at + lookup.seconds, renewable=token.renewable and lookup.renewable
    )


def renewed(token: Token, body: bytes, *, asked_at: float) -> Token | None:
    """The token as the reply to its renewal grants it, or None where the reply is none.

    Near its max TTL a renewal succeeds and brings nothing: such a token is renewable no more.
    """
    reply = decode(body, _Granting)
    if reply is None:
        return None
    ttl = float(reply.auth.lease_duration) or math.inf
    if ttl < token.ttl and ttl <= token.left(asked_at) + GAIN:
        return msgspec.structs.replace(token, expires_at=asked_at + ttl, renewable=False)
    return msgspec.structs.replace(token, ttl=ttl, expires_at=asked_at + ttl, renewable=reply.auth.renewable)


def _fits_in_header(secret: str) -> bool:
    return secret.isascii() and secret.isprintable() and bool(secret) and " " not in secret
