"""The pure machines of reading, over any course of events."""

from collections.abc import Sequence
from math import inf
from random import Random
from typing import NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.backends import Source, SourceForbidden, SourceNotFound, Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.controller import concurrency, health, listing, reading
from secrets_manager.controller.concurrency import ConcurrencyLimit
from secrets_manager.controller.health import Doubted, Down, Health, Probing, Up
from secrets_manager.controller.listing import FolderState, PollRates
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
)
from tests.gen import NAMESPACE, document

PERIOD = 10.0
POLICY = ReadPolicy(
    period=PERIOD,
    max_failing_period=25.0,
    concurrency=8,
    list_period=1.0,
    list_burst=2.0,
    list_retry=Backoff(initial=5.0, maximum=20.0),
    probe=Backoff(initial=0.5, maximum=4.0),
)
PERIODS = (4.0, PERIOD, 40.0)
DB = Source("secret/data/db")
MARKERS = ["1", "2", "3", None]

waits = st.sampled_from([0.0, 0.1, 1.0, 4.0, 10.0, 25.0])
results: st.SearchStrategy[ReadResult] = st.sampled_from(
    [
        *(msgspec.structs.replace(document(), marker=marker) for marker in MARKERS if marker),
        SourceNotFound("nothing is there"),
        SourceForbidden("not allowed"),
        Unavailable("sealed"),
    ]
)

# One source

events = st.one_of(
    st.sampled_from([Requested(), Due(), Started(), Covered(), Uncovered(), Interrupted()]),
    results.map(Completed),
    st.tuples(st.sampled_from(MARKERS), waits),  # a listing, and how long ago it began
)


@given(st.lists(st.tuples(waits, events | st.sampled_from(PERIODS)), max_size=40), st.sampled_from(PERIODS))
def test_source_has_one_wake_up_or_one_read_under_way_and_its_users_hear_of_every_change(
    course: list[tuple[float, Event | tuple[str | None, float] | float]], period: float
) -> None:
    now, longest = 1000.0, period
    state = reading.new_state(DB, period=period, now=now, policy=POLICY)
    for wait, what in course:
        now, before = now + wait, state
        effects: Sequence[Effect] = ()
        if isinstance(what, int | float):
            longest = max(longest, what)
            state = reading.with_period(state, what, now=now)
        else:
            event = Listed(what[0], now - what[1]) if isinstance(what, tuple) else what
            state, effects = reading.step(state, event, now=now, policy=POLICY)
            judge(before, event, state, now)
        reads = state.phase is Phase.READING
        assert (state.due == inf) is reads
        assert (Effect.READ in effects) is (reads and before.phase is not Phase.READING)
        assert (Effect.WAKE in effects) is (before.content not in ("", state.content))
        bound = max(1.5 * longest, POLICY.min_covered_period)
        assert reads or state.due <= max(now + bound, before.due if before.due < inf else 0.0)


def judge(before: SourceState, event: Event, after: SourceState, now: float) -> None:
    """What holds of single events."""
    match event:
        case Listed():
            assert after.due <= max(before.due, now)
            assert after.content == before.content
        case Covered():
            assert after.due <= max(before.due, now + max(before.period, POLICY.min_covered_period))
        case Uncovered():
            assert after.phase is not Phase.CURRENT or after.due <= now + after.period
        case Due() | Requested():
            assert after.phase is Phase.READING
        case Started() if before.phase is Phase.READING:
            assert after.read_at == now
        case Started():
            assert after == before
        case Completed() | Interrupted():
            assert after.phase is not Phase.READING


@given(st.lists(st.tuples(waits, st.sampled_from(MARKERS)), max_size=60))
def test_listings_that_contradict_all_reads_lead_to_one_of_them_a_period_beside_the_poll(
    course: list[tuple[float, str | None]],
) -> None:
    """Whatever a folder shows: the source itself is as it was."""
    began = now = 1000.0
    state = reading.new_state(DB, period=PERIOD, now=now, policy=POLICY)
    reads = 0
    for wait, marker in course:
        until = now + wait
        while state.due <= until:
            now = state.due
            reads += 1
            state = read(state, document(), now=now)
        now = until
        state, _ = reading.step(state, Listed(marker, now), now=now, policy=POLICY)
    assert reads <= 2 * ((now - began) / PERIOD + 1)


