from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import (
    Source,
    SourceForbidden,
    Unavailable,
)
from secrets_manager.controller.sources import Sources
from secrets_manager.kube.objects import ObjectKey
from tests.controller.scripted import ANY, DB, PERIOD, TLS, Alarm, ScriptedBackend, idle, key, running
from tests.gen import NAMESPACE


def forty() -> dict[ObjectKey, Source]:
    return {key(f"app-{number}"): Source(f"secret/data/app-{number}") for number in range(40)}


async def test_store_that_is_down_gets_fewer_requests_and_one_at_a_time(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0)
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))

    async with running(sources):
        await trio.sleep(60.0)
        backend.reads.clear()
        backend.down, backend.takes = Unavailable("Vault did not answer in time"), 5.0
        await trio.sleep(11.0)  # those that were under way when it was noticed have ended
        backend.most_under_way = backend.under_way
        await trio.sleep(49.0)
        first_minute = len(backend.reads)
        await trio.sleep(600.0)

    assert first_minute <= 20  # of 480 when it is up
    assert len(backend.reads) - first_minute <= 600 / (7.5 + 5.0)
    assert backend.most_under_way == 1


async def test_all_learn_at_once_that_the_store_is_down_and_within_a_period_that_it_is_up(
    autojump_clock: MockClock,
) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm, period=5.0)
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))

    async with running(sources):
        await trio.sleep(60.0)
        assert alarm.take() == []
        backend.down = Unavailable("Vault is sealed")
        await trio.sleep(6.0)
        assert set().union(*alarm.take()) == set(forty())
        await trio.sleep(120.0)
        assert alarm.take() == []
        backend.down = None
        await trio.sleep(15.0 + 5.0)

    assert sorted(alarm.calls, key=str) == sorted(({one} for one in forty()), key=str)


async def test_end_of_an_outage_is_noticed_however_rarely_sources_are_polled(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=1000 * PERIOD)
    sources.subscribe(key("db"), frozenset({DB}))
    backend.down = Unavailable("Vault is sealed")
    await sources.read(key("db"), frozenset({DB}))

    async with running(sources):
        await trio.sleep(PERIOD)
        assert sources.store_error is not None
        backend.down = None
        await trio.sleep(15.0)

        assert sources.store_error is None


async def test_read_during_an_outage_fails_at_once_with_the_known_reason(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    backend.down = Unavailable("Vault is sealed: shop/db", store="Vault is sealed", retry_after=30.0)
    used = frozenset(forty().values())
    sources.subscribe(key("db"), used)
    await sources.read(key("db"), frozenset(sorted(used, key=str)[:3]))
    before = len(backend.reads)

    results = await sources.read(key("db"), used)

    assert Counter(map(str, results.values())) == {"Vault is sealed: shop/db": 3, "Vault is sealed": 37}
    assert len(backend.reads) == before


async def test_one_path_that_always_fails_takes_nothing_from_the_others(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = idle(backend, wake=alarm)
    backend.put(TLS, Unavailable("no answer for this path"))
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))
    sources.subscribe(key("tls"), frozenset({TLS}))

    async with running(sources):
        await trio.sleep(11 * PERIOD)

    assert set(Counter(read.source for read in backend.reads).values()) == {10}
    assert alarm.calls == []


async def test_refusals_are_answers_so_that_many_of_them_are_no_outage(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    failing = [Source(f"secret/data/failing-{number}") for number in range(10)]
    for source in failing:
        backend.put(source, Unavailable("no answer for this path"))
    backend.put(DB, SourceForbidden("not allowed"))
    sources.subscribe(key("db"), frozenset([DB, *failing]))

    for source in failing:
        await sources.read(key("db"), frozenset({source}))
        await trio.sleep(2 * PERIOD)  # what is known of it is too old by then
        await sources.read(key("db"), frozenset({DB}))

    assert Counter(read.source for read in backend.reads) == dict.fromkeys(failing, 1) | {DB: len(failing)}


# Sources that fail for reasons of their own

NO_ANSWER = Unavailable("no answer for this path")


def with_one_failing(backend: ScriptedBackend, alarm: Alarm, *, period: float) -> Sources:
    """Forty sources that are answered, and one that is not."""
    sources = idle(backend, wake=alarm, period=period)
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))
    sources.subscribe(key("tls"), frozenset({TLS}))
    backend.put(TLS, NO_ANSWER)
    return sources


