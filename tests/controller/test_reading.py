from math import inf

import msgspec
import pytest

from secrets_manager.backends.base import (
    Document,
    Source,
    SourceForbidden,
    SourceNotFound,
    Unavailable,
    VersionDeleted,
)
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import (
    Completed,
    Covered,
    Due,
    Effect,
    Event,
    Interrupted,
    Listed,
    Phase,
    ReadResult,
    Requested,
    SourceState,
    Started,
    Uncovered,
    is_confirmed,
    new_state,
    next_slot,
    offset_of,
    reschedule,
    step,
    with_period,
)
from tests.controller.scripted import DB, TLS
from tests.gen import document

PERIOD = 60.0
POLICY = ReadPolicy(period=PERIOD, max_failing_period=20.0)
OFFSET = 0.25
"""The source's slots are at 15, 75, 135 ..."""

FIRST, SECOND = document(version=1), document(version=2)
GONE = SourceNotFound("nothing is there")
DELETED = VersionDeleted("version 1 was deleted", listed="a-mark-of-deletion")
FORBIDDEN = SourceForbidden("not allowed")
SEALED = Unavailable("Vault is sealed")


def course(*events: tuple[float, Event], state: SourceState | None = None) -> tuple[SourceState, list[Effect]]:
    """The state after these events, each at its time, and the effects of the last one."""
    state = state or SourceState(offset=OFFSET, period=PERIOD, due=15.0)
    effects: list[Effect] = []
    for now, event in events:
        state, last = step(state, event, now=now, policy=POLICY)
        effects = [*last]
    return state, effects


def after_read(result: ReadResult, *, at: float = 15.0) -> SourceState:
    return course((at, Due()), (at, Completed(result)))[0]


UNREAD = SourceState(offset=OFFSET, period=PERIOD, due=15.0)
CURRENT = after_read(FIRST)
CONFIRMED = course((20.0, Listed(FIRST.marker, 20.0)), state=CURRENT)[0]
ABSENT = after_read(GONE)
FAILING = after_read(FORBIDDEN)
READING = course((15.0, Due()))[0]
READING_AGAIN = course((75.0, Due()), state=CONFIRMED)[0]


def test_source_that_comes_into_use_is_left_to_its_definitions_for_a_period() -> None:
    state = new_state(DB, period=PERIOD, now=1000.0, policy=POLICY)

    assert state.phase is Phase.UNREAD
    assert state.due == next_slot(offset_of(DB, slots=POLICY.slots), PERIOD, 1000.0) + PERIOD


@pytest.mark.parametrize("event", [Requested(), Due()])
@pytest.mark.parametrize("state", [UNREAD, CURRENT, CONFIRMED, ABSENT, FAILING])
def test_source_is_read_when_a_definition_wants_it_and_when_it_is_due(state: SourceState, event: Event) -> None:
    after, effects = course((80.0, event), state=state)

    assert (after.phase, after.due, after.read_at, effects) == (Phase.READING, inf, 80.0, [Effect.READ])


@pytest.mark.parametrize("event", [Requested(), Due(), Covered()])
def test_there_is_one_read_at_a_time(event: Event) -> None:
    assert course((16.0, event), state=READING) == (READING, [])


@pytest.mark.parametrize("event", [Completed(FIRST), Interrupted()])
@pytest.mark.parametrize("state", [UNREAD, CURRENT, FAILING])
def test_end_of_a_read_that_is_not_under_way_changes_nothing(state: SourceState, event: Event) -> None:
    assert course((16.0, event), state=state) == (state, [])


@pytest.mark.parametrize(
    ("result", "phase"),
    [
        (FIRST, Phase.CURRENT),
        (GONE, Phase.CURRENT),
        (DELETED, Phase.CURRENT),
        (FORBIDDEN, Phase.FAILING),
        (SEALED, Phase.FAILING),
    ],
)
def test_answer_is_content_unless_it_is_another_failure_than_that_there_is_none(
    result: ReadResult, phase: Phase
) -> None:
    after, effects = course((16.0, Completed(result)), state=READING)

    assert (after.phase, after.confirmed, effects) == (phase, False, [])
    assert after.content


@pytest.mark.parametrize(("read_at", "due"), [(15.0, 75.0), (40.0, 75.0), (45.0, 135.0), (74.0, 135.0), (75.0, 135.0)])
def test_next_poll_is_at_the_slot_half_to_one_and_a_half_periods_after_a_read(read_at: float, due: float) -> None:
    assert after_read(FIRST, at=read_at).due == due


