"""When a folder is listed next: a state machine for each folder with a source in use. Pure: no I/O, no clock.

    State     Event                                         Next state
    --------  --------------------------------------------  --------------------------------------------------
    Idle      a second source in use                        Waiting for a moment, so that others can join
    Waiting   due, and only one source is left              Idle
              due, and sources are unread that are new      Waiting
              due otherwise                                 Listing
    Listing   success                                       Waiting, its rest; its sources are covered meanwhile
              slow, and mostly of unused secrets            Waiting, as after a refusal
              the store refuses listings of this folder     Waiting, minutes to an hour; nothing is covered
              failure, as while the store is down           Waiting, a period; nothing is covered

A listing returns the markers of all secrets of a folder for the price of a few reads, so it can be more frequent than
the reads that it saves: of n sources with a period each it comes n times a period, once a second at most. For a single
source it is no cheaper than a read. It covers its sources until a period after the next one is due. Then they are
polled again.

A folder causes no more requests than the polls that it saves, and its listings take a small share of the time. If it
saves few, as while its sources fail or are unread after a start, it is listed once a period. Many folders take turns,
so that there are few requests at rest, however many folders there are; none is listed later than its sources would be
polled.
"""

from math import ceil, inf
from random import Random

import msgspec

from secrets_manager.controller.read_policy import ReadPolicy


class FolderState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a folder. Idle: `due` is infinite and it is not `listing`."""

    due: float = inf
    listing: bool = False
    listed_at: float = -inf
    """When the last listing ended, or the folder began to wait for the first one."""
    covered_until: float = -inf
    refusals: int = 0
    rest_debt: float = 0.0
    """Seconds of rest that its listings still require; negative for saved rest."""
    demand: float = 0.0
    """The listings in a `list_period` that are worth their cost, were there no other folder: one at most."""


class PollRates(msgspec.Struct, frozen=True, kw_only=True):
    """Polls per second of the sources in use of a folder."""

    polls: float
    """Without listings."""
    saved: float
    """Those of sources that the last listing confirmed."""
    shortest_period: float
    """Seconds between two polls of the source that is polled most often."""


def joined(state: FolderState, count: int, *, now: float, policy: ReadPolicy, random: Random) -> FolderState:
    """Handle a new source in use; `count` is the number of sources."""
    if count <= 1 or state.listing or state.due < inf:
        return state
    wait = policy.list_period * random.uniform(1.0, 2.0)
    return msgspec.structs.replace(state, due=now + wait, listed_at=now, rest_debt=-policy.list_burst)


def due(state: FolderState, count: int, *, unread: bool, now: float, policy: ReadPolicy) -> FolderState:
    """Handle the due time: return a state that is `listing`, waits again, or is idle.

    `count` is the number of sources, and `unread` whether any of them is unread.
    """
    if state.listing or now < state.due:
        return state
    if count <= 1:
        return FolderState()
    if unread and now < state.listed_at + policy.period:
        return msgspec.structs.replace(state, due=min(now + policy.list_period, state.listed_at + policy.period))
    return msgspec.structs.replace(state, listing=True, due=inf)


def listed(
    state: FolderState, rates: PollRates, *, others: float, began_at: float, now: float, policy: ReadPolicy
) -> FolderState:
    """Handle a listing that began at `began_at`.

    `rates` are those after it, and `others` is the sum of the `demand` of all other folders.
    """
    elapsed = began_at - state.listed_at
    cost = (now - began_at) / policy.list_share
    rest_debt = min(max(state.rest_debt - elapsed, -policy.list_burst) + cost, policy.period)
    min_interval = _min_interval(rates, policy)
    demand = policy.list_period / max(policy.list_period, min_interval)
    own_rest = max(min_interval, rest_debt)
    turns = ceil((others + demand) / policy.list_batch) * policy.list_period
    turn = max(policy.list_period, min(turns, rates.shortest_period))
    next_due = now + turn - now % policy.list_period  # several at a time cost less
    if own_rest > policy.list_period:
        next_due = max(next_due, now + own_rest)
    return FolderState(
        due=next_due, listed_at=now, covered_until=next_due + policy.period, rest_debt=rest_debt, demand=demand
    )


def is_waste(*, used: int, shown: int, took: float, policy: ReadPolicy) -> bool:
    """Whether the listing was slow, and mostly of unused secrets."""
    return took > policy.list_share * policy.period and shown > policy.max_list_waste * used


def refused(state: FolderState, *, now: float, policy: ReadPolicy, random: Random) -> FolderState:
    """Handle a refusal, or a listing that does not pay."""
    refusals = state.refusals + 1
    return FolderState(due=now + policy.list_retry.delay(refusals, random), refusals=refusals, listed_at=now)


def failed(state: FolderState, *, now: float, policy: ReadPolicy) -> FolderState:
    """Handle a failure that may pass."""
    return msgspec.structs.replace(
        state, listing=False, due=now + policy.period, covered_until=-inf, listed_at=now, demand=0.0
    )


def _min_interval(rates: PollRates, policy: ReadPolicy) -> float:
    """Return the seconds between listings that cost no more than they save; a period if they save little."""
    longest = max(policy.period, 1 / rates.polls) if rates.polls else policy.period
    return min(longest, 1 / rates.saved) if rates.saved else longest
