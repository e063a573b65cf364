"""When a source is read next: a state machine for each source in use. Pure: no I/O, no clock.

    Phase    Event                                              Next phase  Effect
    -------  -------------------------------------------------  ----------  --------------------
    UNREAD   requested by a definition, or due                  READING     READ
    CURRENT  requested, or due                                  READING     READ
             due, but covered by the listings of its folder     CURRENT     due five minutes later
             the listings of its folder have ended              CURRENT     due within a period
             listed with the content that was read              CURRENT     confirmed
             listed with other content                          CURRENT     due at once
    FAILING  requested, or due                                  READING     READ
             listed                                             FAILING
    READING  started, after waiting for the limiter             READING     the read counts from now
             completed with a document, or not found            CURRENT     WAKE if it differs
             completed with any other error                     FAILING     WAKE if it differs
             listed                                             READING     compared when completed
             interrupted                                        as before   due a period later
    any      listed, but its read began after the listing       as before

A source is read when a definition requests it, when it is due, and when a listing shows a change. In every phase but
READING, `due` is finite: the one wake-up of this source. It is a period later each time, and half to one and a half of
a period after a read; at first one to two periods, so that definitions read it before. Listings never remove it: a
covered source that is due is not read, but it is due again, after five minutes at most if its period is shorter. When
its listings end, it is due within a period. A failing source has a period of a minute at most. While the store is down,
a read fails at once with the error of the store (health.py).

A listing may contradict the read that it caused, if a server lags behind. Then no listing causes a read of this source
before its next poll.
"""

from collections.abc import Sequence
from enum import Enum, auto
from hashlib import blake2b
from math import floor, inf

import msgspec

from secrets_manager.backends import BackendError, Document, Source, SourceNotFound, Unavailable
from secrets_manager.controller.read_policy import ReadPolicy

ReadResult = Document | BackendError
"""The result of a read."""

_ROUNDING = 1e-6
"""Part of a period within which a time counts as at a slot."""


class Phase(Enum):
    UNREAD = auto()
    READING = auto()
    CURRENT = auto()
    FAILING = auto()


