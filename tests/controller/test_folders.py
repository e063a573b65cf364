"""Listings find changes, wherever they are cheaper than reads; and where they can't, reads do."""

from collections import Counter
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import (
    BackendError,
    Document,
    NotListable,
    Source,
    SourceForbidden,
    SourceNotFound,
    SourceTooLarge,
    Unavailable,
)
from secrets_manager.controller.sources import Sources
from secrets_manager.kube.objects import ObjectKey
from tests.controller.scripted import Alarm, ScriptedBackend, idle, key, running
from tests.gen import document

FOLDER = "secret/data/shop"
MANY = frozenset(Source(f"{FOLDER}/app-{number}") for number in range(20))
ONE = Source(f"{FOLDER}/app-7")
PERIOD = 60.0


async def in_use(
    backend: ScriptedBackend, *, alarm: Alarm | None = None, many: frozenset[Source] = MANY, concurrency: int = 16
) -> Sources:
    """Sources that each are used by a definition, and have been read for it."""
    sources = idle(backend, wake=alarm, period=PERIOD, list_period=1.0, concurrency=concurrency)
    for source in many:
        backend.put(source, document({"password": "first"}))
        sources.subscribe(user(source), frozenset({source}))
        await sources.read(user(source), frozenset({source}))
    backend.reads.clear()
    return sources


def user(source: Source) -> ObjectKey:
    """The definition that uses it."""
    return key(source.path.rpartition("/")[2])