async def test_failing_source_costs_its_definitions_no_time_while_it_is_read_again(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = with_one_failing(backend, alarm, period=5.0)

    async with running(sources):
        await sources.read(key("tls"), frozenset({TLS}))
        await trio.sleep(11.0)
        backend.takes = 3600.0
        await trio.sleep(60.0)  # every read hangs
        began = trio.current_time()
        sources.subscribe(key("tls"), frozenset({TLS}))  # its definition changes
        assert await sources.read(key("tls"), frozenset({TLS})) == {TLS: NO_ANSWER}
        assert trio.current_time() == began


async def test_failing_source_is_read_at_once_where_its_definition_changes(autojump_clock: MockClock) -> None:
    backend, alarm = ScriptedBackend(), Alarm()
    sources = with_one_failing(backend, alarm, period=600.0)

    async with running(sources):
        await sources.read(key("tls"), frozenset({TLS}))
        await sources.read(key("app-1"), frozenset({Source("secret/data/app-1")}))
        backend.put(TLS, ANY)
        await trio.sleep(1.0)
        sources.subscribe(key("tls"), frozenset({TLS}))
        assert await sources.read(key("tls"), frozenset({TLS})) == {TLS: NO_ANSWER}
        await trio.sleep(1.0)
        assert alarm.take() == [{key("tls")}]
        assert await sources.read(key("tls"), frozenset({TLS})) == {TLS: ANY}
    assert len(backend.times(TLS)) == 2


async def test_failing_source_that_is_answered_while_it_is_requested_has_the_one_result_or_the_other(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0)
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))
    sources.subscribe(key("tls"), frozenset({TLS}))
    failure = Unavailable("no answer for this path")
    results = []

    async with running(sources):
        for number in range(40):
            backend.put(TLS, failure)
            await trio.sleep(6.0)
            await sources.read(key("tls"), frozenset({TLS}))
            backend.put(TLS, ANY)
            sources.subscribe(key("tls"), frozenset({TLS}))
            await sources.read(key("tls"), frozenset({TLS}))
            for _ in range(number % 10):
                await trio.lowlevel.checkpoint()
            results.append((await sources.read(key("tls"), frozenset({TLS})))[TLS])

    assert {*map(type, results)} == {Unavailable, type(ANY)}


async def test_failing_sources_are_read_a_few_at_a_time_and_the_others_when_they_are_due(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0, concurrency=16)
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))
    failing = [Source(f"secret/data/failing-{number}") for number in range(100)]
    for source in failing:
        backend.put(source, Unavailable("no answer for this path"))
    sources.subscribe(key("db"), frozenset(failing))

    async with running(sources):
        for source in failing:
            await sources.read(key("db"), frozenset({source}))
            await sources.read(key("app-1"), frozenset({Source("secret/data/app-1")}))
            await trio.sleep(10.0)
        assert sources.store_error is None
        backend.hanging = set(failing)
        await trio.sleep(20.0)
        backend.reads.clear()
        await trio.sleep(100.0)

    assert backend.under_way == 0
    read = Counter(read.source for read in backend.reads)
    assert {read[source] for source in forty().values()} == {20}
    assert sum(read[source] for source in failing) == 4 * 10


async def test_failing_sources_of_one_namespace_hold_up_the_retries_of_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0, concurrency=16)
    for one, source in forty().items():
        sources.subscribe(one, frozenset({source}))
    failing = [Source(f"secret/data/failing-{number}") for number in range(100)]
    for source in [*failing, TLS]:
        backend.put(source, Unavailable("no answer for this path"))
    sources.subscribe(key("db"), frozenset(failing))
    others = ObjectKey("other", "tls")
    sources.subscribe(others, frozenset({TLS}))

    async with running(sources):
        for source in [*failing, TLS]:
            await sources.read(key("db"), frozenset({source}))
            await sources.read(key("app-1"), frozenset({Source("secret/data/app-1")}))
            await trio.sleep(10.0)
        backend.hanging = set(failing)
        await trio.sleep(100.0)
        backend.put(TLS, ANY)
        sources.subscribe(others, frozenset({TLS}))  # its definition changes
        await sources.read(others, frozenset({TLS}))
        await trio.sleep(10.1)  # a read that hangs takes ten seconds
        assert await sources.read(others, frozenset({TLS})) == {TLS: ANY}


