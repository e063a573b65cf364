"""Check what a token of the role can do for itself, and for how long: what fails later, though it works now."""

import math
from collections.abc import Mapping

import msgspec

from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.responses import FORBIDDEN, SERVER_ERRORS, Response, decode, unavailable
from secrets_manager.backends.vault.token import Seconds, Token
from secrets_manager.backends.vault.token_auth import LOOKUP_SELF, RENEW_SELF, REVOKE_SELF
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, ok, warning

CHECK = "vault-token"

HORIZON = 24 * 3600
"""Seconds for which a renewal asks."""
SHORT_LIFE = HORIZON / 2
"""Seconds. A token that can live for longer takes few logins."""
POLICY_FIX = (
    'add to the policy: path "auth/token/{operation}" {{ capabilities = ["{capability}"] }}, '
    "or give the role the policy default"
)
CAPABILITIES = {LOOKUP_SELF: "read", RENEW_SELF: "update", REVOKE_SELF: "update"}


class Facts(msgspec.Struct, frozen=True):
    """The response to lookup-self. Times are in seconds, 0 for none."""

    period: int = 0
    meta: dict[str, str] | None = None

    @property
    def role(self) -> str:
        """The AppRole of the login; empty if it is not known."""
        return (self.meta or {}).get("role_name", "")


class _Lookup(msgspec.Struct, frozen=True):
    data: Facts


class _Renewed(msgspec.Struct, frozen=True):
    lease_duration: Seconds


class _Renewal(msgspec.Struct, frozen=True):
    auth: _Renewed


async def check(client: VaultClient, token: Token, *, login_is_free: bool) -> Result[Facts]:
    """Look the token up, and renew it. `login_is_free`: a login spends nothing.

    Raises:
        BackendError: The request failed.
    """
    lookup = await _send(client, "GET", LOOKUP_SELF, token)
    renewal = await _send(client, "POST", RENEW_SELF, token, {"increment": HORIZON})
    looked_up, renewed = decode(lookup.body, _Lookup), decode(renewal.body, _Renewal)
    facts = Facts() if looked_up is None else looked_up.data
    findings = [
        *_refused(LOOKUP_SELF, lookup),
        *_refused(RENEW_SELF, renewal),
        *judge(token, facts, _seconds(renewed), login_is_free=login_is_free),
    ]
    return Result(findings or [ok(CHECK, _lifetime(token))], facts)


async def revoke(client: VaultClient, token: Token) -> Result[None]:
    """Revoke the token of the login. One that can't be revoked, a batch token, expires.

    Raises:
        BackendError: The request failed.
    """
    return Result(_refused(REVOKE_SELF, await _send(client, "POST", REVOKE_SELF, token)))


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
    if granted and not facts.period and granted < SHORT_LIFE:
        found.append(
            _warning(
                f"it can live for {granted:g} s in all (token_max_ttl): another login follows, "
                "which spends a use of the secret_id",
                "a longer token_max_ttl, or token_period",
            )
        )
    return found


async def _send(
    client: VaultClient, method: str, operation: str, token: Token, body: Mapping[str, int] | None = None
) -> Response:
    """Return the response to a request about the token itself: a success or a refusal.

    Raises:
        BackendError: it is neither.
    """
    path = f"auth/token/{operation}"
    response = await client.request(method, path, operation=operation, token=token.secret, body=body)
    if response.status in SERVER_ERRORS:
        raise unavailable(response)
    return response


def _seconds(renewed: _Renewal | None) -> float:
    """Return for how long a renewal was granted, infinite without an end; 0 if it was not."""
    return 0.0 if renewed is None else float(renewed.auth.lease_duration) or math.inf


def _refused(operation: str, response: Response) -> list[Finding]:
    return [_refusal(operation)] if response.status == FORBIDDEN else []


def _lifetime(token: Token) -> str:
    if math.isinf(token.ttl):
        return "it does not expire"
    return f"it lasts {token.ttl:g} s, and can be renewed" if token.renewable else f"it lasts {token.ttl:g} s"


def _refusal(operation: str) -> Finding:
    what = {LOOKUP_SELF: "look itself up", RENEW_SELF: "be renewed", REVOKE_SELF: "be revoked at the end"}
    return warning(
        CHECK,
        f"it may not {what[operation]} ({operation}): its policies are without Vault's policy default and its rules",
        fix=POLICY_FIX.format(operation=operation, capability=CAPABILITIES[operation]),
    )


def _warning(message: str, setting: str) -> Finding:
    return warning(CHECK, message, fix=f"give the role {setting}")