@pytest.mark.parametrize(("period", "due"), [(PERIOD, 45.0), (10.0, 22.5), (3600.0, 45.0)])
def test_failing_source_is_polled_at_the_period_of_those_that_fail_or_its_own_shorter_one(
    period: float, due: float
) -> None:
    after, _ = course((15.0, Completed(FORBIDDEN)), state=msgspec.structs.replace(READING, period=period))

    assert after.due == due


@pytest.mark.parametrize(
    ("result", "shows"), [(FIRST, FIRST.marker), (GONE, None), (DELETED, "a-mark-of-deletion"), (FORBIDDEN, None)]
)
def test_read_gives_the_marker_that_listings_show_as_long_as_nothing_changes(
    result: ReadResult, shows: str | None
) -> None:
    assert after_read(result).expected_marker == shows


@pytest.mark.parametrize(
    ("before", "result", "wakes"),
    [
        pytest.param(UNREAD, FIRST, False, id="first read: the definition waits for it itself"),
        pytest.param(CURRENT, FIRST, False, id="same content"),
        pytest.param(CURRENT, SECOND, True, id="other content"),
        pytest.param(CURRENT, GONE, True, id="deleted"),
        pytest.param(CURRENT, FORBIDDEN, True, id="forbidden"),
        pytest.param(ABSENT, GONE, False, id="still not there"),
        pytest.param(ABSENT, SourceNotFound("the version was destroyed"), True, id="absent in other words"),
        pytest.param(ABSENT, SourceForbidden("nothing is there"), True, id="another failure in the same words"),
        pytest.param(FAILING, FIRST, True, id="mended"),
        pytest.param(after_read(SEALED), Unavailable("no answer in time"), False, id="store still can't be used"),
        pytest.param(after_read(SEALED), FORBIDDEN, True, id="store is back, and refuses"),
    ],
)
def test_users_are_woken_when_what_a_read_brings_differs(
    before: SourceState, result: ReadResult, *, wakes: bool
) -> None:
    _, effects = course((80.0, Due()), (80.1, Completed(result)), state=before)

    assert effects == [Effect.WAKE] * wakes


@pytest.mark.parametrize(
    ("state", "marker"),
    [
        (CURRENT, FIRST.marker),
        (ABSENT, None),
        (after_read(DELETED), "a-mark-of-deletion"),
        (after_read(Document(values={}, marker="a-version", listed="a-time")), "a-time"),
    ],
)
def test_listing_with_the_content_that_was_read_confirms_it_and_leaves_its_poll(
    state: SourceState, marker: str | None
) -> None:
    after, effects = course((20.0, Listed(marker, 20.0)), state=state)

    assert (after.confirmed, after.due, effects) == (True, 75.0, [])
    assert is_confirmed(after, marker)
    assert not is_confirmed(state, marker)
    assert course((30.0, Listed(marker, 30.0)), state=after) == (after, [])


@pytest.mark.parametrize(
    ("state", "marker"),
    [
        (CURRENT, SECOND.marker),
        (CURRENT, None),
        (CONFIRMED, SECOND.marker),
        (ABSENT, FIRST.marker),
        (after_read(DELETED), None),
    ],
)
def test_listing_with_other_content_makes_it_due_at_once(state: SourceState, marker: str | None) -> None:
    after, effects = course((20.0, Listed(marker, 20.0)), state=state)

    assert (after.phase, after.due, after.confirmed, effects) == (Phase.CURRENT, 20.0, False, [])
    assert not is_confirmed(state, marker)


def test_listing_with_other_content_during_a_read_confirms_nothing_any_more() -> None:
    reading, _ = course((20.0, Requested()), (21.0, Started()), state=CONFIRMED)
    assert reading.confirmed

    same, _ = course((22.0, Listed(FIRST.marker, 22.0)), state=reading)
    other, _ = course((22.0, Listed(SECOND.marker, 22.0)), state=reading)

    assert (same.confirmed, other.confirmed) == (True, False)


def test_source_is_verified_when_a_read_that_is_answered_begins() -> None:
    begun = ((20.0, Requested()), (21.0, Started()))

    assert course(*begun, (25.0, Completed(SECOND)), state=CURRENT)[0].verified_at == 21.0
    assert course(*begun, (25.0, Completed(GONE)), state=CURRENT)[0].verified_at == 21.0
    assert course(*begun, (25.0, Completed(SEALED)), state=CURRENT)[0].verified_at == CURRENT.verified_at == 15.0