@pytest.mark.parametrize("namespace", [NAMESPACE, "other"])
async def test_end_of_an_outage_is_noticed_though_nearly_all_sources_fail_for_reasons_of_their_own(
    namespace: str, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0)
    sources.subscribe(key("db"), frozenset({DB}))
    failing = [Source(f"secret/data/failing-{number}") for number in range(100)]
    for source in failing:
        backend.put(source, Unavailable("no answer for this path"))

    async with running(sources):
        for source in failing:
            await sources.read(key("db"), frozenset({DB}))
            user = ObjectKey(namespace, source.path)
            sources.subscribe(user, frozenset({source}))
            await sources.read(user, frozenset({source}))
            await trio.sleep(6.0)
        assert sources.store_error is None
        backend.down = Unavailable("Vault is sealed")
        await trio.sleep(60.0)
        assert sources.store_error is not None
        backend.down = None
        await trio.sleep(90.0)
        assert sources.store_error is None


async def test_end_of_an_outage_is_noticed_for_good_though_most_sources_began_to_fail_in_it(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    sources = idle(backend, period=5.0)
    sources.subscribe(key("db"), frozenset({DB}))
    theirs = [Source(f"secret/data/theirs-{number}") for number in range(100)]
    for source in theirs:
        sources.subscribe(ObjectKey("other", source.path), frozenset({source}))

    async with running(sources):
        await trio.sleep(30.0)
        backend.down = Unavailable("Vault is sealed")
        await trio.sleep(60.0)
        for source in theirs:
            backend.put(source, Unavailable("no answer for this path"))
        backend.down = None
        await trio.sleep(600.0)
        began, since = trio.current_time(), sources.store_since
        assert sources.store_error is None
        await trio.sleep(600.0)
        assert (sources.store_error, sources.store_since) == (None, since), f"up since {since}, at {began}"


async def edit_to_failing_paths(sources: Sources, backend: ScriptedBackend, edit: int) -> None:
    """Give a definition eight paths that no earlier edit had, and that fail."""
    bad = frozenset(Source(f"secret/data/bad-{edit}-{number}") for number in range(8))
    for source in bad:
        backend.put(source, Unavailable("no answer for this path"))
    sources.subscribe(key("db"), bad)
    await sources.read(key("db"), bad)


async def test_new_sources_of_one_namespace_that_fail_are_no_outage_for_others(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=0.01)
    sources = idle(backend, period=60.0)
    for number in range(40):
        sources.subscribe(ObjectKey(f"team-{number}", "app"), frozenset({Source(f"secret/data/app-{number}")}))
    async with running(sources):
        for edit in range(200):
            await edit_to_failing_paths(sources, backend, edit)
            new = ObjectKey("other", f"new-{edit}")
            sources.subscribe(new, frozenset({TLS}))
            assert await sources.read(new, frozenset({TLS})) == {TLS: ANY}
            sources.unsubscribe(new)
            await trio.sleep(0.1)

    assert backend.metrics.up


@pytest.mark.parametrize("list_period", [0.0, 1.0])
async def test_outage_that_only_one_namespace_meets_is_noticed_by_a_read_for_another(
    list_period: float, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend(takes=0.01)
    sources = idle(backend, period=5.0, list_period=list_period)
    sources.subscribe(key("db"), frozenset(Source(f"secret/data/app-{number}") for number in range(5)))
    theirs = frozenset({Source("other/tls"), Source("other/db")})
    sources.subscribe(ObjectKey("other", "tls"), theirs, period=3600.0)

    async with running(sources):
        await sources.read(ObjectKey("other", "tls"), theirs)
        await trio.sleep(60.0)
        backend.down = Unavailable("Vault is sealed")
        for folder in ("secret/data", "other"):
            backend.listed[folder] = backend.down
        await trio.sleep(10.0)
        assert sources.store_error is not None


async def test_failures_of_one_namespace_suffice_once_all_others_have_left(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=0.01)
    sources = idle(backend, period=3600.0)
    for period in (PERIOD, 2 * PERIOD):  # a change of the definition
        sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS, DB}), period=period)
    sources.subscribe(ObjectKey("other", "db"), frozenset({DB}))
    bad = [frozenset(Source(f"secret/data/bad-{edit}-{number}") for number in range(3)) for edit in range(2)]
    for source in frozenset[Source]().union(*bad):
        backend.put(source, Unavailable("no answer for this path"))

    async with running(sources):
        for left, mine in zip((False, True), bad, strict=True):
            if left:
                sources.unsubscribe(ObjectKey("other", "tls"))  # what is left of the other one is used here, too
            sources.subscribe(key("db"), mine | {DB})
            await sources.read(key("db"), mine)
            await trio.sleep(1.0)
            assert (sources.store_error is not None) is left


