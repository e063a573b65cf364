"""When a source is read next, and why: one state machine for each source in use. Pure: no I/O, no clock.

    Phase    Event                                              Next phase  Effect
    -------  -------------------------------------------------  ----------  --------------------
    UNREAD   wanted by a definition, or due                     READING     READ
    CURRENT  wanted, or due                                     READING     READ
             due, but covered by the listings of its folder     CURRENT     due five minutes later
             the listings of its folder have ended              CURRENT     due within a period
             listed with the content that was read              CURRENT     confirmed
             listed with other content                          CURRENT     due at once
    FAILING  wanted, or due                                     READING     READ
             listed                                             FAILING
    READING  started, after its turn had come                   READING     begins to count now
             answered with a document, or that there is none    CURRENT     WAKE if it differs
             answered with any other failure                    FAILING     WAKE if it differs
             listed                                             READING     judged when answered
             interrupted                                        as before   due a period later
    any      listed, but its read began after the listing       as before

So a source is read when a definition needs its values, at `due`, and when a listing shows that it has changed. In every
phase but READING, `due` is a finite time: the one wake-up of this source. It moves on by a period each time, and by
half to one and a half of one after a read. At first it is one to two periods away: its definitions read it before.
Listings never take it away. A covered source is left unread when it is due, no more than that, and for five minutes at
most where its period is shorter. When its listings end, it is due within a period; should that never be said, within
those five minutes. A failing source is polled as if its period were a minute at most. While the store is down, a read
ends at once with the store's error (health.py), and the source is failing.

A listing may contradict the read that it led to, as a server does that lags behind. Then listings lead to no other read
of this source before its next poll, which decides.
"""

from collections.abc import Sequence
from enum import Enum, auto
from hashlib import blake2b
from math import floor, inf

import msgspec

from secrets_manager.backends.base import BackendError, Document, Source, SourceNotFound, Unavailable
from secrets_manager.controller.read_policy import ReadPolicy

Result = Document | BackendError
"""What a read brings."""

_ROUNDING = 1e-6
"""Part of a period: what is this close to a slot is at it, and the next slot is a period away."""


class Phase(Enum):
    UNREAD = auto()
    READING = auto()
    CURRENT = auto()
    FAILING = auto()


class Effect(Enum):
    READ = auto()
    """Read the source now, and report the end of it."""
    WAKE = auto()
    """Have the definitions that use the source reconciled."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one source. Times in seconds of a clock that never goes back."""

    place: float
    """The part of every period that goes before its poll; see `place_of`."""
    period: float
    """Between two polls, as its definitions want it."""
    due: float
    """When it is polled next; infinite while it is being read."""
    phase: Phase = Phase.UNREAD
    content: str = ""
    """Differs whenever what a read brings does: a marker, or the text of an error. Empty before the first read."""
    shows: str | None = None
    """CURRENT: the marker that a listing shows as long as nothing changes; None for a source that is not there."""
    confirmed: bool = False
    """CURRENT: whether the last listing showed just that."""
    doubted: bool = False
    """Whether a listing has shown other content since the last read."""
    trusts_listings_at: float = -inf
    """Before this time a listing leads to no read."""
    read_at: float = -inf
    """When the last read began: when the store was asked, or when the source was due, where it was not asked."""
    before: Phase = Phase.UNREAD
    """READING: the phase before."""
    listed: "Listed | None" = None
    """READING: the last listing that began later than the read."""


class Wanted(msgspec.Struct, frozen=True):
    """A definition needs the values."""


class Due(msgspec.Struct, frozen=True):
    """The time has come."""


class Covered(msgspec.Struct, frozen=True):
    """The time has come, but the last listing has confirmed the source, and listings go on."""


class Uncovered(msgspec.Struct, frozen=True):
    """The folder is not listed any more, or the store can't be."""


class Listed(msgspec.Struct, frozen=True):
    """A listing of the folder shows this marker; None where it does not show the source. It began at this time."""

    marker: str | None
    began_at: float


class Started(msgspec.Struct, frozen=True):
    """The read under way has waited for its turn, and the store is asked now."""


class Answered(msgspec.Struct, frozen=True):
    """The read under way has ended with a result."""

    result: Result


class Interrupted(msgspec.Struct, frozen=True):
    """The read under way has ended without a result."""


Event = Wanted | Due | Covered | Uncovered | Listed | Started | Answered | Interrupted


def unread(source: Source, *, period: float, now: float, policy: ReadPolicy) -> Reading:
    """A source that has come into use. Its first poll leaves its definitions a period to read it."""
    place = place_of(source, slots=policy.slots)
    return Reading(place=place, period=period, due=next_slot(place, period, now + period))


