"""Log in to Vault, renew the token, and replace it before it expires.

It does what auto-auth does in Vault Agent, with the renewals of a lifetime watcher in Vault's clients.

One lock serializes all requests about the token, so that many reads with an invalid token lead to one login. Until the
backoff ends, all callers get the last failure: a Vault in trouble gets one request at a time.

Vault returns 403 both for an invalid token and for a path that a policy forbids. Only lookup-self shows which it was.
The error messages, which differ between versions of Vault, are a hint at whether the last lookup can be trusted.

A token keeps the policies that its role had at the login. So while a path is forbidden, a new login checks from time to
time whether the role has other policies. If not, the new token is revoked.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

import msgspec
import trio

from secrets_manager.backends.base import BackendError, Login, LoginRefused, Unavailable
from secrets_manager.backends.vault.auth.base import AuthMethod
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.retry_gate import RetryGate
from secrets_manager.backends.vault.shielding import run_shielded
from secrets_manager.backends.vault.token import Step, Token, next_step, until_due
from secrets_manager.backends.vault.token_auth import RenewalMetrics, TokenAuth
from secrets_manager.backoff import Backoff, BackoffManager
from secrets_manager.config import VaultConfig
from secrets_manager.tokenbucket import TokenBucket

log = logging.getLogger(__name__)

LOOKUP_CACHE_TTL = 5.0
"""Seconds for which the result of a lookup is trusted when a read seems to be forbidden by a policy."""
REVOCATIONS, REVOCATION_PERIOD = 20, 2.0
"""So many tokens may become invalid before they expire, then one in each period of seconds, before logins wait.

Those of a limited number of uses don't count.
"""
UNPROVEN = 5.0
"""A token that no lookup has found valid counts for so many: a role may be bound to other addresses."""
MIN_PAUSE = 0.5
"""Seconds between two polls of the token, however short its TTL is."""
SHUTDOWN_GRACE = 1.0
"""Seconds that a cancelled task waits for the response to a login, and the last revocation may take."""
REVOKED_SOON = (
    "Vault refuses tokens soon after it issued them: "
    "does anything revoke them, or is the role bound to other CIDR blocks?"
)
POLICY_CHECKS = Backoff(initial=60.0, maximum=600.0, jitter=0.0)
"""Delays between logins that check for other policies. Each costs Vault a token."""


class TokenMetrics(RenewalMetrics, Protocol):
    """Metrics of the token. `error` is "refused" or the name of the error's class."""

    def follow_token(self, ttl: Callable[[], float]) -> None: ...

    def login_error(self, error: str) -> None: ...


