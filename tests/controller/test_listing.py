from math import inf
from random import Random

import msgspec
import pytest

from secrets_manager.backoff import Backoff
from secrets_manager.controller import listing
from secrets_manager.controller.listing import FolderState, PollRates
from secrets_manager.controller.read_policy import ReadPolicy

POLICY = ReadPolicy(
    period=60.0,
    list_period=1.0,
    list_share=1 / 20,
    list_burst=5.0,
    list_retry=Backoff(initial=60.0, maximum=3600.0, jitter=0.0),
)
WAITING = FolderState(due=100.0, listed_at=90.0, covered_until=160.0, demand=1.0)
LISTING = msgspec.structs.replace(WAITING, due=inf, listing=True)


def confirmed(count: int) -> PollRates:
    """Those of sources that each listing confirms."""
    return PollRates(polls=count / 60, saved=count / 60, shortest_period=60.0)


TWENTY = confirmed(20)


def due(
    folder: FolderState = WAITING,
    *,
    count: int = 20,
    unread: bool = False,
    now: float = 100.0,
) -> FolderState:
    return listing.due(folder, count, unread=unread, now=now, policy=POLICY)


def listed(
    folder: FolderState = LISTING,
    of: PollRates = TWENTY,
    *,
    others: float = 0.0,
    began_at: float = 100.0,
    now: float = 100.0,
) -> FolderState:
    return listing.listed(folder, of, others=others, began_at=began_at, now=now, policy=POLICY)


# Idle


def test_first_source_of_a_folder_lets_it_rest() -> None:
    assert listing.joined(FolderState(), 1, now=10.0, policy=POLICY, random=Random(0)) == FolderState()


def test_second_one_makes_it_wait_a_moment_for_others() -> None:
    folder = listing.joined(FolderState(), 2, now=10.0, policy=POLICY, random=Random(0))

    assert 11.0 <= folder.due <= 12.0
    assert (folder.listing, folder.listed_at, folder.covered_until) == (False, 10.0, -inf)


def test_folders_wait_one_to_two_periods_so_that_a_start_brings_no_burst_of_listings() -> None:
    policy = msgspec.structs.replace(POLICY, list_period=4.0)
    waits = [
        listing.joined(FolderState(), 2, now=10.0, policy=policy, random=Random(seed)).due - 10.0 for seed in range(50)
    ]

    assert 4.0 <= min(waits) < 4.5
    assert 7.5 < max(waits) <= 8.0


@pytest.mark.parametrize("folder", [WAITING, LISTING])
def test_others_that_join_move_nothing(folder: FolderState) -> None:
    assert listing.joined(folder, 3, now=99.0, policy=POLICY, random=Random(0)) is folder


# Waiting


def test_folder_whose_time_has_come_is_listed() -> None:
    assert due() == LISTING


@pytest.mark.parametrize("folder", [WAITING, LISTING])
def test_folder_is_not_listed_before_its_time_nor_twice_at_once(folder: FolderState) -> None:
    assert due(folder, now=99.9) is folder


@pytest.mark.parametrize("count", [0, 1])
def test_folder_of_a_single_source_is_idle(count: int) -> None:
    assert due(count=count) == FolderState()


def test_folder_of_two_sources_is_listed() -> None:
    assert due(count=2) == LISTING


@pytest.mark.parametrize(
    ("listed_at", "next_due"),
    [
        pytest.param(90.0, 101.0, id="lists again soon"),
        pytest.param(40.5, 100.5, id="a period after the last listing at the latest"),
        pytest.param(40.0, inf, id="is listed once a period all the same"),
    ],
)
def test_folder_with_new_sources_waits_until_they_are_read(listed_at: float, next_due: float) -> None:
    folder = due(msgspec.structs.replace(WAITING, listed_at=listed_at), unread=True)

    assert (folder.due, folder.listing) == (next_due, next_due == inf)


# Listing


def test_folder_is_listed_as_often_as_its_listings_save_reads_and_covers_its_sources_a_period_longer() -> None:
    folder = listed()

    assert (folder.due, folder.covered_until, folder.listed_at, folder.listing) == (103.0, 163.0, 100.0, False)


def test_large_folder_is_listed_at_the_shortest_period_and_with_others_at_one_moment() -> None:
    for count in (60, 600):
        assert {listed(of=confirmed(count), began_at=now, now=now).due for now in (100.1, 100.5, 100.9)} == {101.0}


@pytest.mark.parametrize(
    ("others", "next_due"),
    [
        pytest.param(14.0, 121.0, id="fifteen in each period of listings"),
        pytest.param(15.0, 122.0, id="one more, and each is listed half as often"),
        pytest.param(44.0, 123.0, id="three times as many"),
        pytest.param(9999.0, 180.0, id="as often as a source is polled, however many there are"),
    ],
)
def test_many_folders_take_turns_and_are_listed_together(others: float, next_due: float) -> None:
    dues = [listed(of=confirmed(600), others=others, began_at=now, now=now).due for now in (120.1, 120.5, 120.9)]

    assert dues == pytest.approx([next_due] * 3)


