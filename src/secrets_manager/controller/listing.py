"""When a folder is listed next: one state machine for each folder with a source in use. Pure: no I/O, no clock.

    State     Event                                         Next state
    --------  --------------------------------------------  --------------------------------------------------
    Idle      a second source in use                        Waiting for a moment, so that others can join
    Waiting   due, and only one source is left              Idle
              due, and sources are unread that are new      Waiting
              due, and the store is down                    Waiting, a period; nothing is covered
              due otherwise                                 Listing
    Listing   a listing came                                Waiting, its rest; its sources are covered meanwhile
              it took long, and is mostly of other secrets  Waiting, as after a refusal
              the store refuses listings of this folder     Waiting, minutes to an hour; nothing is covered
              the store failed                              Waiting, a period; nothing is covered

A listing shows the markers of all that a folder holds for the price of a few reads, so it may come far more often than
the reads that it saves: a change arrives within about a second, however long the period is. For a single source it is
no cheaper than a read. It covers its sources until a period after the next one is due. When that ends they are polled
again.

A folder asks for no more requests than the polls that it saves, and its listings take no more than a small share of the
time. Where it saves few, as while its sources fail, or still have to be read after a start: one listing a period.
"""

from math import inf
from random import Random

import msgspec

from secrets_manager.controller.read_policy import ReadPolicy


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one folder. Idle: `due` is infinite and it is not `listing`."""

    due: float = inf
    listing: bool = False
    listed_at: float = -inf
    """When the last listing ended, well or not; or when the folder began to wait for the first one."""
    covered_until: float = -inf
    refusals: int = 0
    owed: float = 0.0
    """Seconds of rest that its listings have cost, less those that it has had."""


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """The sources in use of a folder."""

    count: int
    unread: bool
    """Whether any has not been read yet."""
    polls: float
    """How many polls of them are due in a second."""
    saved: float
    """How many of those listings save: the polls of sources that the last one has confirmed."""


def joined(folder: Folder, count: int, *, now: float, policy: ReadPolicy, random: Random) -> Folder:
    """A source of this folder has come into use; there are so many now."""
    if count <= 1 or folder.listing or folder.due < inf:
        return folder
    wait = policy.list_period * random.uniform(1.0, 2.0)
    return msgspec.structs.replace(folder, due=now + wait, listed_at=now, owed=-policy.list_credit)


def due(folder: Folder, members: Members, *, store_down: bool, now: float, policy: ReadPolicy) -> Folder:
    """Its time has come: the folder is `listing` afterwards, or waits again, or is idle."""
    if folder.listing or now < folder.due:
        return folder
    if members.count <= 1:
        return Folder()
    if store_down:
        return msgspec.structs.replace(folder, due=now + policy.period, covered_until=-inf)
    if members.unread and now < folder.listed_at + policy.period:
        return msgspec.structs.replace(folder, due=min(now + policy.list_period, folder.listed_at + policy.period))
    return msgspec.structs.replace(folder, listing=True, due=inf)


def listed(folder: Folder, members: Members, *, began_at: float, now: float, policy: ReadPolicy) -> Folder:
    """A listing that was asked for at `began_at` has come, and `members` know what it shows."""
    rested = began_at - folder.listed_at
    cost = (now - began_at) / policy.list_share
    owed = min(max(folder.owed - rested, -policy.list_credit) + cost, policy.period)
    rest = max(policy.list_period, _pace(members, policy), owed)
    next_due = now + (rest if rest > policy.list_period else rest - now % rest)  # many at one time cost less
    return Folder(due=next_due, listed_at=now, covered_until=next_due + policy.period, owed=owed)


def is_waste(*, used: int, shown: int, took: float, policy: ReadPolicy) -> bool:
    """Whether the listing took long, and showed mostly secrets that are of no use here."""
    return took > policy.list_share * policy.period and shown > policy.list_waste * used


def refused(folder: Folder, *, now: float, policy: ReadPolicy, random: Random) -> Folder:
    """This folder can't be listed, or it does not pay."""
    refusals = folder.refusals + 1
    return Folder(due=now + policy.list_retry.delay(refusals, random), refusals=refusals, listed_at=now)


def failed(folder: Folder, *, now: float, policy: ReadPolicy) -> Folder:
    """The store gave no listing, for a reason that may pass."""
    return msgspec.structs.replace(folder, listing=False, due=now + policy.period, covered_until=-inf, listed_at=now)


def _pace(members: Members, policy: ReadPolicy) -> float:
    """Seconds between two listings that cost no more than they save, or a period where they save little."""
    longest = max(policy.period, 1 / members.polls) if members.polls else policy.period
    return min(longest, 1 / members.saved) if members.saved else longest