def read(state: SourceState, result: ReadResult, *, now: float) -> SourceState:
    """A read that takes no time."""
    state, effects = reading.step(state, Due(), now=now, policy=POLICY)
    assert effects == (Effect.READ,)
    return reading.step(state, Completed(result), now=now, policy=POLICY)[0]


@given(st.floats(0, 1), st.sampled_from(PERIODS), st.floats(0, 1e6))
def test_next_slot_is_within_a_period_and_the_one_after_that_a_period_later(
    place: float, period: float, now: float
) -> None:
    first = reading.next_slot(place, period, now)
    second = reading.next_slot(place, period, first)

    assert now < first <= now + period * 1.00001
    assert abs(second - first - period) < 1e-3


# One folder


class Members(NamedTuple):
    """The sources of a folder, as a listing finds them."""

    in_use: int
    unread: bool
    confirmed: int

    @property
    def rates(self) -> PollRates:
        saved = min(self.in_use, self.confirmed) / PERIOD
        return PollRates(polls=self.in_use / PERIOD, saved=saved, shortest_period=PERIOD)


members = st.builds(Members, st.integers(0, 30), st.sampled_from([False, False, True]), st.integers(0, 30))
answers = st.sampled_from(["listed", "refused", "failed"])
durations = st.sampled_from([0.0, 0.01, 0.3, 4.0, 15.0])


@given(st.lists(st.tuples(members, answers, durations), max_size=40), st.randoms(use_true_random=False))
def test_folder_has_one_wake_up_or_one_listing_under_way_and_costs_no_more_than_it_saves(
    course: list[tuple[Members, str, float]], random: Random
) -> None:
    now = 1000.0
    folder = listing.joined(FolderState(), 2, now=now, policy=POLICY, random=random)
    for known, answer, takes in course:
        assert now <= folder.due < inf
        now = folder.due
        folder = listing.due(folder, known.in_use, unread=known.unread, now=now, policy=POLICY)
        if folder == FolderState():
            assert known.in_use <= 1
            folder = listing.joined(folder, 2, now=now, policy=POLICY, random=random)
            continue
        if not folder.listing:
            assert known.unread
            assert now < folder.due <= now + PERIOD
            continue
        assert folder.due == inf
        began_at, now = now, now + takes
        folder = answered(folder, answer, known.rates, began_at=began_at, now=now, random=random)
        assert not folder.listing


def answered(
    folder: FolderState, answer: str, rates: PollRates, *, began_at: float, now: float, random: Random
) -> FolderState:
    match answer:
        case "refused":
            after = listing.refused(folder, now=now, policy=POLICY, random=random)
            assert now + 2.5 <= after.due <= now + 20.0
            assert after.covered_until == -inf
        case "failed":
            after = listing.failed(folder, now=now, policy=POLICY)
            assert (after.due, after.covered_until) == (now + PERIOD, -inf)
        case _:
            others = random.choice([0.0, 1.5, 30.0, 1000.0])
            after = listing.listed(folder, rates, others=others, began_at=began_at, now=now, policy=POLICY)
            rest = after.due - now
            assert rest <= PERIOD + 1e-6
            assert rest >= min(PERIOD, 1 / rates.saved if rates.saved else PERIOD) - 1e-6 or rest <= POLICY.list_period
            assert after.covered_until == after.due + PERIOD
    return after


@given(st.lists(st.tuples(durations, st.integers(2, 600)), min_size=1, max_size=60))
def test_listings_take_their_share_of_the_time_unless_reads_would_come_more_often(
    course: list[tuple[float, int]],
) -> None:
    began = now = 1000.0
    folder = listing.joined(FolderState(), 2, now=now, policy=POLICY, random=Random(0))
    spent = 0.0
    for takes, count in course:
        now = folder.due
        rates = PollRates(polls=count / PERIOD, saved=count / PERIOD, shortest_period=PERIOD)
        folder = msgspec.structs.replace(folder, listing=True, due=inf)
        folder = listing.listed(folder, rates, others=0.0, began_at=now, now=now + takes, policy=POLICY)
        spent += takes if takes / POLICY.list_share < PERIOD else 0.0  # slower ones come once a period
        now += takes
    assert spent <= POLICY.list_share * (folder.due - began + POLICY.list_burst) + 1e-6


