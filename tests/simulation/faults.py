"""What may befall one request: each kind of fault says which steps it can meet, and how long its traces last.

A treatment is data. The road (road.py) carries it out, so every kind can meet every request of its steps.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import msgspec

from secrets_manager.controller.contention import SLOW
from secrets_manager.net.exchange import Answer
from tests.doubles.vault import FORBIDDEN, Response
from tests.doubles.vault_faults import rejection
from tests.simulation.steps import OF_KUBERNETES, OF_VAULT, Step

NEVER = 1e6
"""Seconds: longer than anybody waits."""


class Treatment(NamedTuple):
    """How one request is treated. Times in seconds.

    `there` and `back` are those of the request and its answer. `arrivals` is how often it reaches the server. The
    answer is the server's own, or `instead` of it. `refused` comes before the server, `broken` after it.
    """

    there: float = 0.0
    back: float = 0.0
    arrivals: int = 1
    instead: Answer | None = None
    refused: bool = False
    broken: bool = False
    halved: bool = False
    behind: float = 0.0
    """By so much the state is older that a list or watch is answered from."""
    cut_after: int = 0
    """Bytes after which the body of a watch ends with an error; 0: never."""
    silent_after: float = NEVER
    meddled: str = ""
    """What others do to the object of a write: when it is, and what it is."""
    dies: str = ""
    """The replica is killed "before" the request has arrived, or "after"."""
    struck: str = ""
    """What befalls the replica right after the request has left it, for some `seconds`."""
    seconds: float = 0.0
    tokens_die: bool = False
    """All that Vault has granted, before the request arrives."""


class Kind(NamedTuple):
    """`recovery` is for how many seconds the program may still suffer when it is over."""

    steps: tuple[Step, ...]
    treat: Callable[[Random], Treatment]
    recovery: float


def always(treatment: Treatment) -> Callable[[Random], Treatment]:
    return lambda _: treatment


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


SHED = Answer(429, [(b"Retry-After", b"2")], b"Too many requests, please try again later.")
HTML = Answer(200, [], b"<html>")
ODD = Answer(200, [], b'{"data": {"data": []}, "metadata": {}, "kind": 1}')

MEDDLING = ("edit", "remove", "undefine", "take")
"""Others change the Secret, delete it, delete its definition, or make a Secret of that name."""

QUEUE, WATCH, PROBE, LOGIN = 70.0, 40.0, 75.0, 30.0
"""Seconds: the longest backoffs of the queue, of a watch, of reads that fail and of logins, each with one timeout."""
SILENCE = 110.0
"""After which a watch that has fallen silent is given up, and listed or watched again."""

KUBERNETES, VAULT = OF_KUBERNETES, OF_VAULT
BOTH = KUBERNETES + VAULT
CALLS = tuple(step for step in KUBERNETES if step is not Step.WATCH)
ANY = max(QUEUE, PROBE) + LOGIN

KINDS: dict[str, Kind] = {
    "lost": Kind(BOTH, always(Treatment(refused=True)), ANY),
    "vanished": Kind(BOTH, always(Treatment(arrivals=0, back=NEVER)), ANY),
    "answered in vain": Kind(BOTH, always(Treatment(broken=True)), ANY),
    "late": Kind(BOTH, lambda random: Treatment(back=random.uniform(0.1, 4.0)), ANY),
    "too late": Kind(BOTH, always(Treatment(back=NEVER)), ANY),
    "delayed": Kind(BOTH, lambda random: Treatment(there=random.uniform(0.1, 25.0)), ANY),
    "twice": Kind(CALLS, always(Treatment(arrivals=2)), QUEUE),
    "halved": Kind(BOTH, always(Treatment(halved=True)), ANY),
    "cut": Kind((Step.WATCH,), lambda random: Treatment(cut_after=random.randint(1, 4000)), WATCH),
    "silent": Kind((Step.WATCH,), lambda random: Treatment(silent_after=random.uniform(0, 60)), SILENCE),
    "old": Kind((Step.LIST, Step.WATCH), lambda random: Treatment(behind=random.uniform(0.5, 30.0)), WATCH + 30),
    "forestalled": Kind(
        (Step.WRITE,),
        lambda random: Treatment(there=random.choice((0.0, 0.5)), meddled=f"before {random.choice(MEDDLING)}"),
        2 * SLOW,
    ),
    "overtaken": Kind(
        (Step.WRITE,),
        lambda random: Treatment(back=random.choice((0.0, 0.5)), meddled=f"after {random.choice(MEDDLING)}"),
        2 * SLOW,
    ),
    "rubbish": Kind(BOTH, always(Treatment(instead=HTML)), ANY),
    "odd": Kind(VAULT, always(Treatment(instead=ODD)), ANY),
    "409": Kind(CALLS, always(Treatment(instead=kubernetes_says(409, "Conflict"))), QUEUE),
    "410": Kind((Step.LIST, Step.WATCH), always(Treatment(instead=kubernetes_says(410, "Expired"))), WATCH),
    "429": Kind(KUBERNETES, always(Treatment(instead=kubernetes_says(429, "TooManyRequests", retry_after=3))), QUEUE),
    "shed": Kind(KUBERNETES, always(Treatment(instead=SHED)), QUEUE),
    "500": Kind(KUBERNETES, always(Treatment(instead=kubernetes_says(500, "InternalError"))), QUEUE),
    "503": Kind(KUBERNETES, always(Treatment(instead=kubernetes_says(503, ""))), QUEUE),
    "forbidden": Kind(
        (Step.READ, Step.LISTING, Step.TOKEN), always(Treatment(instead=vault_says(403, FORBIDDEN))), PROBE
    ),
    "missing": Kind((Step.READ, Step.LISTING), always(Treatment(instead=vault_says(404))), PROBE),
    "limited": Kind(VAULT, always(Treatment(instead=vault_says(429, "rate limit quota exceeded"))), ANY),
    "patience": Kind(VAULT, always(Treatment(instead=vault_says(429, "slow down", retry_after=20))), ANY + 20),
    "error": Kind(VAULT, always(Treatment(instead=vault_says(500, "1 error occurred"))), ANY),
    "gateway": Kind(VAULT, always(Treatment(instead=vault_says(502))), ANY),
    "sealed": Kind(VAULT, always(Treatment(instead=vault_says(503, "Vault is sealed"))), ANY),
    "standby": Kind(VAULT, always(Treatment(instead=vault_says(473))), ANY),
    "refused": Kind((Step.LOGIN,), always(Treatment(instead=vault_says(400, "invalid role or secret ID"))), ANY),
    "killed before": Kind(BOTH, always(Treatment(dies="before")), 0.0),
    "killed after": Kind(BOTH, always(Treatment(dies="after")), 0.0),
    "stopped": Kind(BOTH, always(Treatment(struck="stopped")), 0.0),
    "paused": Kind(BOTH, lambda random: Treatment(struck="paused", seconds=random.uniform(0.5, 60.0)), ANY),
    "cut off": Kind(BOTH, lambda random: Treatment(struck="cut off", seconds=random.uniform(0.5, 60.0)), ANY + SILENCE),
    "tokens die": Kind((Step.READ, Step.LISTING, Step.TOKEN), always(Treatment(tokens_die=True)), PROBE),
}
"""All that may befall a request, by name."""

PAIRS = tuple((name, step) for name, kind in KINDS.items() for step in kind.steps)
"""Every situation that has to be met."""