async def test_doubt_ends_where_the_source_that_would_tell_is_left_while_it_is_read(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=5.0)
    backend.down = Unavailable("no answer in time")
    sources = idle(backend, period=3600.0)
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))
    mine = frozenset(Source(f"secret/data/app-{number}") for number in range(3))
    sources.subscribe(key("db"), mine)

    async with running(sources):
        await sources.read(key("db"), mine)
        await trio.sleep(1.0)
        assert backend.times(TLS) == [5.0]
        sources.unsubscribe(ObjectKey("other", "tls"))
        await trio.sleep(6.0)
        assert sources.store_error is not None


async def test_failing_source_of_another_namespace_leaves_no_doubt(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=0.01)
    sources = idle(backend, period=3600.0)
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))
    sources.subscribe(key("sound"), frozenset({DB}))
    mine = frozenset(Source(f"secret/data/bad-{number}") for number in range(3))
    for source in (TLS, *mine):
        backend.put(source, Unavailable("no answer for this path"))

    async with running(sources):
        await sources.read(ObjectKey("other", "tls"), frozenset({TLS}))
        await sources.read(key("sound"), frozenset({DB}))  # what failed before tells nothing from here on
        sources.subscribe(key("db"), mine)
        await sources.read(key("db"), mine)

        assert sources.store_error is not None


@pytest.mark.parametrize("paths", [50, 400])
async def test_outage_is_found_within_two_timeouts_however_many_reads_of_one_namespace_wait(
    paths: int, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend(takes=5.0)
    backend.down = Unavailable("no answer in time")
    sources = idle(backend, period=3600.0)
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))
    async with running(sources), trio.open_nursery() as nursery:
        for number in range(paths // 25):
            mine = frozenset(Source(f"secret/data/app-{number}-{each}") for each in range(25))
            sources.subscribe(key(f"app-{number}"), mine)
            nursery.start_soon(sources.read, key(f"app-{number}"), mine)
        await trio.sleep(10.5)

        assert sources.store_error is not None


async def test_paths_of_one_namespace_that_hang_hold_up_neither_others_nor_their_own_worker(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend(takes=0.01)
    sources = idle(backend, period=3600.0)
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))
    took: list[float] = []

    async def read(number: int) -> None:
        began, mine = trio.current_time(), frozenset(Source(f"secret/data/{number}-{each}") for each in range(100))
        backend.hanging |= mine
        for source in mine:
            backend.put(source, Unavailable("no answer in time"))
        sources.subscribe(key(f"app-{number}"), mine)
        await sources.read(key(f"app-{number}"), mine)
        took.append(trio.current_time() - began)

    async with running(sources):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(read, number)
            await trio.sleep(1.0)
            began = trio.current_time()
            sources.subscribe(ObjectKey("another", "db"), frozenset({DB}))
            assert await sources.read(ObjectKey("another", "db"), frozenset({DB})) == {DB: ANY}
            assert trio.current_time() - began <= 10.0
        assert max(took) <= 11.0
        assert sources.store_error is None


async def test_doubt_of_the_store_costs_others_two_reads_a_second_at_most(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=0.01)
    sources = idle(backend, period=3600.0)
    sources.subscribe(ObjectKey("other", "tls"), frozenset({TLS}))
    async with running(sources):
        for edit in range(200):
            await edit_to_failing_paths(sources, backend, edit)
            await trio.sleep(0.08)

    assert 10 <= len(backend.times(TLS)) <= 2 * trio.current_time() + 1
