"""A circuit breaker for the secret store: a state machine. Pure: no I/O, no clock.

    State    Event                                           Next state
    -------  ----------------------------------------------  -------------------------------------
    Up       a read fails                                    Up; at the failure threshold Down, or Doubted
                                                             if all failures are of one namespace while
                                                             others have sound sources
             a read of a failing source fails again          unchanged
             a read or a listing succeeds                    Up, with no failures
    Doubted  a read for another namespace fails, or there    Down
             is no sound source of any
             a read or a listing succeeds                    Up, with no failures
    Down     the first read at `probe_at` or later           Probing: this read is the probe
    Probing  the probe fails                                 Down, for longer
             the probe is cancelled                          Down, and the next read is the probe
    Down or  a read that began before succeeds               Up
    Probing  such a read fails                               unchanged

Failures of several distinct sources in a row count, since one source may fail for reasons of its own. A failing source,
whose read had failed before the last success, tells nothing of the store when it fails again: however many of one mount
fail, they don't make the store count as down for all others. An error response such as "forbidden" is a success: the
store is up. While the store is Down, or Probing, every read but the probe fails at once with `error`. Down has a time
for the next probe, and Probing has a probe in progress.

A namespace alone can't make the store count as down for others, whatever paths it names, while one of them uses a sound
source: one in use that is not failing. While the store is Doubted, reads for this namespace alone fail at once, and
such a source is read, before all others and without waiting until it is due: it tells.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from math import inf
from random import Random

import msgspec

from secrets_manager.backends import Source, Unavailable
from secrets_manager.controller.read_policy import ReadPolicy


class Up(msgspec.Struct, frozen=True):
    """`failed` are the sources whose reads have failed since the last success. `users` use each of them: namespaces."""

    failed: frozenset[Source] = frozenset()
    users: frozenset[str] = frozenset()


class Doubted(msgspec.Struct, frozen=True):
    """Enough sources have failed, and each is one of `users`, of which there is at least one."""

    error: Unavailable
    failed: frozenset[Source]
    users: frozenset[str]


class Down(msgspec.Struct, frozen=True):
    """`error` is about the store, and does not mention the request that failed. `suspects` have failed in a row."""

    error: Unavailable
    probe_at: float
    probes: int = 0
    suspects: frozenset[Source] = frozenset()


class Probing(msgspec.Struct, frozen=True):
    """A probe is in progress."""

    down: Down


Health = Up | Doubted | Down | Probing


def current_error(health: Health) -> Unavailable | None:
    """Return why the store is down; None while it is up."""
    match health:
        case Up() | Doubted():
            return None
        case Down(error) | Probing(Down(error)):
            return error


def probe_at(health: Health) -> float:
    """Return when the store must be probed; infinity if not."""
    return health.probe_at if isinstance(health, Down) else inf


def suspected(health: Health) -> frozenset[Source]:
    """Return the sources that failed in a row and may do so for the store's sake."""
    match health:
        case Up(failed) | Doubted(failed=failed):
            return failed
        case Down(suspects=failed) | Probing(Down(suspects=failed)):
            return failed


def rejection(health: Health, users: AbstractSet[str], *, now: float) -> Unavailable | None:
    """Return the error of a read for these namespaces that starts now; None if it may go to the store."""
    if isinstance(health, Doubted):
        return health.error if users and users <= health.users else None
    return None if now >= probe_at(health) else current_error(health)


def probing(health: Health, *, now: float) -> Health:
    """Handle the start of a read: Probing if it is the probe."""
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
    users: frozenset[str],
    sound_outside: Callable[[frozenset[str]], bool],
    failing: AbstractSet[Source] = frozenset(),
    now: float,
    policy: ReadPolicy,
    random: Random,
) -> Health:
    """Handle a failed read.

    `failing` are the sources whose last read before this one failed. With fewer other sources `in_use` than the failure
    threshold, all of these must have failed. `users` are the namespaces that use the source; without any it is not in
    use any more. `sound_outside` returns whether a sound source is in use that none of these namespaces uses.
    """
    match health:
        case Up(failures, all_users) | Doubted(failed=failures, users=all_users):
            known = failing - failures
            if (source in known and len(known) < in_use) or (not users and in_use):
                return health
            suspects, all_users = failures | {source}, all_users & users if failures else users
            if len(suspects) < min(policy.failure_threshold, max(in_use - len(known), 1)):
                return Up(suspects, all_users)
            if all_users and sound_outside(all_users):
                return Doubted(error.for_others(), suspects, all_users)
            probes = 0
        case Probing(down) if probe:
            probes, suspects = down.probes + 1, down.suspects
        case _:
            return health
    return _down(error.for_others(), probes, suspects, now=now, policy=policy, random=random)


def unopposed(health: Health, *, now: float, policy: ReadPolicy, random: Random) -> Health:
    """Handle that there is no sound source of another namespace, while the store is Doubted."""
    match health:
        case Doubted(error, suspects):
            return _down(error, 0, suspects, now=now, policy=policy, random=random)
        case _:
            return health


def probe_ended(health: Health, *, now: float) -> Health:
    """Handle a probe that was cancelled."""
    return msgspec.structs.replace(health.down, probe_at=now) if isinstance(health, Probing) else health


def _down(
    error: Unavailable, probes: int, suspects: frozenset[Source], *, now: float, policy: ReadPolicy, random: Random
) -> Down:
    pause = max(policy.probe.delay(probes + 1, random), error.retry_after or 0.0)
    return Down(error, now + pause, probes, suspects)
