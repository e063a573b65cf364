from collections import Counter
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Source,
    SourceForbidden,
    SourceNotFound,
)
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import next_slot, offset_of
from secrets_manager.kube.objects import ObjectKey
from tests.controller.scripted import ANY, DB, PERIOD, TLS, Alarm, ScriptedBackend, idle, key, running
from tests.gen import document

MAX_CACHE_TTL = ReadPolicy().cache_ttl


def test_slots_are_a_period_apart_whatever_rounding_does() -> None:
    place = offset_of(DB, slots=50)
    slots = [next_slot(place, PERIOD, 0.0)]
    for _ in range(1000):
        slots.append(next_slot(place, PERIOD, slots[-1]))

    assert [later - earlier for earlier, later in pairwise(slots)] == pytest.approx([PERIOD] * 1000)


async def test_each_source_is_polled_once_in_each_period(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    for name in ("one", "two", "three"):
        sources.subscribe(key(name), frozenset({DB, TLS}))

    async with running(sources):
        await trio.sleep(11 * PERIOD)

    for source in (DB, TLS):
        times = backend.times(source)
        assert len(times) == 10
        assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([PERIOD] * 9)


async def test_a_period_of_its_own_is_that_of_a_source_and_of_several_the_shortest(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)

    async def reads(periods: float) -> int:
        before = len(backend.times(DB))
        await trio.sleep(periods * PERIOD)
        return len(backend.times(DB)) - before

    async with running(sources):
        sources.subscribe(key("rarely"), frozenset({DB}), period=10 * PERIOD)
        await trio.sleep(10 * PERIOD)
        assert await reads(100) == 10
        sources.subscribe(key("usually"), frozenset({DB}))
        assert await reads(10) == 10
        sources.subscribe(key("often"), frozenset({DB}), period=PERIOD / 10)
        assert await reads(10) == 100
        sources.subscribe(key("often"), frozenset({DB}), period=PERIOD / 2)
        await trio.sleep(PERIOD)
        assert await reads(10) == 20
        sources.unsubscribe(key("often"))
        await trio.sleep(PERIOD)
        assert await reads(10) == 10


async def test_polls_are_spread_over_the_period_and_a_restart_does_not_move_them(autojump_clock: MockClock) -> None:
    many = frozenset(Source(f"secret/data/app-{number}") for number in range(200))

    async def times() -> dict[Source, float]:
        backend = ScriptedBackend()
        sources = idle(backend)
        sources.subscribe(key("db"), many)
        async with running(sources):
            await trio.sleep(2 * PERIOD)
        return {source: at % PERIOD for source, at in backend.reads}

    first = await times()
    await trio.sleep(7.0)
    second = await times()
    tenths = Counter(int(at / PERIOD * 10) for at in first.values())

    assert first == pytest.approx(second)
    assert sorted(tenths) == list(range(10))
    assert max(tenths.values()) <= 2 * len(many) / 10


async def test_source_that_a_definition_has_just_read_is_not_polled_again(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=MAX_CACHE_TTL)

    async with running(sources):
        sources.subscribe(key("db"), frozenset({DB}))
        await trio.sleep(2 * MAX_CACHE_TTL)
        first_poll = backend.times(DB)[0]
        await trio.sleep(first_poll + 2 * MAX_CACHE_TTL - 1.0 - trio.current_time())
        sources.subscribe(key("db"), frozenset({DB}))
        await sources.read(key("db"), frozenset({DB}))
        await trio.sleep(MAX_CACHE_TTL + 2.0)

    assert backend.times(DB) == pytest.approx(
        [
            first_poll,
            first_poll + MAX_CACHE_TTL,
            first_poll + 2 * MAX_CACHE_TTL - 1.0,
            first_poll + 3 * MAX_CACHE_TTL,
        ]
    )


async def test_users_of_a_source_that_changed_are_woken(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    sources.subscribe(key("one"), frozenset({DB}))
    sources.subscribe(key("two"), frozenset({DB, TLS}))
    sources.subscribe(key("three"), frozenset({TLS}))

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        assert alarm.take() == []
        backend.put(DB, document(version=2))
        await trio.sleep(2 * PERIOD)

    assert alarm.take() == [{key("one"), key("two")}]


async def test_change_that_a_definition_finds_itself_wakes_the_others_too(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    sources.subscribe(key("one"), frozenset({DB}))
    sources.subscribe(key("two"), frozenset({DB}))
    await sources.read(key("one"), frozenset({DB}))
    backend.put(DB, document(version=2))
    await trio.sleep(1.0)

    sources.subscribe(key("two"), frozenset({DB}))
    await sources.read(key("two"), frozenset({DB}))

    assert alarm.take() == [{key("one"), key("two")}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(ANY, SourceNotFound("gone"), id="deleted"),
        pytest.param(SourceNotFound("gone"), ANY, id="written"),
        pytest.param(SourceNotFound("gone"), SourceForbidden("gone"), id="another kind of failure"),
        pytest.param(
            SourceNotFound("version 3 was deleted"), SourceNotFound("version 4 was destroyed"), id="other words"
        ),
        pytest.param(ANY, document({"password": "other"}, version=None), id="other content"),
        pytest.param(ANY, document({"password": "hunter2"}, version=2), id="same content, new version"),
    ],
)
async def test_users_are_woken_when_what_a_read_brings_changes(
    before: Document | BackendError, after: Document | BackendError, autojump_clock: MockClock
) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    backend.put(DB, before)
    sources.subscribe(key("db"), frozenset({DB}))

    async with running(sources):
        await trio.sleep(2 * PERIOD)
        backend.put(DB, after)
        await trio.sleep(3 * PERIOD)

    assert alarm.calls == [{key("db")}]


@pytest.mark.parametrize("content", [ANY, SourceNotFound("gone"), SourceForbidden("not allowed")])
async def test_at_rest_no_definition_is_woken(content: Document | BackendError, autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    backend.put(DB, content)
    sources.subscribe(key("db"), frozenset({DB}))

    async with running(sources):
        await trio.sleep(21 * PERIOD)

    assert (len(backend.reads), alarm.calls) == (20, [])


async def test_unused_source_is_no_longer_polled(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    sources.subscribe(key("one"), frozenset({DB, TLS}))
    sources.subscribe(key("two"), frozenset({TLS}))

    async with running(sources):
        await trio.sleep(3 * PERIOD)
        sources.unsubscribe(key("one"))
        backend.put(DB, document(version=2))
        backend.put(TLS, document(version=2))
        await trio.sleep(3 * PERIOD)

    assert Counter(read.source for read in backend.reads) == {DB: 2, TLS: 5}
    assert alarm.calls == [{key("two")}]
    assert [*sources._table.entries] == [TLS]


async def test_source_that_goes_out_of_use_as_it_is_due_costs_no_other_its_poll(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    many = [Source(f"secret/data/app-{number}") for number in range(200)]
    together = [source for source in many if offset_of(source, slots=50) == offset_of(DB, slots=50)]
    for number, source in enumerate([*together, DB]):
        sources.subscribe(key(f"app-{number}"), frozenset({source}))

    async with running(sources):
        await trio.sleep(PERIOD)
        for number in range(len(together)):
            sources.unsubscribe(key(f"app-{number}"))
        await trio.sleep(PERIOD)

    assert [read.source for read in backend.reads] == [DB]


@pytest.mark.parametrize(("concurrency", "polls"), [(1, 1), (3, 1), (16, 8)])
async def test_polls_leave_half_of_the_requests_to_definitions(
    concurrency: int, polls: int, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend(takes=10 * PERIOD)
    sources = idle(backend, concurrency=concurrency)
    sources.subscribe(key("db"), frozenset(Source(f"secret/data/app-{number}") for number in range(20)))

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    assert backend.most_under_way == polls


async def test_many_sources_of_one_namespace_hold_up_the_polls_of_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=0.1)
    sources = idle(backend, period=5.0)
    many = frozenset(Source(f"secret/data/app-{number}") for number in range(2000))
    sources.subscribe(key("many"), many)  # five times as many as can be polled in a period
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))

    async with running(sources):
        await trio.sleep(101.0)

    times = backend.times(TLS)
    assert len(times) == 19
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([5.0] * 18, abs=0.5)


async def test_source_that_was_left_or_read_while_it_waited_for_a_poller_is_not_polled(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend(takes=3 * PERIOD)
    sources = idle(backend, concurrency=2)  # with one poller
    left, read, waits = sorted([DB, TLS, Source("secret/data/app")], key=lambda source: offset_of(source, slots=50))
    polled = Source("secret/data/polled")
    sources.subscribe(key("polled"), frozenset({polled}), period=PERIOD / 2)
    for name, source in {"left": left, "read": read, "waits": waits}.items():
        sources.subscribe(key(name), frozenset({source}))

    async with running(sources):
        await trio.sleep(PERIOD)
        await trio.sleep(backend.reads[0].at + 3 * PERIOD - 1.0 - trio.current_time())
        backend.takes = 0.0
        sources.unsubscribe(key("left"))
        await sources.read(key("read"), frozenset({read}))
        await trio.sleep(2.0)

    assert [each.source for each in backend.reads] == [polled, read, waits]


async def test_definition_that_moves_leaves_its_old_source(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    sources.subscribe(key("db"), frozenset({DB}))

    async with running(sources):
        await trio.sleep(3 * PERIOD)
        sources.subscribe(key("db"), frozenset({TLS}))
        await trio.sleep(4 * PERIOD)

    assert Counter(read.source for read in backend.reads) == {DB: 2, TLS: 3}


async def test_source_that_is_used_again_is_polled_once_a_period_still(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)

    async with running(sources):
        for _ in range(5):
            sources.subscribe(key("db"), frozenset({DB}))
            await trio.sleep(PERIOD / 100)
            sources.unsubscribe(key("db"))
        sources.subscribe(key("db"), frozenset({DB}))
        await trio.sleep(PERIOD * 6 - trio.current_time())

    assert len(backend.reads) == 5
