from collections.abc import Iterable
from math import inf
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Source,
    SourceForbidden,
    SourceMalformed,
)
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.sources import Sources
from secrets_manager.kube.objects import ObjectKey
from tests.controller.scripted import ANY, DB, PERIOD, TLS, Alarm, Read, ScriptedBackend, idle, key, running
from tests.gen import document

MAX_CACHE_TTL = ReadPolicy().cache_ttl


def held_result(sources: Sources) -> Document | BackendError | None:
    """What is in memory of the last read of DB."""
    entry = sources._table.get(DB)
    assert entry is not None
    return entry.cached


async def test_source_is_read_once_for_all_who_ask_at_one_moment(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=1.0)
    sources = idle(backend)
    keys = [key(f"db-{number}") for number in range(100)]
    got: list[Document | BackendError] = []

    async def ask(one: ObjectKey) -> None:
        got.append((await sources.read(one, frozenset({DB})))[DB])

    for one in keys:
        sources.subscribe(one, frozenset({DB}))
    async with trio.open_nursery() as nursery:
        for one in keys:
            nursery.start_soon(ask, one)

    assert backend.reads == [Read(DB, 0.0)]
    assert {id(document) for document in got} == {id(ANY)}
    assert len(got) == len(keys)


async def test_read_that_waits_long_for_a_slot_counts_from_when_it_began(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=2 * MAX_CACHE_TTL)
    sources = idle(backend, concurrency=1)
    for number, source in enumerate((TLS, DB, DB)):
        sources.subscribe(key(f"db-{number}"), frozenset({source}))

    async def ask(number: int, source: Source, at: float) -> None:
        await trio.sleep_until(at)
        await sources.read(key(f"db-{number}"), frozenset({source}))

    async with trio.open_nursery() as nursery:
        for number, (source, at) in enumerate([(TLS, 0.0), (DB, 0.1), (DB, 1.9 * MAX_CACHE_TTL)]):
            nursery.start_soon(ask, number, source, at)
        await trio.sleep(1.0)
        backend.takes = 0.0
    await ask(2, DB, 2.9 * MAX_CACHE_TTL)

    assert backend.reads == [Read(TLS, 0.0), Read(DB, 2 * MAX_CACHE_TTL)]


async def test_definitions_that_share_a_path_get_the_same_version_even_if_it_changes_between(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    first = document(version=1)
    backend.put(DB, first)
    for name in ("one", "two"):
        sources.subscribe(key(name), frozenset({DB}))

    one = await sources.read(key("one"), frozenset({DB}))
    backend.put(DB, document(version=2))
    two = await sources.read(key("two"), frozenset({DB}))

    assert one == two == {DB: first}


async def test_sources_of_one_definition_are_read_side_by_side(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=1.0)
    sources = idle(backend)
    backend.put(TLS, document({"crt": "PEM"}))
    sources.subscribe(key("db"), frozenset({DB, TLS}))

    assert await sources.read(key("db"), frozenset({DB, TLS})) == {DB: ANY, TLS: document({"crt": "PEM"})}
    assert trio.current_time() == 1.0


@pytest.mark.parametrize(("concurrency", "reads"), [(1, 1), (4, 3), (8, 6)])
async def test_definition_with_many_sources_has_three_quarters_of_the_requests(
    concurrency: int, reads: int, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend(takes=1.0)
    sources = idle(backend, concurrency=concurrency)
    many = frozenset(Source(f"secret/data/app-{number}") for number in range(12))
    sources.subscribe(key("many"), many)

    assert await sources.read(key("many"), many) == dict.fromkeys(many, ANY)
    assert (backend.most_under_way, trio.current_time()) == (reads, 12 / reads)


async def test_definition_with_many_sources_holds_up_the_reads_of_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=1.0)
    sources = idle(backend)
    many = frozenset(Source(f"secret/data/app-{number}") for number in range(1000))
    sources.subscribe(key("many"), many)
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sources.read, key("many"), many)
        await trio.sleep(10.5)
        await sources.read(ObjectKey("other", "tls"), frozenset({TLS}))
        assert trio.current_time() == 11.5
        nursery.cancel_scope.cancel()


