"""Check how long the secret_id lasts, where the policy allows to look it up: this spends none of its uses."""

from datetime import datetime, timedelta

import msgspec

from secrets_manager.backends.vault.auth.credential import Credential
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import NOT_FOUND, OK, SERVER_ERRORS, decode, unavailable
from secrets_manager.backends.vault.token import Token
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, ok, skipped, warning

CHECK = "vault-secret-id"

EXPIRES_SOON = timedelta(days=7)
NEVER = 1
"""The year of Go's zero time, which stands for no expiry."""
GONE = frozenset({204, NOT_FOUND})
"""Statuses for a secret_id that Vault does not know."""
FIX = "make a secret_id with secret_id_num_uses=0 and secret_id_ttl=0 on the role, or renew it in time in a file"


class Facts(msgspec.Struct, frozen=True):
    """What Vault says of a secret_id. 0 uses mean no limit."""

    secret_id_num_uses: int = 0
    expiration_time: str = ""


class _Lookup(msgspec.Struct, frozen=True):
    data: Facts


async def check(
    client: VaultClient, token: Token, secret_id: Credential, *, mount: str, role: str, now: datetime
) -> Result[None]:
    """Look up the secret_id of a role. `now` is Vault's time.

    Raises:
        BackendError: The request failed.
    """
    unknown = skipped(CHECK, "how long it lasts is not known: the policy does not allow to look it up")
    if not role:
        return Result([unknown])
    path = f"auth/{parse_path(mount).url}/role/{parse_path(role).url}/secret-id/lookup"
    body = {"secret_id": await secret_id.read(client)}
    response = await client.request("POST", path, operation="lookup-secret-id", token=token.secret, body=body)
    if response.status in SERVER_ERRORS:
        raise unavailable(response)
    if response.status in GONE:
        return Result([warning(CHECK, "it was used up by this login, or revoked since: no other succeeds", fix=FIX)])
    lookup = decode(response.body, _Lookup) if response.status == OK else None
    return Result([unknown if lookup is None else judge(lookup.data, now)])


def judge(facts: Facts, now: datetime) -> Finding:
    """Return the finding about a secret_id."""
    if facts.secret_id_num_uses > 0:
        message = f"it can be used {facts.secret_id_num_uses} more times, and each start of a replica spends one"
        return warning(CHECK, message, fix=FIX)
    left = _left(facts.expiration_time, now)
    if left is None:
        return ok(CHECK, "its uses are not limited, and it does not expire")
    if left < EXPIRES_SOON:
        message = f"it expires in {left.total_seconds() / 3600:.1f} hours: no login succeeds after that"
        return warning(CHECK, message, fix=FIX)
    return ok(CHECK, f"its uses are not limited, and it expires in {left.days} days")


def _left(expiration_time: str, now: datetime) -> timedelta | None:
    try:
        expires = datetime.fromisoformat(expiration_time)
    except ValueError:
        return None
    return None if expires.year == NEVER or expires.tzinfo is None else expires - now