class Effect(Enum):
    READ = auto()
    """Read the source, and report the end."""
    WAKE = auto()
    """Reconcile the definitions that use the source."""


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a source. Times are seconds of a monotonic clock."""

    offset: float
    """The part of each period before its poll; see `offset_of`."""
    period: float
    """Between two polls, as its definitions set it."""
    due: float
    """When it is polled next; infinite while READING."""
    phase: Phase = Phase.UNREAD
    content: str = ""
    """Changes with the result: a marker, or the text of an error. Empty before the first read."""
    expected_marker: str | None = None
    """CURRENT: the marker in listings while nothing changes; None for a source that was not found."""
    confirmed: bool = False
    """CURRENT: whether the last listing showed it."""
    contradicted: bool = False
    """Whether a listing has shown another marker since the last read."""
    ignore_listings_until: float = -inf
    """Before this time listings cause no read."""
    read_at: float = -inf
    """When the last read was sent to the store, or requested if it was not sent."""
    verified_at: float = -inf
    """When the store was last known to have the content of CURRENT, apart from listings that confirm it."""
    previous_phase: Phase = Phase.UNREAD
    """READING: the phase before it."""
    listed: "Listed | None" = None
    """READING: the last listing that began after the read."""


class Requested(msgspec.Struct, frozen=True):
    """A definition needs the values."""


class Due(msgspec.Struct, frozen=True):
    """The source is due."""


class Covered(msgspec.Struct, frozen=True):
    """The source is due, but the last listing confirmed it, and listings continue."""


class Uncovered(msgspec.Struct, frozen=True):
    """The folder is not listed any more."""


class Listed(msgspec.Struct, frozen=True):
    """A listing of the folder that began at this time has this marker; None if the source is not in it."""

    marker: str | None
    began_at: float


class Started(msgspec.Struct, frozen=True):
    """The read is sent to the store now."""


class Completed(msgspec.Struct, frozen=True):
    """The read has ended with a result."""

    result: ReadResult


class Interrupted(msgspec.Struct, frozen=True):
    """The read was cancelled."""


Event = Requested | Due | Covered | Uncovered | Listed | Started | Completed | Interrupted


def new_state(source: Source, *, period: float, now: float, policy: ReadPolicy) -> SourceState:
    """Return the state of a new source. Its first poll leaves definitions a period to read it."""
    offset = offset_of(source, slots=policy.slots)
    return SourceState(offset=offset, period=period, due=next_slot(offset, period, now + period))


def with_period(state: SourceState, period: float, *, now: float) -> SourceState:
    """Change the period. A shorter one applies at once, a longer one after the next poll."""
    if period == state.period:
        return state
    due = min(state.due, next_slot(state.offset, period, now)) if state.due < inf else inf
    return msgspec.structs.replace(state, period=period, due=due)


def reschedule(state: SourceState, time: float) -> SourceState:
    """Change the due time, unless the source is READING."""
    return state if state.phase is Phase.READING else msgspec.structs.replace(state, due=time)


def is_confirmed(state: SourceState, marker: str | None) -> bool:
    """Whether a listing with this marker changes nothing: true of nearly all sources, so it saves most steps."""
    return state.confirmed and marker == state.expected_marker


def step(state: SourceState, event: Event, *, now: float, policy: ReadPolicy) -> tuple[SourceState, Sequence[Effect]]:
    """Return the state after an event, and the effects."""
    after = state
    match state.phase, event:
        case _, Listed(_, began_at) if began_at < state.read_at:
            pass
        case Phase.READING, Completed(result):
            return _completed(state, result, now=now, policy=policy)
        case Phase.READING, Started():
            after = msgspec.structs.replace(state, read_at=now, listed=None)
        case Phase.READING, Listed() as listed:
            confirmed = is_confirmed(state, listed.marker)
            after = msgspec.structs.replace(state, listed=listed, confirmed=confirmed)
        case Phase.READING, Interrupted():
            due = next_slot(state.offset, state.period, now)
            after = msgspec.structs.replace(state, phase=state.previous_phase, due=due)
        case Phase.CURRENT, Listed() as listed:
            after = _listed(state, listed, now=now)
        case Phase.CURRENT, Covered():
            slot = next_slot(state.offset, max(state.period, policy.min_covered_period), now)
            second = floor(slot)  # several at a time cost less, and nothing is read then
            after = msgspec.structs.replace(state, due=second if second > now else slot)
        case Phase.CURRENT, Uncovered():
            due = min(state.due, next_slot(state.offset, state.period, now))
            after = msgspec.structs.replace(state, due=due, confirmed=False)
        case Phase.UNREAD | Phase.CURRENT | Phase.FAILING, Due() | Requested():
            after = msgspec.structs.replace(
                state, phase=Phase.READING, previous_phase=state.phase, due=inf, read_at=now, listed=None
            )
            return after, (Effect.READ,)
        case _:
            pass
    return after, ()


def next_slot(offset: float, period: float, now: float) -> float:
    """Return the time of the next poll. The offset is constant, so a restart causes no burst of polls."""
    wait = period - (now - offset * period) % period
    return now + (wait if wait > _ROUNDING * period else wait + period)


def offset_of(source: Source, *, slots: int) -> float:
    """Return the part of a period before the source's slot, from 0 to 1: a hash of the source."""
    slot = int.from_bytes(blake2b(str(source).encode(), digest_size=8).digest()) % slots
    return (slot + 0.5) / slots


def _listed(state: SourceState, listed: Listed, *, now: float) -> SourceState:
    if listed.marker == state.expected_marker:
        return state if state.confirmed else msgspec.structs.replace(state, confirmed=True, contradicted=False)
    slot = next_slot(state.offset, state.period, now)
    due = now if now >= state.ignore_listings_until else min(state.due, slot)
    return msgspec.structs.replace(state, confirmed=False, contradicted=True, due=due)


def _completed(
    state: SourceState, result: ReadResult, *, now: float, policy: ReadPolicy
) -> tuple[SourceState, Sequence[Effect]]:
    failing = not isinstance(result, Document | SourceNotFound)
    period = min(state.period, policy.max_failing_period) if failing else state.period
    due, content = next_slot(state.offset, period, now + period / 2), _content(result)
    futile = state.contradicted and content == state.content
    after = SourceState(
        offset=state.offset,
        period=state.period,
        due=due,
        phase=Phase.FAILING if failing else Phase.CURRENT,
        content=content,
        expected_marker=_expected_marker(result),
        ignore_listings_until=due if futile else state.ignore_listings_until,
        read_at=state.read_at,
        verified_at=state.verified_at if failing else state.read_at,
    )
    if state.listed is not None and not failing:
        after = _listed(after, state.listed, now=now)
    return after, (Effect.WAKE,) if state.content not in ("", content) else ()


def _content(result: ReadResult) -> str:
    """Return the content of a result. An unavailable store is one content, whatever the message is."""
    match result:
        case Document(marker=marker):
            return marker
        case Unavailable():
            return Unavailable.__name__
        case _:
            return f"{type(result).__name__}: {result}"


def _expected_marker(result: ReadResult) -> str | None:
    match result:
        case Document():
            return result.listed or result.marker
        case SourceNotFound():
            return result.listed
        case _:
            return None
