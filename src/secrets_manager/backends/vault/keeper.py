"""Keeps a token usable, and replaces it while the old one still works.

One lock stands before every request about the token, so that a hundred reads that find it dead make one login. Failures
are told to whoever asks until the backoff is over: a Vault in trouble sees one request at a time, not one from each.

Vault answers 403 both for a dead token and for a policy that forbids a path. Only the token's look at itself tells
which; Vault's words, which differ between its versions, are a hint at how soon such a look is worth it again.

A live token keeps the policies that its role had at the login. So while a path is forbidden, a login shows from time to
time whether the role has others by now; if not, its token is given back.
"""

import logging
import math
from contextlib import suppress
from functools import partial
from random import Random
from typing import Protocol

import msgspec
import trio

from secrets_manager.backends.base import BackendError, LoginRefused, Unavailable
from secrets_manager.backends.vault.auth.base import AuthMethod
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.grace import finish
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
from secrets_manager.backoff import Backoff, BackoffManager
from secrets_manager.config import VaultConfig

log = logging.getLogger(__name__)

LOOKUP_SELF = "lookup-self"
RENEW_SELF = "renew-self"
REVOKE_SELF = "revoke-self"

BELIEVED_FOR = 5.0
"""Seconds for which a token that was seen alive is not suspected for what seems to be forbidden by a policy."""
STILLBORN = 2
"""Tokens in a row that were never seen alive, before the next login has to wait. One may be revoked by chance."""
SHORTEST_PAUSE = 0.5
"""Seconds between two looks at the token, however short it lives."""
FAREWELL = 1.0
"""Seconds that a stop may wait until Vault has answered a login, or has revoked a token; so does a new token."""
TRIALS = Backoff(initial=60.0, maximum=600.0, jitter=0.0)
"""The pauses between two logins that look for other policies. They cost Vault a token each."""


class TokenMetrics(Protocol):
    """What is counted of the token's life. `error` is a word of a small vocabulary: refused, or an error's class."""

    def token_ttl(self, seconds: float) -> None: ...

    def renewal_error(self, operation: str, error: str) -> None: ...

    def login_error(self, error: str) -> None: ...


