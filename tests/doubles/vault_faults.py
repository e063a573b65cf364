"""What a Vault may do to its clients: each trouble is a context in which the double behaves like that.

with reads(answers(500))(vault): ...        # all reads fail
with reads(late(60), of="app")(vault): ...  # those of secret/data/app are not answered in time
with listings(answers(405))(vault): ...
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import msgspec
import trio

from tests.doubles.vault import FORBIDDEN, Request, Response, VaultState
from tests.doubles.vault_tokens import Credentials

Trouble = Callable[[VaultState], AbstractContextManager[None]]
Condition = Callable[[Request], bool]

TOO_LARGE = b" " * (8 * 1024 * 1024 + 1)


class Ill(NamedTuple):
    """How a request is treated: it arrives late, and is answered in Vault's stead."""

    answer: Callable[[Request], Response | None] = lambda _: None
    delay: float = 0.0


def answers(status: int, *words: str) -> Ill:
    """With a status, and what Vault says with it."""
    return Ill(lambda _: rejection(status, *words))


def forbids() -> Ill:
    """As a policy does."""
    return answers(403, FORBIDDEN)


def limits(*, retry_after: int | None = None) -> Ill:
    """As a quota does, which names the path."""
    return Ill(lambda request: over_quota(request, retry_after=retry_after))


def says(body: bytes) -> Ill:
    """With a 200 and this body."""
    return Ill(lambda _: Response(200, body))


def late(seconds: float) -> Ill:
    """As always, but so late."""
    return Ill(delay=seconds)


def reads(ill: Ill, *, of: str = "") -> Trouble:
    """All reads, or those of paths that end like this."""
    return _spoilt(ill, lambda request: is_read(request) and request.path.endswith(of))


def listings(ill: Ill) -> Trouble:
    return _spoilt(ill, is_listing)


def everything(ill: Ill) -> Trouble:
    """All but sys/health, which says of itself how Vault is."""
    return _spoilt(ill, lambda request: request.path != "sys/health")


def quota(per_second: int) -> Trouble:
    """So many reads and listings pass in each second."""
    passed: dict[int, int] = {}

    def answer(request: Request) -> Response | None:
        second = int(trio.current_time())
        passed[second] = passed.get(second, 0) + 1
        return over_quota(request) if passed[second] > per_second else None

    return _spoilt(Ill(answer), lambda request: is_read(request) or is_listing(request))


@contextmanager
def sealed(vault: VaultState) -> Generator[None]:
    with vault.sealed():
        yield


@contextmanager
def tokens_dead(vault: VaultState) -> Generator[None]:
    """Those that there are; a login brings another one."""
    for token in vault.tokens.alive():
        vault.revoke_token(token)
    yield


def login_refused(credentials: Credentials) -> Trouble:
    @contextmanager
    def trouble(vault: VaultState) -> Generator[None]:
        vault.revoke_secret_id(credentials)
        with tokens_dead(vault):
            yield
        vault.allow_secret_id(credentials)

    return trouble


def is_read(request: Request) -> bool:
    return request.method == "GET" and "/data/" in request.path


def is_listing(request: Request) -> bool:
    return request.params.get("list") == "true"


def rejection(status: int, *words: str, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Response(status, msgspec.json.encode({"errors": words}), headers)


def over_quota(request: Request, *, retry_after: int | None = None) -> Response:
    return rejection(429, f'request path "{request.path}": rate limit quota exceeded', retry_after=retry_after)


def _spoilt(ill: Ill, when: Condition) -> Trouble:
    @contextmanager
    def trouble(vault: VaultState) -> Generator[None]:
        fault, delay = vault.fault, vault.delay
        vault.fault = lambda request: ill.answer(request) if when(request) else fault(request) if fault else None
        vault.delay = lambda request: ill.delay if when(request) else delay(request)
        yield
        vault.fault, vault.delay = fault, delay

    return trouble