# The store

PATHS = [Source(f"secret/data/{name}") for name in "abcde"]


@given(
    st.lists(
        st.tuples(
            waits,
            st.sampled_from(["begin", "answered", "failed", "late", "interrupted", "unopposed"]),
            st.sampled_from(PATHS),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 7]),
    st.integers(0, 5),
    st.sampled_from([None, 3.0]),
    st.randoms(use_true_random=False),
)
def test_store_that_is_down_has_a_time_for_its_probe_or_a_probe_under_way(
    course: list[tuple[float, str, Source]], others: int, in_use: int, retry_after: float | None, random: Random
) -> None:
    state: Health = Up()
    now, mine, theirs = 1000.0, frozenset({NAMESPACE}), frozenset({"theirs"})
    error = Unavailable("sealed", retry_after=retry_after)

    def fail(before: Health, source: Source, *, probe: bool) -> Health:
        return health.failed(
            before,
            source,
            error,
            probe=probe,
            in_use=in_use,
            users=mine,
            sound_outside=lambda _: others > 0,
            now=now,
            policy=POLICY,
            random=random,
        )

    for wait, what, source in course:
        now, before = now + wait, state
        match what:
            case "begin":
                asks, others_ask = (health.rejection(state, users, now=now) is None for users in (mine, theirs))
                state = health.probing(state, now=now)
                assert asks is (isinstance(before, Up) or (isinstance(before, Down) and isinstance(state, Probing)))
                assert others_ask is (asks or isinstance(before, Doubted))
            case "answered":
                state = health.answered(state)
                assert state == Up()
            case "failed":
                state = fail(state, source, probe=isinstance(state, Probing))
                assert not isinstance(state, Probing)
            case "late":  # it began before the outage
                state = fail(state, source, probe=False)
                assert isinstance(before, Up | Doubted) or state is before
            case "unopposed":
                state = health.unopposed(state, now=now, policy=POLICY, random=random)
                assert isinstance(state, Down) if isinstance(before, Doubted) else state is before
            case _:
                state = health.probe_ended(state, now=now)
                assert health.probe_at(state) == (now if isinstance(before, Probing) else health.probe_at(before))
        _check_health(state, mine, in_use=in_use, others=others)
        if isinstance(state, Down) and state is not before:
            assert now <= state.probe_at <= now + max(POLICY.probe.maximum, retry_after or 0.0)


def _check_health(state: Health, users: frozenset[str], *, in_use: int, others: int) -> None:
    is_up = health.current_error(state) is None
    match state:
        case Up(failed):
            assert is_up
            assert len(failed) < min(POLICY.failure_threshold, max(in_use, 1))
        case Doubted():
            assert is_up
            assert others > 0
            assert state.users == users
        case _:
            assert not is_up


@given(st.lists(st.tuples(waits, st.booleans()), max_size=60))
def test_bound_stays_between_one_and_its_most_and_comes_back_to_it(course: list[tuple[float, bool]]) -> None:
    state, now = ConcurrencyLimit(POLICY.concurrency), 1000.0

    def after(wait: float, *, answered: bool) -> ConcurrencyLimit:
        nonlocal now
        now += wait
        return concurrency.next_limit(state, answered=answered, now=now, policy=POLICY)

    for wait, answered in course:
        before, state = state, after(wait, answered=answered)
        assert 1 <= state.limit <= POLICY.concurrency
        assert (state.limit <= before.limit) or answered
        assert (state.limit >= before.limit) or not answered
    for _ in range(POLICY.concurrency):
        state = after(POLICY.concurrency_interval, answered=True)
    assert state.limit == POLICY.concurrency
