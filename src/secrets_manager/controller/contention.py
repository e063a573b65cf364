"""Whether somebody works against us on one Secret, and when it may be written again: a pure state machine.

    state      event                     then                          next state
    ---------  ------------------------  ----------------------------  -----------------------------------------------
    any        nothing lacks             rest                          Calm, as before
    Calm       wanted: lacks fields      write                         Calm
               found: lacks fields       write                         Calm, with one revert more
               found: the same fields    wait for the next turn        Contended since the last revert
                 for the third time
               answered: lacks fields    write, once more              Doubtful
    Doubtful   answered: lacks fields    wait for the next turn        Contended since now
    Contended  wanted: lacks fields      write                         Contended
               found: before its turn    wait for the rest of it       Contended
               found: in its turn        write                         Contended
               answered                  wait for the next turn        Contended since now
               nothing lacks, in its     rest                          Calm, without reverts
                 turn or later

`wanted` is the first look after a change of values or definition, `found` each other one, and `answered` the look at
the reply to our own write, where nobody but admission had a hand. All tell which fields of the Secret lack what is
wanted. A turn comes SLOW seconds after the last rewrite. Until then nothing but a change of what is wanted is written,
so that others cost a write a minute at most, and in the end it has been as written for so long.

A write that fails is no event: the state stays as it was before the look that led to it.
"""

from enum import Enum, auto
from typing import NamedTuple

SLOW = 60.0
"""Seconds between two rewrites of a Secret that somebody works against, and how long it must then stay as it is."""
REVERTS, WHILE = 2, 300.0
"""So many changes of the same fields within so many seconds are undone at once: people do that. More are contention."""

Fields = frozenset[tuple[str, ...]]


class Look(Enum):
    """What led to the look at the Secret."""

    WANTED = auto()
    FOUND = auto()
    ANSWERED = auto()


class Revert(NamedTuple):
    at: float
    fields: Fields


class Calm(NamedTuple):
    """All is well: foreign changes are undone at once, and remembered for a while."""

    reverts: tuple[Revert, ...] = ()


class Doubtful(NamedTuple):
    """The reply to our write differs from what was sent: perhaps somebody was between."""

    reverts: tuple[Revert, ...] = ()


class Contended(NamedTuple):
    """Somebody undoes what we write. `since` is the last rewrite."""

    since: float


State = Calm | Doubtful | Contended


class Step(NamedTuple):
    """What follows. `wait` is None where there is nothing to do, 0 where the Secret is to be written now."""

    state: State
    wait: float | None


def step(state: State, look: Look, fields: Fields, now: float) -> Step:
    """Take one look: `fields` are those that lack what is wanted. See the table above."""
    match state:
        case Contended():
            return _in_contention(state, look, fields, now)
        case Calm(reverts) | Doubtful(reverts) if not fields:
            return Step(Calm(reverts), None)
        case Doubtful():
            return Step(Contended(now), SLOW)
        case Calm(reverts) if look is Look.ANSWERED:
            return Step(Doubtful(reverts), 0.0)
        case Calm() if look is Look.WANTED:
            return Step(state, 0.0)
        case Calm():
            return _changed(state, fields, now)


def _changed(state: Calm, fields: Fields, now: float) -> Step:
    """Somebody changed what is not theirs: people do that now and then."""
    recent = tuple(revert for revert in state.reverts if now - revert.at < WHILE)
    same = [revert.at for revert in recent if revert.fields & fields]
    if len(same) >= REVERTS:
        return _in_contention(Contended(max(same)), Look.FOUND, fields, now)
    return Step(Calm((*recent, Revert(now, fields))), 0.0)


def _in_contention(state: Contended, look: Look, fields: Fields, now: float) -> Step:
    left = state.since + SLOW - now
    if look is Look.ANSWERED:
        return Step(Contended(now), SLOW)
    if fields and (look is Look.WANTED or left <= 0):
        return Step(state, 0.0)
    return Step(state, left) if left > 0 else Step(Calm(), None)
