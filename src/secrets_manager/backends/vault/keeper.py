"""Keeps a token usable, and replaces it while the old one still works.

One lock stands before every request about the token, so that a hundred reads that find it dead make one login. Failures
are told to whoever asks until the backoff is over: a Vault in trouble sees one request at a time, not one from each.

Vault answers 403 both for a dead token and for a policy that forbids a path. Only the token's look at itself tells
which, and what it found is believed for some seconds: a forbidden path is read again and again.
"""

import logging
import math
from contextlib import suppress
from random import Random
from typing import Protocol

import msgspec
import trio

from secrets_manager.backends.base import BackendError, Unavailable
from secrets_manager.backends.vault.auth.base import AuthMethod
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.patience import Patience
from secrets_manager.backends.vault.replies import OK, REFUSALS, Reply, forbidden_by_policy, trouble
from secrets_manager.backends.vault.token import (
    Step,
    Token,
    looked_up,
    lookup_of,
    next_step,
    renewed,
    until_due,
)
from secrets_manager.config import VaultConfig

log = logging.getLogger(__name__)

LOOKUP_SELF = "lookup-self"
RENEW_SELF = "renew-self"

BELIEVED_FOR = 5.0
"""Seconds for which a token that was seen alive, or was just granted, is not suspected again."""
SHORTEST_PAUSE = 0.5
"""Seconds between two looks at the token, however short it lives."""
FAREWELL = 1.0
"""Seconds that a stop may wait for Vault."""


class TokenMetrics(Protocol):
    """What is counted of the token's life. `error` is a word of a small vocabulary."""

    def token_ttl(self, seconds: float) -> None: ...

    def renewal_error(self, operation: str, error: str) -> None: ...

    def login_error(self, error: str) -> None: ...


class TokenKeeper:
    """Holds at most one token, that of this process. Times in seconds on Trio's clock."""

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
        self._logins = Patience(random)
        self._questions = Patience(random)
        self._lock = trio.Lock()
        self._token: Token | None = None
        self._replaced = trio.Event()
        self._seen_alive_at = -BELIEVED_FOR

    def __repr__(self) -> str:
        return f"TokenKeeper({self._auth.name}, {self._token})"

    async def token(self) -> Token:
        """The token, after a login if there is none. Raises: Unavailable."""
        if (token := self._living()) is not None:
            return token
        async with self._lock:
            return self._living() or await self._login()

    async def successor(self, refused: Token) -> Token | None:
        """What to try instead of a token that a read was refused with; None when its policies are the reason.

        Raises: Unavailable.
        """
        async with self._lock:
            token = self._living()
            if token is None:
                return await self._login()
            if token.secret != refused.secret:
                return token
            if self._believed(token) or await self._inspect(token):
                return None
            return await self._login()

    async def keep_token_valid(self) -> None:
        """Look at the token each polling period, or earlier when its end is near. Until cancelled."""
        try:
            while True:
                pause = await self._look_and_tell()
                with trio.move_on_after(pause):
                    await self._replaced.wait()
        finally:
            with trio.move_on_after(FAREWELL, shield=True):
                await self._revoke()

    async def _look_and_tell(self) -> float:
        """Returns the seconds until the next look."""
        try:
            async with self._lock:
                await self._look()
        except Unavailable as error:
            log.warning("can't keep the Vault token valid", extra={"fields": {"error": str(error)}})
            pause = max(self._logins.retry_at, self._questions.retry_at) - trio.current_time()
        else:
            pause = self._until_next_look()
        self._metrics.token_ttl(self._token.left(trio.current_time()) if self._token else 0.0)
        return max(SHORTEST_PAUSE, pause)

    def _until_next_look(self) -> float:
        period = self._config.token_polling_period
        return min(period, until_due(self._token, now=trio.current_time())) if self._token else period

    async def _look(self) -> None:
        token = self._living()
        if token is None or not await self._seems_alive(token) or await self._renew_if_due() is Step.REPLACE:
            await self._login()

    async def _seems_alive(self, token: Token) -> bool:
        return token.uses > 0 or await self._inspect(token)  # to look at a token spends one of its uses

    async def _renew_if_due(self) -> Step:
        if self._next_step() is Step.RENEW:
            await self._renew()
        return self._next_step()

    def _next_step(self) -> Step:
        if self._token is None:
            return Step.REPLACE
        return next_step(self._token, now=trio.current_time(), max_token_ttl=self._config.max_token_ttl)

    def _living(self) -> Token | None:
        return self._token if self._token and self._token.left(trio.current_time()) > 0 else None

    def _believed(self, token: Token) -> bool:
        return token.uses == 0 and trio.current_time() < self._seen_alive_at + BELIEVED_FOR

    async def _login(self) -> Token:
        self._logins.check()
        try:
            token = await self._auth.login(self._client)
        except BackendError as error:
            self._metrics.login_error("unavailable")
            raise self._logins.failed(error) from None
        self._logins.succeeded()
        self._token, self._seen_alive_at = token, trio.current_time()
        self._replaced.set()
        self._replaced = trio.Event()
        log.info("logged in to Vault", extra={"fields": {"method": self._auth.name, "ttl": token.ttl}})
        return token

    async def _inspect(self, token: Token) -> bool:
        """Whether the token is alive; if so, what Vault says of its time is noted."""
        asked_at = trio.current_time()
        reply = await self._ask("GET", LOOKUP_SELF, token)
        if reply.status == OK:
            lookup = lookup_of(reply.body)
            if lookup is None:
                raise self._questions.failed(
                    Unavailable("the answer to lookup-self is none: does vault.url name a Vault?")
                )
            self._token = looked_up(token, lookup, asked_at=asked_at)
        elif not forbidden_by_policy(reply):
            self._metrics.renewal_error(LOOKUP_SELF, "refused")
            log.warning("the Vault token is dead before its time")
            self._token = None
            return False
        self._seen_alive_at = asked_at
        return True

    async def _renew(self) -> None:
        assert self._token
        token, asked_at = self._token, trio.current_time()
        # For less than it was first granted, a renewal would shorten the token's life.
        increment = max(self._config.renew_ttl_increment, token.ttl)
        reply = await self._ask("POST", RENEW_SELF, token, increment=math.ceil(increment))
        if reply.status == OK:
            after = renewed(token, reply.body, asked_at=asked_at)
            if after is None:
                raise self._questions.failed(
                    Unavailable("the answer to renew-self is none: does vault.url name a Vault?")
                )
            self._token = after
        else:
            self._metrics.renewal_error(RENEW_SELF, "refused")
            log.warning("Vault refused to renew the token", extra={"fields": {"status": reply.status}})
            self._token = msgspec.structs.replace(token, renewable=False)

    async def _ask(self, method: str, operation: str, token: Token, *, increment: int = 0) -> Reply:
        """The answer about the token itself, when it is a 200 or a refusal. Raises: Unavailable."""
        self._questions.check()
        body = {"increment": increment} if increment else None
        try:
            reply = await self._client.request(method, f"auth/token/{operation}", token=token.secret, body=body)
            if reply.status != OK and reply.status not in REFUSALS:
                raise trouble(reply)
        except BackendError as error:
            self._metrics.renewal_error(operation, "unavailable")
            raise self._questions.failed(error) from None
        self._questions.succeeded()
        return reply

    async def _revoke(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            with suppress(BackendError):
                await self._client.request("POST", "auth/token/revoke-self", token=token.secret)
