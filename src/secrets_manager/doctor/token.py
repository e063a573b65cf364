"""Check what a token of the role can do for itself, and for how long: what fails later, though it works now."""

import math

import msgspec

from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.responses import OK, decode
from secrets_manager.backends.vault.token import Token
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, ok, warning

CHECK = "vault-token"

HORIZON = 24 * 3600
"""Seconds. A token that can live so long is as good as one that lives for ever: a login a day costs nothing."""
POLICY_FIX = (
    'add to the policy: path "auth/token/{operation}" {{ capabilities = ["{capability}"] }}, '
    "or give the role the policy default"
)
CAPABILITIES = {"lookup-self": "read", "renew-self": "update", "revoke-self": "update"}


class Facts(msgspec.Struct, frozen=True):
    """The response to lookup-self. Times are in seconds, 0 for none."""

    period: int = 0
    explicit_max_ttl: int = 0
    meta: dict[str, str] | None = None

    @property
    def role(self) -> str:
        """The AppRole of the login; empty if it is not known."""
        return (self.meta or {}).get("role_name", "")


class _Lookup(msgspec.Struct, frozen=True):
    data: Facts


class _Renewed(msgspec.Struct, frozen=True):
    lease_duration: int


class _Renewal(msgspec.Struct, frozen=True):
    auth: _Renewed


async def check(client: VaultClient, token: Token, *, login_is_free: bool) -> Result[Facts]:
    """Look the token up, and renew it. `login_is_free`: a login spends nothing.

    Raises:
        BackendError: Vault did not say.
    """
    facts = await _look_up(client, token)
    granted = await _renew(client, token)
    refused = [name for name, answer in (("lookup-self", facts), ("renew-self", granted)) if answer is None]
    if not token.renewable:
        refused = refused[:1] if facts is None else []
    findings = [_refusal(name) for name in refused]
    findings += judge(token, facts or Facts(), granted or 0.0, login_is_free=login_is_free)
    return Result(findings or [ok(CHECK, _lifetime(token))], facts or Facts())


async def revoke(client: VaultClient, token: Token) -> Result[None]:
    """Revoke the token of the login.

    Raises:
        BackendError: Vault did not say.
    """
    response = await client.request("POST", "auth/token/revoke-self", operation="revoke-self", token=token.secret)
    return Result([] if response.status < _REFUSED else [_refusal("revoke-self")])


_REFUSED = 400


def judge(token: Token, facts: Facts, granted: float, *, login_is_free: bool) -> list[Finding]:
    """Return warnings about the life of the token. `granted` are the seconds that a renewal brought."""
    found: list[Finding] = []
    if token.uses > 0:
        found.append(
            _warning(
                f"it may be used {token.uses} times, so each {token.uses} reads take another login",
                "token_num_uses=0",
            )
        )
    if math.isinf(token.ttl) or login_is_free:
        return found
    if not token.renewable:
        return [
            *found,
            _warning(
                f"it can't be renewed: another login follows before its {token.ttl:g} s are over,"
                " which spends a use of the secret_id",
                "token_type=service",
            ),
        ]
    if granted and not facts.period and granted < HORIZON:
        found.append(
            _warning(
                f"it can live for {granted:g} s in all (token_max_ttl): another login follows, "
                "which spends a use of the secret_id",
                "a longer token_max_ttl, or token_period",
            )
        )
    return found


async def _look_up(client: VaultClient, token: Token) -> Facts | None:
    response = await client.request("GET", "auth/token/lookup-self", operation="lookup-self", token=token.secret)
    lookup = decode(response.body, _Lookup) if response.status == OK else None
    return None if lookup is None else lookup.data


async def _renew(client: VaultClient, token: Token) -> float | None:
    """Return for how many seconds a renewal is granted, at most HORIZON; None if it is refused."""
    response = await client.request(
        "POST", "auth/token/renew-self", operation="renew-self", token=token.secret, body={"increment": HORIZON}
    )
    renewal = decode(response.body, _Renewal) if response.status == OK else None
    return None if renewal is None else float(renewal.auth.lease_duration) or math.inf


def _lifetime(token: Token) -> str:
    if math.isinf(token.ttl):
        return "it does not expire"
    return f"it lasts {token.ttl:g} s, and can be renewed" if token.renewable else f"it lasts {token.ttl:g} s"


def _refusal(operation: str) -> Finding:
    what = {"lookup-self": "look itself up", "renew-self": "be renewed", "revoke-self": "be revoked at the end"}
    return warning(
        CHECK,
        f"it may not {what[operation]} ({operation}): its policies are without Vault's policy default and its rules",
        fix=POLICY_FIX.format(operation=operation, capability=CAPABILITIES[operation]),
    )


def _warning(message: str, setting: str) -> Finding:
    return warning(CHECK, message, fix=f"give the role {setting}")
