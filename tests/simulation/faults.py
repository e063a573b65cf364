"""The kinds of faults that can be injected into one request: for which steps, and how long the program may suffer.

An effect is data, which the network (network.py) carries out: so every kind fits every request of its steps.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import msgspec

from secrets_manager.controller.contention import REWRITE_INTERVAL
from tests.doubles.vault import FORBIDDEN, Response
from tests.doubles.vault_faults import rejection
from tests.simulation.steps import OF_KUBERNETES, OF_VAULT, Answer, Step

NEVER = 1e6
"""Seconds: longer than any timeout."""


class Effect(NamedTuple):
    """The effect of a fault on one request. Times in seconds.

    `there` and `back` are those of the request and its answer. `arrivals` is how often it reaches the server. The
    answer is the server's own, or `instead` of it. `refused` comes before the server, `broken` after it.
    """

    there: float = 0.0
    back: float = 0.0
    arrivals: int = 1
    instead: Answer | None = None
    refused: bool = False
    broken: bool = False
    truncated: bool = False
    behind: float = 0.0
    """How far the state lags behind that answers a list or watch."""
    cut_after: int = 0
    """Bytes after which the body of a watch ends with an error; 0: never."""
    silent_after: float = NEVER
    interference: str = ""
    """A concurrent change of the object of a write: "before" or "after" it, and which."""
    kills: str = ""
    """Kills the replica "before" the request arrives, or "after"."""
    disruption: str = ""
    """Pauses, partitions or stops the replica once it has sent the request, for some `seconds`."""
    seconds: float = 0.0
    warning: str = ""
    """A warning beside the answer of a write; "{}" in it stands for a value of the Secret."""
    revokes_tokens: bool = False
    """Revokes all tokens of Vault before the request arrives."""


class FaultKind(NamedTuple):
    """`recovery`: seconds that the program may need after the fault has ended."""

    steps: tuple[Step, ...]
    draw_effect: Callable[[Random], Effect]
    recovery: float


def always(effect: Effect) -> Callable[[Random], Effect]:
    return lambda _: effect


def kubernetes_says(code: int, reason: str, *, retry_after: int = 0) -> Answer:
    document = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "injected", "reason": reason, "code": code,
    }  # fmt: skip
    headers = [(b"Content-Type", b"application/json")]
    if retry_after:
        headers.append((b"Retry-After", b"%d" % retry_after))
    return Answer(code, headers, msgspec.json.encode(document))


def answer_of(response: Response) -> Answer:
    return Answer(
        response.status, [(name.encode(), text.encode()) for name, text in response.headers.items()], response.body
    )


def vault_says(code: int, *words: str, retry_after: int | None = None) -> Answer:
    return answer_of(rejection(code, *words, retry_after=retry_after))


PATH = "PATH-OF-THE-REQUEST"
"""Stands for the path of the request in an answer."""
SHED = Answer(429, [(b"Retry-After", b"2")], b"Too many requests, please try again later.")
HTML = Answer(200, [], b"<html>")
ODD = Answer(200, [], b'{"data": {"data": []}, "metadata": {}, "kind": 1}')

INTERFERENCE = ("edit", "remove", "undefine", "take")
"""Another client changes the Secret, deletes it, deletes its definition, or creates a Secret of that name."""

WARNINGS = ("metadata.annotations: too many", "spec.template: deprecated since v1.19", "data: unusual value '{}'")

QUEUE, WATCH, PROBE, LOGIN = 70.0, 40.0, 75.0, 30.0
"""Seconds: the longest backoffs of the queue, of a watch, of reads that fail and of logins, each with one timeout."""
SILENCE = 110.0
"""Seconds after which the program gives up a silent watch."""

KUBERNETES, VAULT = OF_KUBERNETES, OF_VAULT
BOTH = KUBERNETES + VAULT
CALLS = tuple(step for step in KUBERNETES if step is not Step.WATCH)
ANY = max(QUEUE, PROBE) + LOGIN

KINDS: dict[str, FaultKind] = {
    "unreachable": FaultKind(BOTH, always(Effect(refused=True)), ANY),
    "request dropped": FaultKind(BOTH, always(Effect(arrivals=0, back=NEVER)), ANY),
    "reset": FaultKind(BOTH, always(Effect(broken=True)), ANY),
    "slow": FaultKind(BOTH, lambda random: Effect(back=random.uniform(0.1, 4.0)), ANY),
    "reply dropped": FaultKind(BOTH, always(Effect(back=NEVER)), ANY),
    "delayed": FaultKind(BOTH, lambda random: Effect(there=random.uniform(0.1, 25.0)), ANY),
    "duplicated": FaultKind(CALLS, always(Effect(arrivals=2)), QUEUE),
    "truncated": FaultKind(BOTH, always(Effect(truncated=True)), ANY),
    "watch cut": FaultKind((Step.WATCH,), lambda random: Effect(cut_after=random.randint(1, 4000)), WATCH),
    "silent": FaultKind((Step.WATCH,), lambda random: Effect(silent_after=random.uniform(0, 60)), SILENCE),
    "stale": FaultKind((Step.LIST, Step.WATCH), lambda random: Effect(behind=random.uniform(0.5, 30.0)), WATCH + 30),
    "changed before": FaultKind(
        (Step.WRITE,),
        lambda random: Effect(there=random.choice((0.0, 0.5)), interference=f"before {random.choice(INTERFERENCE)}"),
        2 * REWRITE_INTERVAL,
    ),
    "changed after": FaultKind(
        (Step.WRITE,),
        lambda random: Effect(back=random.choice((0.0, 0.5)), interference=f"after {random.choice(INTERFERENCE)}"),
        2 * REWRITE_INTERVAL,
    ),
    "warning": FaultKind((Step.WRITE,), lambda random: Effect(warning=random.choice(WARNINGS)), 0.0),
    "html": FaultKind(BOTH, always(Effect(instead=HTML)), ANY),
    "malformed": FaultKind(VAULT, always(Effect(instead=ODD)), ANY),
    "409": FaultKind(CALLS, always(Effect(instead=kubernetes_says(409, "Conflict"))), QUEUE),
    "410": FaultKind((Step.LIST, Step.WATCH), always(Effect(instead=kubernetes_says(410, "Expired"))), WATCH),
    "429": FaultKind(KUBERNETES, always(Effect(instead=kubernetes_says(429, "TooManyRequests", retry_after=3))), QUEUE),
    "shed": FaultKind(KUBERNETES, always(Effect(instead=SHED)), QUEUE),
    "500": FaultKind(KUBERNETES, always(Effect(instead=kubernetes_says(500, "InternalError"))), QUEUE),
    "503": FaultKind(KUBERNETES, always(Effect(instead=kubernetes_says(503, ""))), QUEUE),
    "forbidden": FaultKind(
        (Step.READ, Step.LISTING, Step.TOKEN), always(Effect(instead=vault_says(403, FORBIDDEN))), PROBE
    ),
    "missing": FaultKind((Step.READ, Step.LISTING), always(Effect(instead=vault_says(404))), PROBE),
    "rate limited": FaultKind(VAULT, always(Effect(instead=vault_says(429, "rate limit quota exceeded"))), ANY),
    "within": FaultKind(VAULT, always(Effect(instead=vault_says(429, "slow down", retry_after=20))), ANY + 20),
    "vault 500": FaultKind(VAULT, always(Effect(instead=vault_says(500, f"1 error occurred: {PATH} failed"))), ANY),
    "bad gateway": FaultKind(VAULT, always(Effect(instead=vault_says(502))), ANY),
    "sealed": FaultKind(VAULT, always(Effect(instead=vault_says(503, "Vault is sealed"))), ANY),
    "standby": FaultKind(VAULT, always(Effect(instead=vault_says(473))), ANY),
    "refused": FaultKind((Step.LOGIN,), always(Effect(instead=vault_says(400, "invalid role or secret ID"))), ANY),
    "crash before": FaultKind(BOTH, always(Effect(kills="before")), 0.0),
    "crash after": FaultKind(BOTH, always(Effect(kills="after")), 0.0),
    "terminated": FaultKind(BOTH, always(Effect(disruption="terminated")), 0.0),
    "paused": FaultKind(BOTH, lambda random: Effect(disruption="paused", seconds=random.uniform(0.5, 60.0)), ANY),
    "partition": FaultKind(
        BOTH, lambda random: Effect(disruption="partition", seconds=random.uniform(0.5, 60.0)), ANY + SILENCE
    ),
    "tokens revoked": FaultKind((Step.READ, Step.LISTING, Step.TOKEN), always(Effect(revokes_tokens=True)), PROBE),
}
"""By name."""

CRASHES = ("crash before", "crash after", "terminated", "paused", "partition")
"""Those that end or stop a replica."""

PAIRS = tuple((name, step) for name, kind in KINDS.items() for step in kind.steps)
"""Every pair of fault and step, all of which a nightly run has to cover."""