class TokenKeeper:
    """Holds at most one token, that of one login. Times in seconds on Trio's clock."""

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
        self._trials = BackoffManager(TRIALS, reset_after=TRIALS.maximum, random=random)
        self._next_trial = 0.0
        self._lock = trio.Lock()
        self._token: Token | None = None
        self._replaced = trio.Event()
        self._seen_alive_at = -BELIEVED_FOR
        self._unproven = 0

    def __repr__(self) -> str:
        return f"TokenKeeper({self._auth.name}, {self._token})"

    async def token(self) -> Token:
        """The token, after a login if there is none. Raises: Unavailable."""
        if (token := self._living()) is not None:
            return token
        async with self._lock:
            return self._living() or await self._login()

    async def successor(self, refused: Token, *, refused_at: float, by_policy: bool) -> Token | None:
        """What to try instead of a token that a read was refused with; None when its policies are the reason.

        The refusal came at `refused_at`. `by_policy` is what Vault's words tell of the reason.
        Raises: Unavailable.
        """
        async with self._lock:
            token = self._living()
            if token is None:
                return await self._login()
            if token.secret != refused.secret:
                return token
            if self._believed(token, refused_at=refused_at, by_policy=by_policy) or await self._inspect(token):
                return await self._with_other_policies(token)
            return await self._login()

    async def keep_token_valid(self) -> None:
        """Look at the token each polling period, or earlier when its end is near. Until cancelled."""
        try:
            while True:
                pause = await self._look_and_tell()
                with trio.move_on_after(pause):
                    await self._replaced.wait()
        finally:
            token, self._token = self._token, None
            with trio.move_on_after(FAREWELL, shield=True):
                await self._revoke(token)

    async def _look_and_tell(self) -> float:
        """Returns the seconds until the next look."""
        try:
            async with self._lock:
                await self._look()
        except Unavailable as error:
            log.warning("can't keep the Vault token valid", extra={"fields": {"error": str(error)}})
            pause = self._until_next_attempt()
        else:
            pause = self._until_next_look()
        self._metrics.token_ttl(self._token.left(trio.current_time()) if self._token else 0.0)
        return max(SHORTEST_PAUSE, pause)

    def _until_next_attempt(self) -> float:
        now = trio.current_time()
        pause = max(self._logins.retry_at, self._questions.retry_at) - now
        token = self._living()
        return pause if token is None or token.due(now) else min(pause, until_due(token, now=now))

    def _until_next_look(self) -> float:
        period = self._config.token_polling_period
        return min(period, until_due(self._token, now=trio.current_time())) if self._token else period

    async def _look(self) -> None:
        if not await self._will_do():
            await self._login()

    async def _will_do(self) -> bool:
        """Whether the token works, and will until the next look. It is renewed if need be."""
        if self._next_step() is Step.RENEW and await self._renew():
            return self._next_step() is not Step.REPLACE
        token = self._living()
        if token is None or self._next_step() is not Step.KEEP:
            return False
        return token.uses > 0 or await self._inspect(token)  # to look at a token spends one of its uses

    def _next_step(self) -> Step:
        if self._token is None:
            return Step.REPLACE
        return next_step(self._token, now=trio.current_time(), max_token_ttl=self._config.max_token_ttl)

    def _living(self) -> Token | None:
        return self._token if self._token and self._token.alive(trio.current_time()) else None

    def _believed(self, token: Token, *, refused_at: float, by_policy: bool) -> bool:
        """Whether a refusal says nothing against the token: it was seen alive since, or the words don't speak of it."""
        if token.uses > 0:  # it may be spent
            return False
        seen = self._seen_alive_at
        return seen > refused_at or (by_policy and trio.current_time() < seen + BELIEVED_FOR)

    async def _login(self) -> Token:
        """A new token, which is used from now on. Whoever asked for it may leave meanwhile: it is not lost."""
        return await finish(self._exchange, within=FAREWELL)

    async def _exchange(self) -> Token:
        """The old token is revoked: others may wait for its place."""
        token, old = await self._granted(), self._living()
        self._use(token)
        await self._revoke(old)
        return token

    async def _with_other_policies(self, token: Token) -> Token | None:
        """A token with other policies than this one, which works; None where there is none, or it is too early."""
        if trio.current_time() < self._next_trial:
            return None
        self._next_trial = trio.current_time() + self._trials.after_failure(trio.current_time())
        return await finish(partial(self._try_another, token), within=FAREWELL)

    async def _try_another(self, token: Token) -> Token | None:
        try:
            other = await self._granted()
        except Unavailable:  # noted and told; the token that there is goes on
            return None
        if other.policies == token.policies:
            await self._revoke(other)
            return None
        log.info("the role in Vault has other policies than it had at the last login")
        self._use(other)
        await self._revoke(token)
        return other

    async def _granted(self) -> Token:
        self._logins.check()
        try:
            token = await self._auth.login(self._client)
        except BackendError as error:
            self._metrics.login_error(type(error).__name__)
            raise self._logins.failed(error) from None
        return token

    def _use(self, token: Token) -> None:
        self._token = token
        self._unproven += 1
        if token.uses > 0:  # it can't be looked at
            self._proven(trio.current_time())
        self._next_trial = max(self._next_trial, trio.current_time() + TRIALS.initial)
        self._replaced.set()
        self._replaced = trio.Event()
        log.info("logged in to Vault", extra={"fields": {"method": self._auth.name, "ttl": token.ttl}})

    def _proven(self, at: float) -> None:
        """The token was seen alive, and so the login was a good one."""
        self._seen_alive_at = at
        self._unproven = 0
        self._logins.succeeded()

    async def _inspect(self, token: Token) -> bool:
        """Whether the token is alive; if so, what Vault says of its time is noted. Raises: Unavailable."""
        asked_at = trio.current_time()
        reply = await self._ask("GET", LOOKUP_SELF, token)
        if reply.status == OK:
            lookup = lookup_of(reply.body)
            if lookup is None:
                raise self._questions.failed(
                    Unavailable.of_store("the answer to lookup-self is none: does vault.url name a Vault?")
                )
            self._token = looked_up(token, lookup, asked_at=asked_at)
        elif not forbidden_by_policy(reply):
            self._metrics.renewal_error(LOOKUP_SELF, "refused")
            log.warning("the Vault token is dead before its time")
            self._token = None
            if self._unproven >= STILLBORN:
                raise self._logins.failed(
                    LoginRefused.of_store(
                        "Vault takes none of the tokens that it grants: is the role bound to other addresses?"
                    )
                )
            return False
        self._proven(asked_at)
        return True

    async def _renew(self) -> bool:
        """Whether it was granted. Raises: Unavailable, while there is time for another attempt."""
        assert self._token
        token = self._token
        try:
            after = await self._renewed(token)
        except Unavailable as error:
            if not token.due(trio.current_time()):
                raise
            log.warning("can't renew the Vault token", extra={"fields": {"error": str(error)}})
            return False
        self._token = after or msgspec.structs.replace(token, renewable=False)
        return after is not None

    async def _renewed(self, token: Token) -> Token | None:
        """None where Vault refuses. Raises: Unavailable."""
        asked_at = trio.current_time()
        # For less than it was first granted, a renewal would shorten the token's life.
        increment = max(self._config.renew_ttl_increment, token.ttl)
        reply = await self._ask("POST", RENEW_SELF, token, increment=math.ceil(increment))
        if reply.status != OK:
            self._metrics.renewal_error(RENEW_SELF, "refused")
            log.warning("Vault refused to renew the token", extra={"fields": {"status": reply.status}})
            return None
        after = renewed(token, reply.body, asked_at=asked_at)
        if after is None:
            raise self._questions.failed(
                Unavailable.of_store("the answer to renew-self is none: does vault.url name a Vault?")
            )
        self._proven(asked_at)
        return after

    async def _ask(self, method: str, operation: str, token: Token, *, increment: int = 0) -> Reply:
        """The answer about the token itself, when it is a 200 or a refusal. Raises: Unavailable."""
        self._questions.check()
        body = {"increment": increment} if increment else None
        path = f"auth/token/{operation}"
        try:
            reply = await self._client.request(method, path, operation=operation, token=token.secret, body=body)
            if reply.status != OK and reply.status not in REFUSALS:
                raise trouble(reply)
        except BackendError as error:
            self._metrics.renewal_error(operation, type(error).__name__)
            raise self._questions.failed(error) from None
        self._questions.succeeded()
        return reply

    async def _revoke(self, token: Token | None) -> None:
        if token is None:
            return
        with trio.move_on_after(FAREWELL), suppress(BackendError):
            await self._client.request("POST", f"auth/token/{REVOKE_SELF}", operation=REVOKE_SELF, token=token.secret)
