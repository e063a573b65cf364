"""The lifetime of a token."""

import math

import msgspec
import pytest

from secrets_manager.backends.vault.token import (
    Lookup,
    Step,
    Token,
    next_step,
    parse_lookup,
    parse_token,
    until_due,
    with_lookup,
    with_renewal,
)

NOW = 1000.0


def token(*, remaining: float, ttl: float = 3600.0, renewable: bool = True) -> Token:
    return Token(secret="s.canary", ttl=ttl, expires_at=NOW + remaining, renewable=renewable)


def granting(**auth: object) -> bytes:
    fields = {"client_token": "s.canary", "lease_duration": 20, "renewable": True} | auth
    return msgspec.json.encode({"auth": fields})


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (token(remaining=1201), Step.KEEP),
        (token(remaining=1200), Step.RENEW),
        (token(remaining=600), Step.REPLACE),
        (token(remaining=1201, renewable=False), Step.KEEP),
        (token(remaining=1200, renewable=False), Step.REPLACE),
        (token(remaining=300, ttl=600), Step.KEEP),
        (token(remaining=299, ttl=600), Step.RENEW),
        (token(remaining=299, ttl=600, renewable=False), Step.KEEP),
        (token(remaining=0), Step.REPLACE),
        (token(remaining=math.inf, ttl=math.inf), Step.KEEP),
        (token(remaining=math.inf, ttl=math.inf, renewable=False), Step.KEEP),
    ],
)
def test_next_step(subject: Token, expected: Step) -> None:
    assert next_step(subject, now=NOW, max_token_ttl=300) is expected


def test_time_until_the_token_needs_attention() -> None:
    assert until_due(token(remaining=3600), now=NOW) == 2400
    assert until_due(token(remaining=100), now=NOW) == -1100
    assert until_due(token(remaining=math.inf, ttl=math.inf), now=NOW) == math.inf


def test_token_of_a_login() -> None:
    assert parse_token(granting(num_uses=7), sent_at=NOW) == Token(
        secret="s.canary", ttl=20.0, expires_at=NOW + 20, renewable=True, uses=7
    )


def test_token_of_a_login_has_the_policies_of_the_role() -> None:
    granted = parse_token(granting(policies=["default", "app"]), sent_at=NOW)

    assert granted
    assert granted.policies == {"default", "app"}


def test_token_that_is_granted_without_a_time_lives_for_ever() -> None:
    granted = parse_token(granting(lease_duration=0), sent_at=NOW)

    assert granted
    assert (granted.ttl, granted.expires_at) == (math.inf, math.inf)


@pytest.mark.parametrize(("left", "alive", "seconds"), [(0.1, True, 0.1), (0.0, False, 0.0), (-5.0, False, 0.0)])
def test_token_is_alive_while_it_has_time_left(left: float, seconds: float, *, alive: bool) -> None:
    subject = token(remaining=left)

    assert subject.is_valid(NOW) is alive
    assert subject.remaining(NOW) == pytest.approx(seconds)


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
        granting(lease_duration=-1),
        granting(lease_duration=10**400),
    ],
)
def test_login_without_a_token_that_fits_in_a_header(body: bytes) -> None:
    assert parse_token(body, sent_at=NOW) is None


def test_ttl_of_zero_means_no_expiry_only_without_an_expire_time() -> None:
    root = parse_lookup(b'{"data":{"ttl":0,"expire_time":null,"renewable":false}}')
    dying = parse_lookup(b'{"data":{"ttl":0,"expire_time":"2026-01-01T00:00:00Z","renewable":true}}')

    assert root
    assert dying
    assert (root.seconds, dying.seconds) == (math.inf, 0.0)
    assert parse_lookup(b'{"data":{}}') is None


@pytest.mark.parametrize("ttl", ["-1", "1" + "0" * 400])
def test_ttl_that_can_not_be_is_malformed(ttl: str) -> None:
    lookup = f'{{"data":{{"ttl":{ttl},"expire_time":"2026-01-01T00:00:00Z","renewable":true}}}}'

    assert parse_lookup(lookup.encode()) is None


def test_lookup_updates_expiry_and_keeps_the_granted_ttl() -> None:
    after = with_lookup(token(remaining=3000), Lookup(ttl=50, expire_time="t", renewable=True), sent_at=NOW)

    assert after == token(remaining=50)


@pytest.mark.parametrize(("known", "reported"), [(True, False), (False, True), (False, False)])
def test_token_that_was_granted_or_is_reported_as_not_renewable_is_not(*, known: bool, reported: bool) -> None:
    lookup = Lookup(ttl=50, expire_time="t", renewable=reported)

    assert with_lookup(token(remaining=50, renewable=known), lookup, sent_at=NOW) == token(
        remaining=50, renewable=False
    )


@pytest.mark.parametrize(
    ("before", "granted", "after"),
    [
        (token(remaining=5, ttl=20), 20, token(remaining=20, ttl=20)),
        (token(remaining=5, ttl=20), 600, token(remaining=600, ttl=600)),
        (token(remaining=5, ttl=20), 12, token(remaining=12, ttl=12)),
        (token(remaining=5, ttl=20), 5, token(remaining=5, ttl=20, renewable=False)),
        (token(remaining=5, ttl=20), 6, token(remaining=6, ttl=20, renewable=False)),
        (token(remaining=20, ttl=20), 20, token(remaining=20, ttl=20)),
    ],
)
def test_renewal_that_brings_nothing_is_the_last(before: Token, granted: int, after: Token) -> None:
    assert with_renewal(before, granting(lease_duration=granted), sent_at=NOW) == after


def test_renewal_may_be_the_last_that_vault_grants() -> None:
    body = granting(lease_duration=20, renewable=False)

    assert with_renewal(token(remaining=5, ttl=20), body, sent_at=NOW) == token(remaining=20, ttl=20, renewable=False)


def test_renewal_may_grant_a_life_without_end() -> None:
    granted = with_renewal(token(remaining=5, ttl=20), granting(lease_duration=0), sent_at=NOW)

    assert granted == token(remaining=math.inf, ttl=math.inf)


def test_malformed_response_to_a_renewal() -> None:
    assert with_renewal(token(remaining=5), b"{}", sent_at=NOW) is None


def test_repr_does_not_show_the_secret() -> None:
    assert repr(token(remaining=5)) == "Token(ttl=3600.0, expires_at=1005.0, renewable=True)"