def with_period(reading: Reading, period: float, *, now: float) -> Reading:
    """The same, polled each `period` from now on. A shorter one counts at once, a longer one from the next poll on."""
    if period == reading.period:
        return reading
    due = min(reading.due, next_slot(reading.place, period, now)) if reading.due < inf else inf
    return msgspec.structs.replace(reading, period=period, due=due)


def due_at(reading: Reading, time: float) -> Reading:
    """The same, to be polled at this time if it is not being read."""
    return reading if reading.phase is Phase.READING else msgspec.structs.replace(reading, due=time)


def is_confirmed(reading: Reading, marker: str | None) -> bool:
    """Whether a listing with this marker says nothing new. True of nearly all sources, so it spares most steps."""
    return reading.confirmed and marker == reading.shows


def step(reading: Reading, event: Event, *, now: float, policy: ReadPolicy) -> tuple[Reading, Sequence[Effect]]:
    """The state after an event, and what is to be done."""
    after = reading
    match reading.phase, event:
        case _, Listed(_, began_at) if began_at < reading.read_at:
            pass
        case Phase.READING, Answered(result):
            return _answered(reading, result, now=now, policy=policy)
        case Phase.READING, Started():
            after = msgspec.structs.replace(reading, read_at=now, listed=None)
        case Phase.READING, Listed() as listed:
            after = msgspec.structs.replace(reading, listed=listed)
        case Phase.READING, Interrupted():
            due = next_slot(reading.place, reading.period, now)
            after = msgspec.structs.replace(reading, phase=reading.before, due=due)
        case Phase.CURRENT, Listed() as listed:
            after = _listed(reading, listed, now=now)
        case Phase.CURRENT, Covered():
            slot = next_slot(reading.place, max(reading.period, policy.covered_period), now)
            second = floor(slot)  # many at one time cost less, and nothing is read then
            after = msgspec.structs.replace(reading, due=second if second > now else slot)
        case Phase.CURRENT, Uncovered():
            due = min(reading.due, next_slot(reading.place, reading.period, now))
            after = msgspec.structs.replace(reading, due=due, confirmed=False)
        case Phase.UNREAD | Phase.CURRENT | Phase.FAILING, Due() | Wanted():
            after = msgspec.structs.replace(
                reading, phase=Phase.READING, before=reading.phase, due=inf, read_at=now, listed=None
            )
            return after, (Effect.READ,)
    return after, ()


def next_slot(place: float, period: float, now: float) -> float:
    """The time of the next poll: a source keeps its place in every period, so a restart brings no burst of polls."""
    wait = period - (now - place * period) % period
    return now + (wait if wait > _ROUNDING * period else wait + period)


def place_of(source: Source, *, slots: int) -> float:
    """The part of a period before the source's slot, from 0 to 1: it follows from the source alone."""
    slot = int.from_bytes(blake2b(str(source).encode(), digest_size=8).digest()) % slots
    return (slot + 0.5) / slots


def _listed(reading: Reading, listed: Listed, *, now: float) -> Reading:
    if listed.marker == reading.shows:
        return reading if reading.confirmed else msgspec.structs.replace(reading, confirmed=True, doubted=False)
    slot = next_slot(reading.place, reading.period, now)
    due = now if now >= reading.trusts_listings_at else min(reading.due, slot)
    return msgspec.structs.replace(reading, confirmed=False, doubted=True, due=due)


def _answered(reading: Reading, result: Result, *, now: float, policy: ReadPolicy) -> tuple[Reading, Sequence[Effect]]:
    failing = not isinstance(result, Document | SourceNotFound)
    period = min(reading.period, policy.failing_period) if failing else reading.period
    due, content = next_slot(reading.place, period, now + period / 2), _content(result)
    in_vain = reading.doubted and content == reading.content
    after = Reading(
        place=reading.place,
        period=reading.period,
        due=due,
        phase=Phase.FAILING if failing else Phase.CURRENT,
        content=content,
        shows=_shown(result),
        trusts_listings_at=due if in_vain else reading.trusts_listings_at,
        read_at=reading.read_at,
    )
    if reading.listed is not None and not failing:
        after = _listed(after, reading.listed, now=now)
    return after, (Effect.WAKE,) if reading.content not in ("", content) else ()


def _content(result: Result) -> str:
    """What stays of a result. That the store can't be used is one state, whatever the words for it are."""
    match result:
        case Document(marker=marker):
            return marker
        case Unavailable():
            return Unavailable.__name__
        case _:
            return f"{type(result).__name__}: {result}"


def _shown(result: Result) -> str | None:
    match result:
        case Document():
            return result.listed or result.marker
        case SourceNotFound():
            return result.listed
        case _:
            return None
