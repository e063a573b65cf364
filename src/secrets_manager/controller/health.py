"""Whether the secret store as a whole can be used: a state machine. Pure: no I/O, no clock.

    State    Event                                           Next state
    -------  ----------------------------------------------  -------------------------------------
    Up       a read fails                                    Up, or Down where it was one too many
    Up       a read or a listing is answered                 Up, and no failure counts any more
    Down     the first read at `probe_at` or later           Probing: this read is the probe
    Probing  the probe fails                                 Down, for longer
             the probe ends without a result                 Down, and the next read is the probe
    Down or  a read that began before is answered            Up
    Probing  such a read fails                               as before

A source that always fails says nothing of the store; several different ones in a row do. A refusal is an answer: what
can say "forbidden" is up. While the store is not up, every read but the probe ends at once with `error`. What keeps the
reads away and what ends it are one state: Down has a time for its next probe, and Probing has a probe under way.
"""

from math import inf
from random import Random

import msgspec

from secrets_manager.backends.base import Source, Unavailable
from secrets_manager.controller.read_policy import ReadPolicy


class Up(msgspec.Struct, frozen=True):
    """`failed` are the sources whose reads have failed since the last answer."""

    failed: frozenset[Source] = frozenset()


class Down(msgspec.Struct, frozen=True):
    """`error` speaks of the store, with no word of the request that failed."""

    error: Unavailable
    probe_at: float
    probes: int = 0


class Probing(msgspec.Struct, frozen=True):
    """One read asks whether the store is back."""

    down: Down


Health = Up | Down | Probing


def error_of(health: Health) -> Unavailable | None:
    """Why the store can't be used; None while it is up."""
    match health:
        case Up():
            return None
        case Down(error) | Probing(Down(error)):
            return error


def probe_at(health: Health) -> float:
    """When somebody must ask whether the store is back."""
    return health.probe_at if isinstance(health, Down) else inf


def refusal(health: Health, *, now: float) -> Unavailable | None:
    """What a read that begins now ends with; None where it may ask the store, be it as the probe."""
    return None if now >= probe_at(health) else error_of(health)


def probing(health: Health, *, now: float) -> Health:
    """A read is about to begin: Probing where it is the probe."""
    return Probing(health) if isinstance(health, Down) and now >= health.probe_at else health


def answered(health: Health) -> Up:
    return health if isinstance(health, Up) and not health.failed else Up()


def failed(
    health: Health,
    source: Source,
    error: Unavailable,
    *,
    probe: bool,
    in_use: int,
    now: float,
    policy: ReadPolicy,
    random: Random,
) -> Health:
    """A read has failed. Fewer sources `in_use` than the policy has suspects make all of them suffice."""
    match health:
        case Up(failures):
            suspects = failures | {source}
            if len(suspects) < min(policy.suspects, max(in_use, 1)):
                return Up(suspects)
            probes = 0
        case Probing(down) if probe:
            probes = down.probes + 1
        case _:
            return health
    pause = max(policy.probe.delay(probes + 1, random), error.retry_after or 0.0)
    return Down(error.for_others(), now + pause, probes)


def probe_ended(health: Health, *, now: float) -> Health:
    """The probe has ended without a result."""
    return msgspec.structs.replace(health.down, probe_at=now) if isinstance(health, Probing) else health
