"""The troubles of Vault and of Kubernetes that the scenes of two worlds are put through, by name.

Those of Vault are made of vault_faults.py, those of Kubernetes of faults.py, on each kind of request that the program
lives by. Each says how long the program may work on once it is over.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import trio

from secrets_manager.controller.secret_writer import ATTEMPTS
from tests.controller.two_worlds import PERIOD, TwoWorlds
from tests.doubles import faults as fault
from tests.doubles import vault_faults as vault
from tests.doubles.faults import Condition, Fault
from tests.doubles.vault_faults import Trouble

DURATION = 30.0
"""Seconds for which both worlds are in trouble."""
READ_TIMEOUT, KUBE_TIMEOUT = 5.0, 10.0
PROBE = 15.0
"""Seconds between two probes of a store that is down, at most."""
LOGIN = 15.0
"""Seconds between two attempts at a login, or two lookups of the token, at most."""
QUEUE = 60.0
"""The longest backoff of the queue."""
WATCH = 30.0
"""The longest backoff of a watch."""
RETRY_AFTER = 20
"""The Retry-After, in seconds."""


class VaultTrouble(NamedTuple):
    """`recovery` is how many seconds the program may still suffer when it is over."""

    begin: Callable[[TwoWorlds], Trouble]
    recovery: float = 0.0


class KubeTrouble(NamedTuple):
    """What happens to all requests of a kind. `recovery` as with Vault.

    `attempts` is how often one try may write, and `longest` how many seconds one item may be worked on.
    """

    kind: Condition
    fault: Callable[[TwoWorlds, trio.Nursery], Fault]
    recovery: float
    attempts: int = 1
    longest: float = 2 * KUBE_TIMEOUT


@contextmanager
def in_trouble(
    worlds: TwoWorlds, nursery: trio.Nursery, of_vault: VaultTrouble, of_kube: KubeTrouble
) -> Generator[None]:
    """Let both worlds be in trouble. Watches restart, so that it befalls them too."""
    with of_vault.begin(worlds)(worlds.scene.vault):
        worlds.scene.faults.always(of_kube.fault(worlds, nursery), when=of_kube.kind)
        worlds.scene.cluster.end_watches()
        yield
    worlds.scene.faults.heal()


def recovery(of_vault: VaultTrouble, of_kube: KubeTrouble) -> float:
    """Seconds after the end of both within which all is right: two periods, and what the backoffs have left."""
    return 2 * PERIOD + of_vault.recovery + of_kube.recovery


def one(ill: vault.Ill) -> Callable[[TwoWorlds], Trouble]:
    """The path `one` of each folder, which is shared."""
    return lambda _: vault.reads(ill, of="/one")


def every(ill: vault.Ill) -> Callable[[TwoWorlds], Trouble]:
    return lambda _: vault.reads(ill)


def listing(ill: vault.Ill) -> Callable[[TwoWorlds], Trouble]:
    return lambda _: vault.listings(ill)


VAULT: dict[str, VaultTrouble] = {
    "403 of a path": VaultTrouble(one(vault.forbids())),
    "404 of a path": VaultTrouble(one(vault.answers(404))),
    "429 of a path": VaultTrouble(one(vault.limits())),
    "429 of a path, with Retry-After": VaultTrouble(one(vault.limits(retry_after=RETRY_AFTER))),
    "500 of a path": VaultTrouble(one(vault.answers(500, "1 error occurred"))),
    "502 of a path": VaultTrouble(one(vault.answers(502))),
    "503 of a path": VaultTrouble(one(vault.answers(503))),
    "a path times out": VaultTrouble(one(vault.late(60)), READ_TIMEOUT),
    "a path is malformed": VaultTrouble(one(vault.says(b'{"data": {"data": []}}'))),
    "a path is too large": VaultTrouble(one(vault.says(vault.TOO_LARGE))),
    "429": VaultTrouble(every(vault.limits()), PROBE),
    "429, with Retry-After": VaultTrouble(every(vault.limits(retry_after=RETRY_AFTER)), RETRY_AFTER),
    "502": VaultTrouble(every(vault.answers(502)), PROBE),
    "all time out": VaultTrouble(every(vault.late(60)), PROBE + READ_TIMEOUT),
    "all are malformed": VaultTrouble(every(vault.says(b"<html>"))),
    "sealed": VaultTrouble(lambda _: vault.sealed, PROBE + LOGIN),
    "standby": VaultTrouble(lambda _: vault.everything(vault.answers(473)), PROBE + LOGIN),
    "a quota": VaultTrouble(lambda _: vault.quota(2), PROBE),
    "tokens dead": VaultTrouble(lambda _: vault.tokens_dead),
    "login refused": VaultTrouble(lambda worlds: vault.login_refused(worlds.scene.credentials), PROBE + LOGIN),
    "listing 403": VaultTrouble(listing(vault.forbids())),
    "listing 404": VaultTrouble(listing(vault.answers(404))),
    "listing 405": VaultTrouble(listing(vault.answers(405, "unsupported operation"))),
    "listing 429": VaultTrouble(listing(vault.limits())),
    "listing 500": VaultTrouble(listing(vault.answers(500))),
    "listing malformed": VaultTrouble(listing(vault.says(b'{"data": {"keys": 1}}'))),
    "listing slow": VaultTrouble(listing(vault.late(3))),
    "listing times out": VaultTrouble(listing(vault.late(60)), READ_TIMEOUT),
}


def always(the_fault: Fault) -> Callable[[TwoWorlds, trio.Nursery], Fault]:
    return lambda _, __: the_fault


KINDS: dict[str, tuple[Condition, float]] = {
    "list": (lambda request: is_collection(request) and not fault.is_watch(request), WATCH + KUBE_TIMEOUT),
    "watch": (fault.is_watch, WATCH + KUBE_TIMEOUT),
    "Secret": (lambda request: fault.is_write(request) and is_of_secrets(request), QUEUE + KUBE_TIMEOUT),
    "status": (lambda request: request.url.path.endswith("/status"), QUEUE + KUBE_TIMEOUT),
}
FAULTS: dict[str, Callable[[TwoWorlds, trio.Nursery], Fault]] = {
    "lost": always(fault.lose_request()),
    "answered in vain": always(fault.lose_reply()),
    "late": always(fault.late(3)),
    "too late": always(fault.late(60)),
    "delayed": lambda _, nursery: fault.delayed(4, nursery=nursery),
    "twice": always(fault.twice),
    "409": always(fault.answer(409, reason="Conflict")),
    "410": always(fault.answer(410, reason="Expired")),
    "429": always(fault.answer(429, reason="TooManyRequests", headers={"Retry-After": "3"})),
    "429 of all": always(fault.rubbish(b"Too many requests, please try again later.", status=429)),
    "500": always(fault.answer(500, reason="InternalError")),
    "503": always(fault.answer(503)),
    "rubbish": always(fault.rubbish(b"<html>")),
    "old": lambda worlds, _: fault.as_of(worlds.scene.cluster.storage.revision),
    "cut": always(fault.cut(100, error=True)),
}
KUBE: dict[str, KubeTrouble] = {
    f"{kind} {name}": KubeTrouble(condition, make, recovery)
    for kind, (condition, recovery) in KINDS.items()
    for name, make in FAULTS.items()
    if name != "old" or kind == "list"
}
KUBE["Secret 409"] = KUBE["Secret 409"]._replace(attempts=ATTEMPTS)  # each reads again at once, as after a conflict
for _kind in KINDS:  # the whole client is held back, and who is unlucky for as long as the server is short
    KUBE[f"{_kind} 429 of all"] = KUBE[f"{_kind} 429 of all"]._replace(longest=DURATION + 2 * KUBE_TIMEOUT)


def is_of_secrets(request: httpx.Request) -> bool:
    return "/secrets" in request.url.path.replace("/secrets-manager", "")


def is_collection(request: httpx.Request) -> bool:
    return request.method == "GET" and request.url.path.endswith(("/secrets", "/secretdefinitions"))