async def test_at_rest_a_folder_is_listed_and_nothing_is_read(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    times = [listing.at for listing in backend.listings]
    assert {listing.folder for listing in backend.listings} == {FOLDER}
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([PERIOD / 20] * (len(times) - 1))
    assert [read for read in backend.reads if read.at > PERIOD] == []


async def test_folder_is_listed_once_all_its_sources_have_been_read(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)
    late = Source(f"{FOLDER}/late")
    sources.subscribe(user(late), frozenset({late}))

    async with running(sources):
        await trio.sleep(10)
        assert backend.listings == []
        await sources.read(user(late), frozenset({late}))
        await trio.sleep(1.0)
        assert len(backend.listings) == 1


async def test_folder_is_listed_though_its_last_source_was_left_before_it_was_read(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)
    late = Source(f"{FOLDER}/late")
    sources.subscribe(user(late), frozenset({late}))
    sources.unsubscribe(user(late))

    async with running(sources):
        await trio.sleep(3.0)
        assert len(backend.listings) == 1


async def test_folder_whose_sources_take_long_to_be_read_is_listed_once_a_period(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=10 * PERIOD)
    sources = idle(backend, period=PERIOD, list_period=1.0, concurrency=30)
    for source in MANY:
        sources.subscribe(user(source), frozenset({source}))

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    times = [listing.at for listing in backend.listings]
    assert [later - earlier for earlier, later in pairwise([0.0, *times])] == pytest.approx([PERIOD] * 4, abs=1.0)


async def test_change_wakes_its_users_within_the_period_of_listings(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = await in_use(backend, alarm=alarm)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.reads.clear()
        backend.put(ONE, document({"password": "second"}, version=2))
        await trio.sleep(PERIOD / 20 + 0.1)

        assert alarm.take() == [{user(ONE)}]
        assert [read.source for read in backend.reads] == [ONE]
        assert await sources.read(user(ONE), frozenset({ONE})) == {ONE: document({"password": "second"}, version=2)}


async def test_source_that_goes_and_comes_again_wakes_its_users_both_times(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = await in_use(backend, alarm=alarm)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.put(ONE, SourceNotFound("nothing is there"))
        await trio.sleep(PERIOD)
        assert alarm.take() == [{user(ONE)}]
        backend.reads.clear()
        await trio.sleep(PERIOD)
        assert backend.reads == []

        backend.put(ONE, document({"password": "again"}, version=3))
        await trio.sleep(PERIOD / 20 + 0.1)
        assert alarm.take() == [{user(ONE)}]


async def test_source_that_fails_though_it_is_listed_is_read_once_a_period(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = await in_use(backend, alarm=alarm)
    backend.put(ONE, SourceForbidden("not allowed"))
    backend.listed[FOLDER] = {source.path.rpartition("/")[2]: document({"password": "first"}).marker for source in MANY}
    await trio.sleep(1)
    sources.subscribe(user(ONE), frozenset({ONE}))
    await sources.read(user(ONE), frozenset({ONE}))

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.reads.clear()
        await trio.sleep(5 * PERIOD)
        assert [read.source for read in backend.reads] == [ONE] * 5

        backend.put(ONE, document({"password": "first"}))
        await trio.sleep(PERIOD + 0.1)
        assert alarm.take()[-1] == {user(ONE)}


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(NotListable("403"), id="refused"),
        pytest.param(SourceTooLarge("more than can be"), id="too large"),
        pytest.param(Unavailable("429"), id="in trouble"),
    ],
)
async def test_sources_of_a_folder_that_can_not_be_listed_are_read_once_a_period(
    refusal: BackendError, autojump_clock: MockClock
) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = await in_use(backend, alarm=alarm)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.listed[FOLDER] = refusal
        await trio.sleep(PERIOD)
        backend.reads.clear()
        await trio.sleep(3 * PERIOD)
        assert {source: len(backend.times(source)) for source in MANY} == dict.fromkeys(MANY, 3)

        backend.put(ONE, document({"password": "second"}, version=2))
        await trio.sleep(PERIOD + 0.1)
        assert alarm.take() == [{user(ONE)}]


async def test_refused_listing_is_tried_again_more_and_more_seldom(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend, many=frozenset({ONE, Source(f"{FOLDER}/app-8")}))
    backend.listed[FOLDER] = NotListable("403")

    async with running(sources):
        await trio.sleep(6 * 3600)
        waits = [later.at - earlier.at for earlier, later in pairwise(backend.listings)]
        assert 30 <= waits[0] <= 60
        assert len(waits) > 10
        assert all(1800 <= wait <= 3600 for wait in waits[7:])

        del backend.listed[FOLDER]
        await trio.sleep(3600 + PERIOD)
        backend.reads.clear()
        await trio.sleep(5 * PERIOD)
        assert backend.reads == []

        backend.listed[FOLDER] = NotListable("403 again")
        backend.listings.clear()
        await trio.sleep(3 * PERIOD)
        first, second, *_ = backend.listings
        assert 30 <= second.at - first.at <= 60


async def test_listing_of_a_store_in_trouble_is_tried_again_once_a_period(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)
    backend.listed[FOLDER] = Unavailable("429")

    async with running(sources):
        await trio.sleep(20 * PERIOD)

    waits = [later.at - earlier.at for earlier, later in pairwise(backend.listings)]
    assert waits == pytest.approx([PERIOD] * 19)
    assert backend.metrics.unexpected_errors == []


async def test_listing_is_one_of_the_requests_that_may_be_under_way(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 5.0
    sources = await in_use(backend, concurrency=1)
    other = Source("secret/data/other/db")

    async with running(sources):
        await trio.sleep(2)
        assert backend.listings_under_way == 1
        sources.subscribe(user(other), frozenset({other}))
        await sources.read(user(other), frozenset({other}))

    assert backend.times(other) == pytest.approx([backend.listings[0].at + 5])


async def test_source_that_was_read_while_its_folder_was_listed_is_not_read_again_for_it(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 4.0
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        await trio.sleep(backend.listings[-1].at + PERIOD + 4 + 1 - trio.current_time())
        assert backend.listings_under_way == 1
        backend.put(ONE, document({"password": "second"}, version=2))
        sources.subscribe(user(ONE), frozenset({ONE}))
        await sources.read(user(ONE), frozenset({ONE}))
        backend.reads.clear()
        await trio.sleep(4)

    assert backend.reads == []


async def test_listing_takes_a_fifteenth_of_the_time_at_most(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 0.5
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(10 * PERIOD)

    times = [listing.at for listing in backend.listings]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[2:] == pytest.approx([8.0] * len(pauses[2:]))
    assert sum(pauses[:2]) == pytest.approx(2 * 8.0 - 5.0)


async def test_slow_listing_among_quick_ones_puts_off_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 0.01
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(PERIOD)
        backend.listings.clear()
        backend.listing_takes = 0.4
        await trio.sleep(PERIOD / 20)
        backend.listing_takes = 0.01
        await trio.sleep(PERIOD)

    pauses = [later.at - earlier.at for earlier, later in pairwise(backend.listings)]
    assert max(pauses) == pytest.approx(PERIOD / 20 + 0.4)


async def test_listing_comes_as_often_as_reads_would_however_long_it_takes(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 5.0
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    times = [listing.at for listing in backend.listings]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([PERIOD + 5.0] * (len(times) - 1))


async def test_folder_at_rest_waits_for_a_source_that_joins_it_and_is_unread(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)
    joining = Source(f"{FOLDER}/joining")
    backend.put(joining, document({"password": "first"}))

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        sources.subscribe(user(joining), frozenset({joining}))
        backend.listings.clear()
        await trio.sleep(PERIOD / 4)
        assert backend.listings == []

        await sources.read(user(joining), frozenset({joining}))
        await trio.sleep(PERIOD / 4)
        assert backend.listings != []


async def test_few_listings_are_under_way_at_a_time_and_each_folder_has_its_turn(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 0.04
    many = frozenset(Source(f"secret/data/folder-{number % 20}/app-{number}") for number in range(2000))
    sources = await in_use(backend, many=many)

    async with running(sources):
        await trio.sleep(PERIOD)
        backend.listings.clear()
        await trio.sleep(PERIOD)

    assert backend.most_listings_under_way == 2
    assert Counter(listing.folder for listing in backend.listings) == {
        f"secret/data/folder-{number}": PERIOD / 2 for number in range(20)
    }


async def test_folder_of_a_source_that_is_polled_more_often_has_its_turn_as_often(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    many = frozenset(Source(f"secret/data/folder-{number % 20}/app-{number}") for number in range(2000))
    sources = await in_use(backend, many=many)
    often = Source("secret/data/folder-0/app-0")
    sources.subscribe(user(often), frozenset({often}), period=1.0)

    async with running(sources):
        await trio.sleep(PERIOD)
        backend.listings.clear()
        await trio.sleep(PERIOD)

    counts = Counter(listing.folder for listing in backend.listings)
    assert (counts["secret/data/folder-0"], counts["secret/data/folder-1"]) == (PERIOD, PERIOD / 2)


async def test_as_many_folders_as_fit_in_one_turn_are_each_listed_every_second(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    many = frozenset(Source(f"secret/data/folder-{number % 15}/app-{number}") for number in range(15 * 61))
    sources = await in_use(backend, many=many)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.listings.clear()
        await trio.sleep(PERIOD)

    assert Counter(listing.folder for listing in backend.listings) == {
        f"secret/data/folder-{number}": PERIOD for number in range(15)
    }


async def test_listing_that_fails_leaves_its_place_to_others(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 5.0
    many = frozenset(Source(f"secret/data/folder-{number % 20}/app-{number}") for number in range(2000))
    sources = await in_use(backend, many=many)
    for number in range(20):
        backend.listed[f"secret/data/folder-{number}"] = Unavailable("no answer")

    async with running(sources):
        await trio.sleep(PERIOD)

    assert backend.most_listings_under_way == 2
    assert len({listing.folder for listing in backend.listings}) == 20


async def test_sources_are_polled_again_when_no_listing_has_ended_for_long(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.listing_takes = 1e6
        await trio.sleep(2 * PERIOD)
        backend.reads.clear()
        await trio.sleep(6 * PERIOD)

    assert {read.source for read in backend.reads} == MANY


async def test_source_that_waits_for_a_poller_is_not_polled_once_a_listing_covers_it(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend, concurrency=4)  # with two pollers
    backend.listed[FOLDER] = Unavailable("429")

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.takes = 2.5 * PERIOD
        await trio.sleep(2 * PERIOD)
        assert backend.under_way == 2
        backend.reads.clear()
        del backend.listed[FOLDER]
        await trio.sleep(5 * PERIOD)
        assert backend.reads == []

        backend.listing_takes = 1e6
        backend.takes = 0.0
        await trio.sleep(7 * PERIOD)
        assert {read.source for read in backend.reads} == MANY


async def test_folders_that_go_out_of_use_leave_the_listings_of_others_as_they_are(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    many = frozenset(Source(f"secret/data/folder-{number % 3}/app-{number}") for number in range(60))
    sources = await in_use(backend, many=many)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        for source in many:
            if not source.path.startswith("secret/data/folder-0/"):
                sources.unsubscribe(user(source))
        await trio.sleep(PERIOD)
        backend.listings.clear()
        await trio.sleep(PERIOD)

    assert Counter(listing.folder for listing in backend.listings) == {"secret/data/folder-0": 20}


async def test_folder_that_can_not_be_listed_is_logged_once_with_the_reason(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "secrets_manager.controller.lister")
    backend = ScriptedBackend()
    backend.listed[FOLDER] = NotListable("permission denied")
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(PERIOD / 4)
        assert (len(backend.listings), len(caplog.records)) == (1, 1)
        await trio.sleep(30 * PERIOD)

    assert len(backend.listings) > 1
    assert [vars(record)["fields"] for record in caplog.records] == [{"folder": FOLDER, "reason": "permission denied"}]
    assert backend.metrics.unexpected_errors == []


async def test_folders_are_listed_together(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    many = frozenset(Source(f"secret/data/folder-{number % 5}/app-{number}") for number in range(500))
    sources = await in_use(backend, many=many)

    async with running(sources):
        await trio.sleep(10 * PERIOD)

    times = Counter(round(listing.at, 6) for listing in backend.listings if listing.at > PERIOD)
    assert set(times.values()) == {5}
    assert [later - earlier for earlier, later in pairwise(sorted(times))] == pytest.approx([1.0] * (len(times) - 1))


@pytest.mark.parametrize(
    ("takes", "others", "reads"),
    [
        pytest.param(5.0, 381, 1, id="slow, and more than twenty times as many secrets as are used"),
        pytest.param(5.0, 380, 0, id="slow"),
        pytest.param(0.5, 2000, 0, id="large"),
    ],
)
async def test_folder_of_which_little_is_used_is_not_listed_where_that_takes_longer_than_a_period(
    takes: float, others: int, reads: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "secrets_manager.controller.lister")
    backend = ScriptedBackend()
    backend.listing_takes = takes
    sources = await in_use(backend)
    for number in range(others):
        backend.put(Source(f"{FOLDER}/other-{number}"), document({"password": "theirs"}))

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.reads.clear()
        await trio.sleep(PERIOD)

    assert {source: len(backend.times(source)) for source in MANY} == dict.fromkeys(MANY, reads)
    reasons = [vars(record)["fields"]["reason"] for record in caplog.records]
    assert reasons == [f"{others + 20} secrets are there, and 20 are used"] * reads
    assert backend.metrics.unexpected_errors == []


async def test_source_that_fails_earns_its_folder_no_listings(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    many = frozenset(Source(f"{FOLDER}/app-{number}") for number in range(3))
    sources = await in_use(backend, many=many)
    backend.put(Source(f"{FOLDER}/app-0"), SourceForbidden("not allowed"))

    async with running(sources):
        await trio.sleep(3 * PERIOD)
        backend.listings.clear()
        await trio.sleep(5 * PERIOD)

    times = [listing.at for listing in backend.listings]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([PERIOD / 2] * 9)


async def test_folder_whose_sources_are_rarely_polled_is_rarely_listed(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=PERIOD, list_period=1.0)
    for name in ("a", "b"):
        source = Source(f"{FOLDER}/{name}")
        backend.put(source, document({"password": "first"}))
        sources.subscribe(user(source), frozenset({source}), period=60 * PERIOD)
        await sources.read(user(source), frozenset({source}))

    async with running(sources):
        await trio.sleep(300 * PERIOD)

    times = [listing.at for listing in backend.listings]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([30 * PERIOD] * 9)


async def test_folder_whose_sources_fail_is_listed_once_a_period_though_one_of_them_is_rarely_polled(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=PERIOD, list_period=1.0)
    for name, period in (("a", PERIOD), ("b", 60 * PERIOD)):
        source = Source(f"{FOLDER}/{name}")
        backend.put(source, SourceForbidden("not allowed"))
        sources.subscribe(user(source), frozenset({source}), period=period)
        await sources.read(user(source), frozenset({source}))

    async with running(sources):
        await trio.sleep(10 * PERIOD)

    times = [listing.at for listing in backend.listings]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([PERIOD] * 9)


async def test_single_source_of_a_folder_is_read_and_not_listed(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend, many=frozenset({ONE}))

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    assert backend.listings == []
    assert len(backend.times(ONE)) == 5


async def test_second_source_of_a_folder_makes_it_worth_a_listing(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend, many=frozenset({ONE}))
    second = Source(f"{FOLDER}/second")

    async with running(sources):
        await trio.sleep(5 * PERIOD)
        sources.subscribe(user(second), frozenset({second}))
        await sources.read(user(second), frozenset({second}))
        await trio.sleep(2)

    assert [listing.folder for listing in backend.listings] == [FOLDER]


async def test_folder_is_not_listed_once_its_last_user_is_gone(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        for source in MANY - {ONE}:
            sources.unsubscribe(user(source))
        await trio.sleep(PERIOD)
        backend.listings.clear()
        backend.reads.clear()
        await trio.sleep(PERIOD)
        assert (backend.listings, len(backend.times(ONE))) == ([], 1)

        sources.unsubscribe(user(ONE))
        backend.reads.clear()
        await trio.sleep(5 * PERIOD)
        assert (backend.listings, backend.reads) == ([], [])


async def test_period_of_zero_lists_nothing(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=PERIOD, list_period=0.0)
    sources.subscribe(key("all"), MANY)

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    assert backend.listings == []


async def test_version_that_is_pinned_is_read_once_a_period(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    pinned = Source(ONE.path, "1")
    sources = await in_use(backend)
    backend.put(pinned, document({"password": "old"}))
    sources.subscribe(key("pinned"), frozenset({pinned}))

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.reads.clear()
        await trio.sleep(3 * PERIOD)

    assert [read.source for read in backend.reads] == [pinned] * 3


async def test_listing_that_shows_less_than_a_read_is_compared_with_what_it_shows(autojump_clock: MockClock) -> None:
    """Key Vault lists times of change and no versions."""
    backend = ScriptedBackend()
    sources = await in_use(backend)
    document = Document(values={"password": "first"}, marker="a-version", version="a-version", listed="a-time")
    backend.put(ONE, document)

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.reads.clear()
        await trio.sleep(PERIOD)

    assert backend.reads == []


async def test_sources_are_polled_within_a_period_of_the_listing_that_failed(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0, list_period=1.0)
    for source in MANY:
        backend.put(source, document({"password": "first"}))
        sources.subscribe(user(source), frozenset({source}))
        await sources.read(user(source), frozenset({source}))

    async with running(sources):
        await trio.sleep(600)
        backend.reads.clear()
        backend.listed[FOLDER] = Unavailable("429")
        failed_at = len(backend.listings)
        while len(backend.listings) == failed_at:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)
        await trio.sleep(5.1)

    assert {read.source for read in backend.reads} == MANY