@pytest.mark.parametrize("state", [UNREAD, FAILING])
def test_listing_says_nothing_of_a_source_that_is_unread_or_failing(state: SourceState) -> None:
    assert course((20.0, Listed(FIRST.marker, 20.0)), state=state) == (state, [])
    assert not is_confirmed(state, FIRST.marker)


@pytest.mark.parametrize("state", [CURRENT, ABSENT, FAILING, READING])
@pytest.mark.parametrize("began_at", [0.0, 14.9])
def test_listing_that_began_before_the_read_is_too_old(state: SourceState, began_at: float) -> None:
    assert course((20.0, Listed("another", began_at)), state=state) == (state, [])


def test_listing_that_began_with_the_read_counts() -> None:
    """Whichever came first to the store: at worst it costs one more read."""
    assert course((20.0, Listed("another", 15.0)), state=CURRENT)[0].due == 20.0


@pytest.mark.parametrize(
    ("marker", "confirmed", "due"),
    [pytest.param(FIRST.marker, True, 135.0, id="agrees"), pytest.param(SECOND.marker, False, 78.0, id="is newer")],
)
def test_listing_that_began_while_it_was_read_is_judged_when_it_is_answered(
    marker: str, *, confirmed: bool, due: float
) -> None:
    listed, effects = course((76.0, Listed("overtaken", 76.0)), (77.0, Listed(marker, 77.0)), state=READING_AGAIN)
    assert (listed.phase, effects) == (Phase.READING, [])

    after, _ = course((78.0, Completed(FIRST)), state=listed)

    assert (after.confirmed, after.due) == (confirmed, due)
    assert after.listed is None


def test_listing_that_began_while_it_was_read_is_no_matter_when_the_read_fails() -> None:
    after, _ = course((76.0, Listed(FIRST.marker, 76.0)), (78.0, Completed(FORBIDDEN)), state=READING_AGAIN)

    assert (after.phase, after.confirmed) == (Phase.FAILING, False)


def test_covered_source_is_left_unread_for_five_minutes_and_no_more() -> None:
    after, effects = course((75.0, Covered()), state=CONFIRMED)

    assert (after.phase, after.due, effects) == (Phase.CURRENT, 375.0, [])


@pytest.mark.parametrize(
    ("now", "due"),
    [
        pytest.param(299.5, 300.0, id="at the last full second before its slot"),
        pytest.param(300.0, 300.3, id="at its slot where no full second is left"),
    ],
)
def test_covered_sources_are_due_together_and_never_at_once(now: float, due: float) -> None:
    state = msgspec.structs.replace(CURRENT, offset=0.3 / POLICY.min_covered_period)

    assert course((now, Covered()), state=state)[0].due == pytest.approx(due)


@pytest.mark.parametrize(
    ("due", "next_due"), [pytest.param(600.0, 135.0, id="later"), pytest.param(81.0, 81.0, id="earlier already")]
)
def test_source_whose_listings_end_is_confirmed_no_more_and_polled_within_a_period(due: float, next_due: float) -> None:
    after, effects = course((80.0, Uncovered()), state=msgspec.structs.replace(CONFIRMED, due=due))

    assert (after.phase, after.due, after.confirmed, effects) == (Phase.CURRENT, next_due, False, [])


@pytest.mark.parametrize("state", [UNREAD, FAILING])
def test_only_what_is_current_can_be_covered(state: SourceState) -> None:
    assert course((75.0, Covered()), state=state) == (state, [])


@pytest.mark.parametrize("state", [UNREAD, CURRENT, CONFIRMED, ABSENT, FAILING])
def test_read_that_was_interrupted_leaves_all_as_before_and_comes_again_within_a_period(state: SourceState) -> None:
    after, effects = course((80.0, Requested()), (81.0, Interrupted()), state=state)

    assert (after.phase, after.due, after.content, after.expected_marker, effects) == (
        state.phase,
        135.0,
        state.content,
        state.expected_marker,
        [],
    )


def test_listing_that_began_while_a_read_was_interrupted_says_nothing_of_the_next_read() -> None:
    after, _ = course(
        (16.0, Listed("another", 16.0)),
        (17.0, Interrupted()),
        (80.0, Due()),
        (80.1, Completed(FIRST)),
        state=READING,
    )

    assert (after.due, after.contradicted) == (135.0, False)


