"""The tokens of the in-memory Vault: granted, renewed, spent and revoked as the real one does it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from fake_kubernetes.documents import Object

SYSTEM_MAX_TTL = 2764800


class Credentials(NamedTuple):
    """What an AppRole login takes."""

    role_id: str
    secret_id: str


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a role gives to the tokens of its logins; times in seconds, 0 for what is not set."""

    policies: tuple[str, ...]
    ttl: int
    max_ttl: int = 0
    period: int = 0
    num_uses: int = 0
    type: str = "service"

    @property
    def renewable(self) -> bool:
        return self.type != "batch"


@dataclass
class TokenRecord:
    secret: str
    grant: Grant
    created_at: float
    expires_at: float
    uses_left: float
    policies: tuple[str, ...] = field(default=())
    role: str = ""

    def ttl(self, now: float) -> int:
        return max(0, math.floor(self.expires_at - now))

    def auth(self, lease_duration: int) -> Object:
        """The `auth` of a reply that grants."""
        return {
            "client_token": self.secret,
            "accessor": "" if self.grant.type == "batch" else f"accessor-of-{self.secret[-4:]}",
            "policies": list(self.policies),
            "lease_duration": lease_duration,
            "renewable": self.grant.renewable,
            "token_type": self.grant.type,
            "num_uses": self.grant.num_uses,
        }

    def lookup(self, now: float) -> Object:
        """The `data` of a lookup."""
        facts: Object = {
            "id": self.secret,
            "ttl": self.ttl(now),
            "expire_time": "2030-01-01T00:00:00.123456789Z",
            "creation_ttl": self.grant.ttl,
            "explicit_max_ttl": 0,
            "renewable": self.grant.renewable,
            "num_uses": 0 if math.isinf(self.uses_left) else int(self.uses_left),
            "type": self.grant.type,
            "path": "auth/approle/login",
            "policies": list(self.policies),
            "meta": {"role_name": self.role} if self.role else None,
        }
        return facts | {"period": self.grant.period} if self.grant.period else facts


class Tokens:
    """All tokens. `logins` counts those that were ever granted."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._living: dict[str, TokenRecord] = {}
        self._numbers = count(1)
        self.logins = 0

    def issue(self, grant: Grant, *, default_policy: bool, role: str = "") -> tuple[TokenRecord, int]:
        """A new token, and the seconds that it is granted for."""
        self.logins += 1
        ttl = grant.period or min(grant.ttl or SYSTEM_MAX_TTL, grant.max_ttl or SYSTEM_MAX_TTL)
        now = self._clock()
        record = TokenRecord(
            secret=f"{grant.type[0]}.canary-token-{next(self._numbers):04}",
            grant=grant,
            created_at=now,
            expires_at=now + ttl,
            uses_left=grant.num_uses or math.inf,
            policies=(*(("default",) if default_policy else ()), *grant.policies),
            role=role,
        )
        self._living[record.secret] = record
        return record, ttl

    def use(self, secret: str) -> TokenRecord | None:
        """The token, if it is alive; one of its uses is spent."""
        record = self._living.get(secret)
        if record is None or record.expires_at <= self._clock():
            return None
        record.uses_left -= 1
        if record.uses_left <= 0:
            self.revoke(secret)
        return record

    def renew(self, record: TokenRecord, increment: int) -> int:
        """The seconds that are granted: the period, or what was asked for, but nothing beyond the max TTL."""
        now = self._clock()
        asked = record.grant.period or increment or record.grant.ttl
        end = math.inf if record.grant.period else record.created_at + (record.grant.max_ttl or SYSTEM_MAX_TTL)
        record.expires_at = min(now + asked, end)
        return math.ceil(record.expires_at - now)

    def revoke(self, secret: str) -> None:
        self._living.pop(secret, None)

    def alive(self) -> list[str]:
        now = self._clock()
        return [record.secret for record in self._living.values() if record.expires_at > now]