class TokenManager:
    """Holds at most one token. Times are in seconds on Trio's clock."""

    def __init__(
        self,
        client: VaultClient,
        auth: AuthMethod,
        config: VaultConfig,
        metrics: TokenMetrics,
        *,
        random: Random,
    ) -> None:
        self._client = client
        self._auth = auth
        self._config = config
        self._metrics = metrics
        self._login_gate = RetryGate(random)
        self._token_auth = TokenAuth(client, metrics, random=random)
        self._policy_checks = BackoffManager(POLICY_CHECKS, reset_after=POLICY_CHECKS.maximum, random=random)
        self._next_policy_check = 0.0
        self._lock = trio.Lock()
        self._token: Token | None = None
        self._replaced = trio.Event()
        self._validated_at = -LOOKUP_CACHE_TTL
        self._is_proven = False
        """Whether a lookup has ever found the token valid."""
        self._revocations = TokenBucket(rate=1 / REVOCATION_PERIOD, burst=REVOCATIONS)
        metrics.follow_token(lambda: max(0.0, self.login.expires_at - trio.current_time()))

    def __repr__(self) -> str:
        return f"TokenManager({self._auth.name}, {self._token})"

    @property
    def login(self) -> Login:
        """Whether there is a valid token, and until when."""
        token = self._valid_token()
        return Login(valid=False, expires_at=-math.inf) if token is None else Login(True, token.expires_at)

    async def token(self) -> Token:
        """Return the token, after a login if there is none.

        Raises:
            Unavailable: the login failed.
        """
        if (token := self._valid_token()) is not None:
            return token
        async with self._lock:
            return self._valid_token() or await self._login()

    async def replacement(self, refused: Token, *, refused_at: float, by_policy: bool) -> Token | None:
        """Return another token to retry a refused read with; None if a policy forbids the read.

        Args:
            refused: the token of the read.
            refused_at: when the read was refused.
            by_policy: whether Vault's error messages hint at a policy.

        Raises:
            Unavailable: a lookup or a login failed.
        """
        async with self._lock:
            token = self._valid_token()
            if token is None:
                return await self._login()
            if token.secret != refused.secret:
                return token
            trusted = self._trusts_lookup(token, refused_at=refused_at, by_policy=by_policy)
            if trusted or await self._lookup_self(token):
                return await self._check_policies(token)
            return await self._login()

    async def keep_valid(self) -> None:
        """Renew or replace the token in time, until cancelled; then revoke it."""
        try:
            while True:
                pause = await self._poll()
                with trio.move_on_after(pause):
                    await self._replaced.wait()
        finally:
            token, self._token = self._token, None
            with trio.move_on_after(SHUTDOWN_GRACE, shield=True):
                await self._revoke(token)

    async def _poll(self) -> float:
        """Return the seconds until the next poll."""
        try:
            async with self._lock:
                await self._ensure_valid()
        except Unavailable as error:
            log.warning("can't keep the Vault token valid", extra={"fields": {"error": str(error)}})
            pause = self._until_next_attempt()
        else:
            pause = self._until_next_poll()
        return max(MIN_PAUSE, pause)

    def _until_next_attempt(self) -> float:
        now = trio.current_time()
        pause = max(self._login_gate.retry_at, self._token_auth.retry_at) - now
        token = self._valid_token()
        return pause if token is None or token.is_due(now) else min(pause, until_due(token, now=now))

    def _until_next_poll(self) -> float:
        period = self._config.token_polling_period
        return min(period, until_due(self._token, now=trio.current_time())) if self._token else period

    async def _ensure_valid(self) -> None:
        if not await self._is_usable():
            await self._login()

    async def _is_usable(self) -> bool:
        """Return whether the token is valid and not due, after a renewal if necessary."""
        if self._next_step() is Step.RENEW and await self._renew():
            return self._next_step() is not Step.REPLACE
        token = self._valid_token()
        if token is None or self._next_step() is not Step.KEEP:
            return False
        return token.uses > 0 or await self._lookup_self(token)  # a lookup would use it up

    def _next_step(self) -> Step:
        if self._token is None:
            return Step.REPLACE
        return next_step(self._token, now=trio.current_time(), max_token_ttl=self._config.max_token_ttl)

    def _valid_token(self) -> Token | None:
        return self._token if self._token and self._token.is_valid(trio.current_time()) else None

    def _trusts_lookup(self, token: Token, *, refused_at: float, by_policy: bool) -> bool:
        """Return whether the last lookup shows that the token is valid despite a refusal."""
        if token.uses > 0:  # they may be used up
            return False
        at = self._validated_at
        return at > refused_at or (by_policy and trio.current_time() < at + LOOKUP_CACHE_TTL)

    async def _login(self) -> Token:
        """Replace the token. If the calling task is cancelled meanwhile, the new token is not lost."""
        return await run_shielded(self._log_in_and_install, grace=SHUTDOWN_GRACE)

    async def _log_in_and_install(self) -> Token:
        """Revoke the old token, too: Vault may limit their number."""
        token, old = await self._new_token(), self._valid_token()
        self._install(token)
        await self._revoke(old)
        return token

    async def _check_policies(self, token: Token) -> Token | None:
        """Return a token with other policies than this one; None if there is none, or it is too early to check."""
        if trio.current_time() < self._next_policy_check:
            return None
        self._next_policy_check = trio.current_time() + self._policy_checks.after_failure(trio.current_time())
        return await run_shielded(partial(self._log_in_if_policies_changed, token), grace=SHUTDOWN_GRACE)

    async def _log_in_if_policies_changed(self, token: Token) -> Token | None:
        try:
            other = await self._new_token()
        except Unavailable:  # it is recorded; the current token stays in use
            return None
        if other.policies == token.policies:
            await self._revoke(other)
            return None
        log.info("the role in Vault has other policies than it had at the last login")
        self._install(other)
        await self._revoke(token)
        return other

    async def _new_token(self) -> Token:
        self._login_gate.check()
        try:
            token = await self._auth.login(self._client)
        except BackendError as error:
            self._metrics.login_error(type(error).__name__)
            raise self._login_gate.failed(error) from None
        return token

    def _install(self, token: Token) -> None:
        self._token, self._is_proven = token, False
        if token.uses > 0:  # a lookup would use it up
            self._mark_valid(trio.current_time())
        self._next_policy_check = max(self._next_policy_check, trio.current_time() + POLICY_CHECKS.initial)
        self._replaced.set()
        self._replaced = trio.Event()
        log.info("logged in to Vault", extra={"fields": {"method": self._auth.name, "ttl": token.ttl}})

    def _mark_valid(self, at: float) -> None:
        """Record that Vault accepted the token, and so that the login succeeded."""
        self._validated_at, self._is_proven = at, True
        self._login_gate.succeeded()

    async def _lookup_self(self, token: Token) -> bool:
        """Return whether the token is valid. Update its TTL.

        Raises:
            Unavailable: The request failed.
        """
        sent_at = trio.current_time()
        found = await self._token_auth.lookup_self(token)
        if found is None:
            log.warning("the Vault token became invalid before it expired")
            self._token = None
            weight = 1.0 if self._is_proven else UNPROVEN
            if token.uses == 0 and (wait := self._revocations.reserve(trio.current_time(), weight)):
                raise self._login_gate.failed(LoginRefused.of_store(REVOKED_SOON, retry_after=wait))
            return False
        self._token = found
        self._mark_valid(sent_at)
        return True

    async def _renew(self) -> bool:
        """Renew the token. Return whether Vault allowed it.

        Raises:
            Unavailable: it failed, and there is time for a retry.
        """
        assert self._token
        token, sent_at = self._token, trio.current_time()
        # A smaller increment than the TTL would shorten it.
        increment = max(self._config.renew_ttl_increment, token.ttl)
        try:
            after = await self._token_auth.renew_self(token, increment=increment)
        except Unavailable as error:
            if not token.is_due(trio.current_time()):
                raise
            log.warning("can't renew the Vault token", extra={"fields": {"error": str(error)}})
            return False
        self._token = after or msgspec.structs.replace(token, renewable=False)
        if after is not None:
            self._mark_valid(sent_at)
        return after is not None

    async def _revoke(self, token: Token | None) -> None:
        if token is not None:
            await self._token_auth.revoke_self(token)