def test_read_that_waited_for_a_slot_is_newer_than_a_listing_that_began_meanwhile() -> None:
    waited, _ = course((16.0, Listed("another", 16.0)), (17.0, Started()), state=READING)
    assert (waited.phase, waited.due, waited.read_at) == (Phase.READING, inf, 17.0)

    after, _ = course((17.1, Completed(FIRST)), (17.2, Listed("another", 16.5)), state=waited)
    assert (after.due, after.contradicted) == (75.0, False)


@pytest.mark.parametrize("state", [UNREAD, CURRENT, FAILING])
def test_only_a_read_under_way_can_start(state: SourceState) -> None:
    assert course((80.0, Started()), state=state) == (state, [])


def test_listing_that_contradicts_the_read_that_it_led_to_leads_to_no_other_before_the_next_poll() -> None:
    """As of a server that lags behind."""
    state, _ = course(
        (20.0, Listed("another", 20.0)),
        (20.0, Due()),
        (20.1, Completed(FIRST)),
        (30.0, Listed("another", 30.0)),
        state=CURRENT,
    )
    assert (state.due, state.confirmed) == (75.0, False)

    state, _ = course((75.0, Due()), (75.1, Completed(FIRST)), (76.0, Listed("another", 76.0)), state=state)
    assert state.due == 135.0

    caught_up, _ = course((80.0, Listed(FIRST.marker, 80.0)), state=state)
    assert caught_up.confirmed
    assert course((90.0, Listed("newer", 90.0)), state=caught_up)[0].due == 135.0

    trusting, _ = course((135.0, Due()), (135.1, Completed(FIRST)), (140.0, Listed("newer", 140.0)), state=caught_up)
    assert trusting.due == 140.0


def test_listing_is_trusted_again_from_the_moment_of_the_next_poll_on() -> None:
    state, _ = course(
        (20.0, Listed("another", 20.0)),
        (20.0, Due()),
        (20.1, Completed(FIRST)),
        (75.0, Due()),
        (75.0, Completed(FIRST)),
        (75.0, Listed("newer", 75.0)),
        state=CURRENT,
    )

    assert state.due == 75.0


def test_listing_that_led_to_a_change_is_trusted_further() -> None:
    state, effects = course(
        (20.0, Listed(SECOND.marker, 20.0)), (20.0, Due()), (20.1, Completed(SECOND)), state=CURRENT
    )
    assert effects == [Effect.WAKE]

    assert course((30.0, Listed("third", 30.0)), state=state)[0].due == 30.0


@pytest.mark.parametrize(("period", "due"), [(PERIOD, 75.0), (20.0, 25.0), (600.0, 75.0)])
def test_shorter_period_counts_at_once_and_a_longer_one_from_the_next_poll_on(period: float, due: float) -> None:
    after = with_period(CURRENT, period, now=16.0)

    assert (after.period, after.due) == (period, due)


def test_period_that_stays_moves_no_poll() -> None:
    state = after_read(FIRST, at=50.0)

    assert with_period(state, PERIOD, now=51.0) is state
    assert state.due == 135.0


def test_period_that_changes_while_it_is_read_counts_after_that() -> None:
    after = with_period(READING, 20.0, now=16.0)
    assert (after.period, after.due) == (20.0, inf)

    assert course((16.0, Completed(FIRST)), state=after)[0].due == next_slot(OFFSET, 20.0, 26.0)


def test_source_can_be_due_earlier_unless_it_is_read_already() -> None:
    assert reschedule(CURRENT, 16.0) == msgspec.structs.replace(CURRENT, due=16.0)
    assert reschedule(READING, 16.0) is READING


def test_poll_that_comes_a_little_before_its_slot_is_at_it() -> None:
    assert next_slot(OFFSET, PERIOD, 75.0 - 1e-5) == pytest.approx(135.0)
    assert next_slot(OFFSET, PERIOD, 75.0 - 1e-3) == pytest.approx(75.0)


def test_places_are_spread_over_the_period_and_follow_from_the_source_alone() -> None:
    assert offset_of(DB, slots=50) == offset_of(DB, slots=50) != offset_of(TLS, slots=50)
    assert {offset_of(Source(f"secret/data/{number}"), slots=10) for number in range(200)} == {
        (slot + 0.5) / 10 for slot in range(10)
    }


def test_offset_of_a_source_is_the_same_in_every_process_and_version() -> None:
    assert [offset_of(Source(path), slots=50) for path in ("secret/data/db", "kv1/app")] == [0.25, 0.99]
