"""The requests of Vault's token auth method about a token itself: lookup-self, renew-self and revoke-self.

What Vault refuses is an answer. After a failure, lookups and renewals get the same one until the backoff ends.
"""

import logging
import math
from contextlib import suppress
from random import Random
from typing import Protocol

import trio

from secrets_manager.backends.base import BackendError, Unavailable
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.responses import OK, Response, forbidden_by_policy, is_refusal, unavailable
from secrets_manager.backends.vault.retry_gate import RetryGate
from secrets_manager.backends.vault.token import Token, parse_lookup, with_lookup, with_renewal

log = logging.getLogger(__name__)

LOOKUP_SELF = "lookup-self"
RENEW_SELF = "renew-self"
REVOKE_SELF = "revoke-self"

REVOCATION_TIMEOUT = 1.0
"""Seconds that a revocation may take."""


class RenewalMetrics(Protocol):
    """Metrics of these requests. `error` is "refused" or the name of the error's class."""

    def renewal_error(self, operation: str, error: str) -> None: ...


class TokenAuth:
    """Sends the requests. Times are in seconds on Trio's clock."""

    def __init__(self, client: VaultClient, metrics: RenewalMetrics, *, random: Random) -> None:
        self._client = client
        self._metrics = metrics
        self._gate = RetryGate(random)

    @property
    def retry_at(self) -> float:
        """When the backoff ends."""
        return self._gate.retry_at

    async def lookup_self(self, token: Token) -> Token | None:
        """Return the token with its present TTL; None if it is not valid.

        If a policy forbids the lookup, the token is valid, and returned as it is.

        Raises:
            Unavailable: The request failed.
        """
        sent_at = trio.current_time()
        response = await self._send("GET", LOOKUP_SELF, token, body=None)
        if response.status != OK:
            if forbidden_by_policy(response):
                return token
            self._metrics.renewal_error(LOOKUP_SELF, "refused")
            return None
        lookup = parse_lookup(response.body)
        if lookup is None:
            raise self._malformed(LOOKUP_SELF)
        return with_lookup(token, lookup, sent_at=sent_at)

    async def renew_self(self, token: Token, *, increment: float) -> Token | None:
        """Return the renewed token; None if Vault refuses. `increment` is the TTL that is asked for, in seconds.

        Raises:
            Unavailable: The request failed.
        """
        sent_at = trio.current_time()
        response = await self._send("POST", RENEW_SELF, token, body={"increment": math.ceil(increment)})
        if response.status != OK:
            self._metrics.renewal_error(RENEW_SELF, "refused")
            log.warning("Vault refused to renew the token", extra={"fields": {"status": response.status}})
            return None
        renewed = with_renewal(token, response.body, sent_at=sent_at)
        if renewed is None:
            raise self._malformed(RENEW_SELF)
        return renewed

    async def revoke_self(self, token: Token) -> None:
        """Try once to revoke the token."""
        with trio.move_on_after(REVOCATION_TIMEOUT), suppress(BackendError):
            await self._client.request("POST", f"auth/token/{REVOKE_SELF}", operation=REVOKE_SELF, token=token.secret)

    async def _send(self, method: str, operation: str, token: Token, *, body: dict[str, int] | None) -> Response:
        """Return the response if it is a 200 or a refusal.

        Raises:
            Unavailable: It is something else, or too early for a retry.
        """
        self._gate.check()
        path = f"auth/token/{operation}"
        try:
            response = await self._client.request(method, path, operation=operation, token=token.secret, body=body)
            if response.status != OK and not is_refusal(response):
                raise unavailable(response)
        except BackendError as error:
            self._metrics.renewal_error(operation, type(error).__name__)
            raise self._gate.failed(error) from None
        self._gate.succeeded()
        return response

    def _malformed(self, operation: str) -> Unavailable:
        return self._gate.failed(
            Unavailable.of_store(f"the response to {operation} is malformed: does vault.url name a Vault?")
        )