def test_folder_of_a_source_that_is_polled_more_often_has_more_turns() -> None:
    often = PollRates(polls=10.0, saved=10.0, shortest_period=4.0)

    assert listed(of=often, others=9999.0).due == 104.0


def test_turn_of_many_folders_is_some_periods_of_listings() -> None:
    policy = msgspec.structs.replace(POLICY, list_period=2.0)

    folder = listing.listed(LISTING, confirmed(600), others=44.0, began_at=120.0, now=120.0, policy=policy)

    assert folder.due == 126.0


def test_many_folders_do_not_delay_a_folder_that_is_rarely_listed() -> None:
    assert listed(others=23.0).due == listed().due == 103.0


def test_folder_counts_among_others_by_the_listings_that_are_worth_their_cost() -> None:
    assert listed(of=confirmed(600)).demand == 1.0
    assert listed(of=confirmed(20)).demand == pytest.approx(1 / 3)


def test_folder_that_covers_nothing_delays_no_other() -> None:
    folders = {
        "idle": FolderState(),
        "failed": listing.failed(listed(), now=100.0, policy=POLICY),
        "refused": listing.refused(listed(), now=100.0, policy=POLICY, random=Random(0)),
    }

    assert {name: folder.demand for name, folder in folders.items()} == dict.fromkeys(folders, 0.0)


@pytest.mark.parametrize(
    ("polls", "saved", "rest"),
    [
        pytest.param(3 / 60, 3 / 60, 20.0, id="all confirmed"),
        pytest.param(3 / 60, 2 / 60, 30.0, id="one fails"),
        pytest.param(3 / 60, 0.0, 60.0, id="all fail"),
        pytest.param(3 / 60, 1 / 3600, 60.0, id="all fail but one that is rarely polled"),
        pytest.param(2 / 3600, 2 / 3600, 1800.0, id="all are rarely polled"),
        pytest.param(2 / 3600, 0.0, 1800.0, id="all are rarely polled, and fail"),
        pytest.param(0.0, 0.0, 60.0, id="all are out of use by now"),
    ],
)
def test_polls_that_are_made_all_the_same_earn_no_listing(polls: float, saved: float, rest: float) -> None:
    some = PollRates(polls=polls, saved=saved, shortest_period=60.0)

    assert listed(of=some).due == pytest.approx(100.0 + rest)


def test_listings_take_a_twentieth_of_the_time_once_the_credit_is_spent() -> None:
    folder = listing.joined(FolderState(), 2, now=98.0, policy=POLICY, random=Random(0))
    rests, now = [], 100.0
    for _ in range(4):
        folder = listed(folder, confirmed(600), began_at=now, now=now + 0.5)
        rests.append(folder.due - (now + 0.5))
        now = folder.due

    assert rests == pytest.approx([5.0, 10.0, 10.0, 10.0])


@pytest.mark.parametrize(("took", "rest"), [(0.05, 1.0), (0.24, 1.0), (0.25, 1.0), (0.5, 5.0), (3.0, 55.0)])
def test_slow_listing_among_quick_ones_delays_no_other_within_the_credit(took: float, rest: float) -> None:
    folder = listed(of=confirmed(600), began_at=100.0, now=100.0 + took)

    assert folder.due == pytest.approx(100.0 + took + rest, abs=1.0 if rest == 1.0 else 1e-6)


def test_listings_are_not_rarer_than_reads_would_be_however_long_they_take() -> None:
    assert listed(began_at=100.0, now=130.0).due == 130.0 + 60.0


@pytest.mark.parametrize(
    ("took", "shown", "waste"),
    [(3.1, 401, True), (3.1, 400, False), (3.0, 401, False), (0.1, 100_000, False)],
)
def test_listing_is_a_waste_if_it_takes_long_and_shows_mostly_what_is_of_no_use(
    took: float, shown: int, *, waste: bool
) -> None:
    assert listing.is_waste(used=20, shown=shown, took=took, policy=POLICY) is waste


def test_refused_folder_is_tried_again_after_minutes_to_an_hour_and_covers_nothing() -> None:
    folder, waits = LISTING, []
    for _ in range(8):
        folder = listing.refused(folder, now=100.0, policy=POLICY, random=Random(0))
        waits.append(folder.due - 100.0)
        assert (folder.listing, folder.covered_until, folder.listed_at) == (False, -inf, 100.0)

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_folder_that_can_be_listed_again_has_its_refusals_forgotten() -> None:
    refused = listing.refused(LISTING, now=100.0, policy=POLICY, random=Random(0))

    again = listed(msgspec.structs.replace(refused, due=inf, listing=True), began_at=160.0, now=160.0)

    assert (refused.refusals, again.refusals) == (1, 0)


def test_folder_whose_listing_failed_waits_a_period_and_covers_nothing() -> None:
    folder = listing.failed(LISTING, now=100.0, policy=POLICY)

    assert (folder.due, folder.listing, folder.covered_until, folder.listed_at) == (160.0, False, -inf, 100.0)