async def test_failed_read_is_a_result_beside_the_good_ones(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    error = SourceForbidden("not allowed")
    backend.put(TLS, error)
    sources.subscribe(key("db"), frozenset({DB, TLS}))

    assert await sources.read(key("db"), frozenset({DB, TLS})) == {DB: ANY, TLS: error}


async def test_changed_definition_reads_afresh(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    sources.subscribe(key("db"), frozenset({DB}))
    await sources.read(key("db"), frozenset({DB}))
    newer = document(version=2)
    backend.put(DB, newer)
    await trio.sleep(1.0)

    sources.subscribe(key("db"), frozenset({DB}))

    assert await sources.read(key("db"), frozenset({DB})) == {DB: newer}


async def test_read_that_began_before_the_change_does_not_serve_it(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=2.0)
    sources = idle(backend)
    newer = document(version=2)
    sources.subscribe(key("one"), frozenset({DB}))
    sources.subscribe(key("two"), frozenset({DB}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sources.read, key("one"), frozenset({DB}))
        await trio.sleep(1.0)
        backend.put(DB, newer)
        sources.subscribe(key("two"), frozenset({DB}))
        documents = await sources.read(key("two"), frozenset({DB}))

    assert documents == {DB: newer}


async def test_cancelled_read_leaves_nothing_that_passes_for_fresh(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    sources.subscribe(key("db"), frozenset({DB}))
    await sources.read(key("db"), frozenset({DB}))
    await trio.sleep(1.0)
    newer = document(version=2)
    backend.put(DB, newer)
    sources.subscribe(key("db"), frozenset({DB}))

    backend.takes = inf
    with trio.move_on_after(1.0):
        await sources.read(key("db"), frozenset({DB}))
    backend.takes = 0.0

    with trio.fail_after(10.0):
        assert await sources.read(key("db"), frozenset({DB})) == {DB: newer}


async def test_cancelled_read_keeps_no_other_waiting(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=inf)
    sources = idle(backend)
    sources.subscribe(key("one"), frozenset({DB}))
    sources.subscribe(key("two"), frozenset({DB}))
    got: list[dict[Source, Document | BackendError]] = []

    async def give_up_after_a_second() -> None:
        with trio.move_on_after(1.0):
            await sources.read(key("one"), frozenset({DB}))
        backend.takes = 0.0

    async def wait() -> None:
        got.append(await sources.read(key("two"), frozenset({DB})))

    with trio.fail_after(10.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up_after_a_second)
            await trio.sleep(0.5)
            nursery.start_soon(wait)

    assert got == [{DB: ANY}]


@pytest.mark.parametrize(("period", "cache_ttl"), [(5.0, 5.0), (600.0, MAX_CACHE_TTL)])
async def test_values_serve_others_for_a_moment_only(
    period: float, cache_ttl: float, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=period)
    sources.subscribe(key("db"), frozenset({DB}))

    for pause in (0.0, cache_ttl, 0.5):
        await trio.sleep(pause)
        await sources.read(key("db"), frozenset({DB}))

    assert backend.times(DB) == [0.0, cache_ttl + 0.5]


async def test_values_are_dropped_after_that_moment(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=1000 * PERIOD)
    sources.subscribe(key("db"), frozenset({DB}))

    async with running(sources):
        await trio.sleep(MAX_CACHE_TTL - 1.0)
        await sources.read(key("db"), frozenset({DB}))
        await trio.sleep(2.0)
        held = held_result(sources)
        await trio.sleep(2 * MAX_CACHE_TTL)

        assert (held, held_result(sources)) == (ANY, None)


async def test_values_of_a_poll_are_kept_for_those_whom_it_wakes_alone(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    sources.subscribe(key("db"), frozenset({DB}))

    async def next_poll() -> None:
        reads = len(backend.reads)
        while len(backend.reads) == reads:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.25)

    async with running(sources):
        await next_poll()
        await next_poll()
        assert held_result(sources) is None
        backend.put(DB, document(version=2))
        await next_poll()

        assert alarm.calls == [{key("db")}]
        assert await sources.read(key("db"), frozenset({DB})) == {DB: document(version=2)}
    assert len(backend.reads) == 3


async def test_definition_that_went_meanwhile_can_finish_its_last_reconcile(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    backend.put(DB, document(version=2))
    sources.subscribe(key("db"), frozenset({DB}))
    sources.unsubscribe(key("db"))
    sources.unsubscribe(key("db"))

    backend.forgotten.clear()

    assert await sources.read(key("db"), frozenset({DB})) == {DB: document(version=2)}
    assert len(sources._table) == 0
    assert backend.forgotten == [DB.path]


async def test_last_reconcile_of_a_definition_that_is_gone_needs_no_read_of_its_own(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    for name in ("stays", "goes"):
        sources.subscribe(key(name), frozenset({DB}))
    await sources.read(key("stays"), frozenset({DB}))
    await trio.sleep(1.0)
    sources.subscribe(key("goes"), frozenset({DB}))
    sources.unsubscribe(key("goes"))

    assert await sources.read(key("goes"), frozenset({DB})) == {DB: ANY}
    assert backend.reads == [Read(DB, 0.0)]


async def test_path_is_forgotten_when_its_last_use_and_its_last_read_are_over(autojump_clock: MockClock) -> None:
    """The series of its failed reads would stay for good otherwise."""
    backend = ScriptedBackend(takes=1.0)
    pinned = Source(DB.path, "1")
    sources = idle(backend)
    sources.subscribe(key("one"), frozenset({DB}))
    sources.subscribe(key("two"), frozenset({pinned}))
    sources.unsubscribe(key("one"))
    assert backend.forgotten == []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sources.read, key("two"), frozenset({pinned}))
        await trio.sleep(0.5)
        sources.unsubscribe(key("two"))
        backend.forgotten.clear()
    assert backend.forgotten == [DB.path]


@pytest.mark.parametrize("content", [ValueError("odd"), KeyError("odd")])
async def test_exception_that_no_backend_promises_costs_one_source_and_is_tried_again(
    content: Exception, autojump_clock: MockClock
) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    backend.put(TLS, content)
    sources.subscribe(key("db"), frozenset({DB, TLS}))

    results = await sources.read(key("db"), frozenset({DB, TLS}))
    assert (results[DB], type(results[TLS])) == (ANY, SourceMalformed)

    async with running(sources):
        await trio.sleep(3 * PERIOD)
        assert min(len(backend.times(DB)), len(backend.times(TLS))) >= 3
        backend.put(TLS, ANY)
        await trio.sleep(2 * PERIOD)
    assert alarm.calls == [{key("db")}]
    assert set(backend.metrics.unexpected_errors) == {"read"}


async def test_exception_on_the_way_of_a_change_costs_one_poll_and_the_next_one_finds_the_change(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """The next part of the way is the controller's queue."""
    backend, alarm = ScriptedBackend(), Alarm()
    fails = True

    def wake(keys: Iterable[ObjectKey]) -> None:
        if fails:
            raise ValueError("odd")
        alarm(keys)

    sources = idle(backend, wake=wake)
    sources.subscribe(key("db"), frozenset({DB, TLS}))
    await sources.read(key("db"), frozenset({DB, TLS}))
    backend.put(DB, document(version=2))

    async with running(sources):
        await trio.sleep(1.5 * PERIOD)
        assert set(backend.metrics.unexpected_errors) == {"poll"}
        assert len(backend.times(TLS)) >= 2
        fails = False
        await trio.sleep(PERIOD)

    assert alarm.calls == [{key("db")}]
    record = next(record for record in caplog.records if record.levelname == "ERROR")
    assert vars(record).get("fields") == {"task": "poll", "path": DB.path}
    assert record.exc_info


async def test_exception_on_the_way_of_a_listing_costs_one_listing(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, list_period=1.0)
    sources.subscribe(key("db"), frozenset({DB, TLS}))
    await sources.read(key("db"), frozenset({DB, TLS}))
    backend.listed["secret/data"] = OddListing()

    async with running(sources):
        await trio.sleep(3 * PERIOD)
        assert set(backend.metrics.unexpected_errors) == {"list"}
        listings = len(backend.listings)
        del backend.listed["secret/data"]
        await trio.sleep(3 * PERIOD)

    assert 2 <= listings <= 4
    assert len(backend.listings) > listings
    assert len(backend.times(DB)) >= 3
    record = next(record for record in caplog.records if record.levelname == "ERROR")
    assert vars(record).get("fields") == {"task": "list", "path": "secret/data"}
    assert record.exc_info


class OddListing(dict[str, str]):
    """Fails only once it is read."""

    def __bool__(self) -> bool:
        return True

    def get(self, *_: object) -> NoReturn:
        raise ValueError("odd")


async def test_definition_that_waits_for_a_poll_gets_what_it_brings_though_nothing_changed(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend(takes=1.0)
    sources = idle(backend)
    for name in ("one", "two"):
        sources.subscribe(key(name), frozenset({DB}))
    await sources.read(key("one"), frozenset({DB}))

    async with running(sources):
        while backend.under_way == 0:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.25)
        reads = len(backend.reads)

        assert await sources.read(key("two"), frozenset({DB})) == {DB: ANY}
        assert len(backend.reads) == reads
