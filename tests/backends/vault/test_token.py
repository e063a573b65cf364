"""The arithmetic of a token's life."""

import math

import msgspec
import pytest

from secrets_manager.backends.vault.token import (
    Lookup,
    Step,
    Token,
    looked_up,
    lookup_of,
    next_step,
    renewed,
    token_of,
    until_due,
)

NOW = 1000.0


def token(*, left: float, ttl: float = 3600.0, renewable: bool = True) -> Token:
    return Token(secret="s.canary", ttl=ttl, expires_at=NOW + left, renewable=renewable)


def granting(**auth: object) -> bytes:
    fields = {"client_token": "s.canary", "lease_duration": 20, "renewable": True} | auth
    return msgspec.json.encode({"auth": fields})


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (token(left=1201), Step.KEEP),
        (token(left=1200), Step.RENEW),
        (token(left=600), Step.REPLACE),
        (token(left=1201, renewable=False), Step.KEEP),
        (token(left=1200, renewable=False), Step.REPLACE),
        (token(left=300, ttl=600), Step.KEEP),
        (token(left=299, ttl=600), Step.RENEW),
        (token(left=299, ttl=600, renewable=False), Step.KEEP),
        (token(left=0), Step.REPLACE),
        (token(left=math.inf, ttl=math.inf), Step.KEEP),
        (token(left=math.inf, ttl=math.inf, renewable=False), Step.KEEP),
    ],
)
def test_next_step(subject: Token, expected: Step) -> None:
    assert next_step(subject, now=NOW, max_token_ttl=300) is expected


def test_time_until_the_token_needs_attention() -> None:
    assert until_due(token(left=3600), now=NOW) == 2400
    assert until_due(token(left=100), now=NOW) == -1100
    assert until_due(token(left=math.inf, ttl=math.inf), now=NOW) == math.inf


def test_token_of_a_login() -> None:
    assert token_of(granting(num_uses=7), asked_at=NOW) == Token(
        secret="s.canary", ttl=20.0, expires_at=NOW + 20, renewable=True, uses=7
    )


def test_token_of_a_login_has_the_policies_of_the_role() -> None:
    granted = token_of(granting(policies=["default", "app"]), asked_at=NOW)

    assert granted
    assert granted.policies == {"default", "app"}


def test_token_that_is_granted_without_a_time_lives_for_ever() -> None:
    granted = token_of(granting(lease_duration=0), asked_at=NOW)

    assert granted
    assert (granted.ttl, granted.expires_at) == (math.inf, math.inf)


@pytest.mark.parametrize(("left", "alive", "seconds"), [(0.1, True, 0.1), (0.0, False, 0.0), (-5.0, False, 0.0)])
def test_token_is_alive_while_it_has_time_left(left: float, seconds: float, *, alive: bool) -> None:
    subject = token(left=left)

    assert subject.alive(NOW) is alive
    assert subject.left(NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"auth":null}',
        granting(client_token=""),
        granting(client_token="s.canary\r\nX-Evil: 1"),
        granting(client_token="s.é"),
        granting(client_token="s. canary"),
        granting(lease_duration="x"),
    ],
)
def test_login_without_a_token_that_fits_in_a_header(body: bytes) -> None:
    assert token_of(body, asked_at=NOW) is None


def test_time_to_live_of_zero_is_for_ever_only_without_a_time_of_expiry() -> None:
    root = lookup_of(b'{"data":{"ttl":0,"expire_time":null,"renewable":false}}')
    dying = lookup_of(b'{"data":{"ttl":0,"expire_time":"2026-01-01T00:00:00Z","renewable":true}}')

    assert root
    assert dying
    assert (root.seconds, dying.seconds) == (math.inf, 0.0)
    assert lookup_of(b'{"data":{}}') is None


def test_lookup_corrects_the_end_and_keeps_what_was_granted() -> None:
    after = looked_up(token(left=3000), Lookup(ttl=50, expire_time="t", renewable=True), asked_at=NOW)

    assert after == token(left=50)


@pytest.mark.parametrize(("known", "told"), [(True, False), (False, True), (False, False)])
def test_token_that_was_granted_or_is_told_as_not_renewable_is_not(*, known: bool, told: bool) -> None:
    lookup = Lookup(ttl=50, expire_time="t", renewable=told)

    assert looked_up(token(left=50, renewable=known), lookup, asked_at=NOW) == token(left=50, renewable=False)


@pytest.mark.parametrize(
    ("before", "granted", "after"),
    [
        (token(left=5, ttl=20), 20, token(left=20, ttl=20)),
        (token(left=5, ttl=20), 600, token(left=600, ttl=600)),
        (token(left=5, ttl=20), 12, token(left=12, ttl=12)),
        (token(left=5, ttl=20), 5, token(left=5, ttl=20, renewable=False)),
        (token(left=5, ttl=20), 6, token(left=6, ttl=20, renewable=False)),
        (token(left=20, ttl=20), 20, token(left=20, ttl=20)),
    ],
)
def test_renewal_that_brings_nothing_is_the_last(before: Token, granted: int, after: Token) -> None:
    assert renewed(before, granting(lease_duration=granted), asked_at=NOW) == after


def test_renewal_may_be_the_last_that_vault_grants() -> None:
    body = granting(lease_duration=20, renewable=False)

    assert renewed(token(left=5, ttl=20), body, asked_at=NOW) == token(left=20, ttl=20, renewable=False)


def test_renewal_may_grant_a_life_without_end() -> None:
    granted = renewed(token(left=5, ttl=20), granting(lease_duration=0), asked_at=NOW)

    assert granted == token(left=math.inf, ttl=math.inf)


def test_reply_to_a_renewal_that_is_none() -> None:
    assert renewed(token(left=5), b"{}", asked_at=NOW) is None


def test_repr_does_not_tell_the_secret() -> None:
    assert repr(token(left=5)) == "Token(ttl=3600.0, expires_at=1005.0, renewable=True)"
