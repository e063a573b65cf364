"""Detect that another manager contends for a Secret, and pace rewrites: a pure state machine.

    state      event                          then                        next state
    ---------  -----------------------------  --------------------------  --------------------------------------------
    any        no difference                  rest                        Stable, as before
    Stable     DESIRED_CHANGED                write                       Stable
               RESYNCED                       write                       Stable, with one revert more
               RESYNCED: the same fields      wait for the next interval  Contended since the last revert
                 for the third time
               WRITTEN: still a difference    write, once more            Suspect
    Suspect    WRITTEN: still a difference    wait for the next interval  Contended since now
    Contended  DESIRED_CHANGED: a difference  write                       Contended
               RESYNCED: within the interval  wait for the rest of it     Contended
               RESYNCED: after it             write                       Contended
               WRITTEN                        wait for the next interval  Contended since now
               no difference, after it        rest                        Stable, without reverts

The trigger DESIRED_CHANGED is the first comparison after a change of values or definition, WRITTEN the comparison with
the response to our own write, which only admission can have changed, and RESYNCED any other. An interval is
REWRITE_INTERVAL seconds from the last rewrite. Within it only a change of the desired Secret is written, so that a
competing manager costs a write a minute, and contention ends once the Secret has stayed unchanged for so long.

A write that fails is no event: the state stays as before the comparison. One whose answer is lost is an event if the
Secret has changed since (unanswered.py).
"""

from enum import Enum, auto
from typing import NamedTuple

REWRITE_INTERVAL = 60.0
"""Seconds between two rewrites of a contended Secret, and for which it must then stay unchanged."""
MAX_REVERTS, REVERT_WINDOW = 2, 300.0
"""Changes of the same fields, within these seconds, that are reverted at once. More are contention."""

Fields = frozenset[tuple[str, ...]]


class Trigger(Enum):
    """What caused the comparison."""

    DESIRED_CHANGED = auto()
    RESYNCED = auto()
    WRITTEN = auto()


class Revert(NamedTuple):
    at: float
    fields: Fields


class Stable(NamedTuple):
    """Foreign changes are reverted at once, and counted for a while."""

    reverts: tuple[Revert, ...] = ()


class Suspect(NamedTuple):
    """The response to our write differs from the request: admission may have changed it."""

    reverts: tuple[Revert, ...] = ()


class Contended(NamedTuple):
    """Another manager reverts our writes. `since` is the last rewrite."""

    since: float


State = Stable | Suspect | Contended


class Step(NamedTuple):
    """`wait` is None if there is nothing to do, 0 to write now, else seconds to wait."""

    state: State
    wait: float | None


def step(state: State, trigger: Trigger, fields: Fields, now: float) -> Step:
    """Handle a comparison. `fields` are those that differ from the desired Secret. See the table above."""
    match state:
        case Contended():
            return _in_contention(state, trigger, fields, now)
        case Stable(reverts) | Suspect(reverts) if not fields:
            return Step(Stable(reverts), None)
        case Suspect():
            return Step(Contended(now), REWRITE_INTERVAL)
        case Stable(reverts) if trigger is Trigger.WRITTEN:
            return Step(Suspect(reverts), 0.0)
        case Stable() if trigger is Trigger.DESIRED_CHANGED:
            return Step(state, 0.0)
        case Stable():
            return _reverted(state, fields, now)


def _reverted(state: Stable, fields: Fields, now: float) -> Step:
    """Handle a foreign change."""
    recent = tuple(revert for revert in state.reverts if now - revert.at < REVERT_WINDOW)
    same = [revert.at for revert in recent if revert.fields & fields]
    if len(same) >= MAX_REVERTS:
        return _in_contention(Contended(max(same)), Trigger.RESYNCED, fields, now)
    return Step(Stable((*recent, Revert(now, fields))), 0.0)


def _in_contention(state: Contended, trigger: Trigger, fields: Fields, now: float) -> Step:
    remaining = state.since + REWRITE_INTERVAL - now
    if trigger is Trigger.WRITTEN:
        return Step(Contended(now), REWRITE_INTERVAL)
    if fields and (trigger is Trigger.DESIRED_CHANGED or remaining <= 0):
        return Step(state, 0.0)
    return Step(state, remaining) if remaining > 0 else Step(Stable(), None)
