"""When sources were last verified, by reads and by listings."""

from math import inf

import trio
from trio.testing import MockClock

from secrets_manager.backends.base import SourceForbidden
from tests.controller.scripted import DB, PERIOD, TLS, ScriptedBackend, idle, key, running
from tests.controller.test_folders import MANY, ONE, in_use, user
from tests.gen import document

APP = key("app")


async def test_source_is_verified_by_each_read_that_brings_what_was_there(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    sources.subscribe(APP, frozenset({DB, TLS}))
    assert [entry.verified_at for entry in sources.of(APP)] == [-inf] * 2

    async with running(sources):
        await trio.sleep(10 * PERIOD)

    assert {entry.verified_at for entry in sources.of(APP)} == {backend.times(source)[-1] for source in (DB, TLS)}


async def test_source_that_fails_stays_as_old_as_its_last_good_read(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = idle(backend)
    sources.subscribe(APP, frozenset({DB}))

    async with running(sources):
        await trio.sleep(5 * PERIOD)
        (last,) = backend.times(DB)[-1:]
        backend.put(DB, SourceForbidden("no"))
        await trio.sleep(5 * PERIOD)

    assert [entry.verified_at for entry in sources.of(APP)] == [last]


async def test_listing_verifies_all_that_it_shows_unchanged(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(5 * PERIOD)

    (last,) = backend.listings[-1:]
    assert {entry.verified_at for source in MANY for entry in sources.of(user(source))} == {last.at}
    assert last.at > 4 * PERIOD


async def test_listing_that_shows_a_change_does_not_verify_it(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(5 * PERIOD)
        before = backend.listings[-1].at
        backend.put(ONE, document({"password": "second"}, version=2))
        backend.takes = 10.0  # the read that follows takes long
        await trio.sleep(9)

    (one,) = sources.of(user(ONE))
    assert one.verified_at == before
    assert backend.listings[-1].at > before


async def test_source_keeps_the_time_of_the_last_listing_when_listings_end(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    sources = await in_use(backend)

    async with running(sources):
        await trio.sleep(5 * PERIOD)
        for source in MANY - {ONE}:
            sources.unsubscribe(user(source))
        before = backend.listings[-1].at
        backend.put(ONE, SourceForbidden("no"))
        await trio.sleep(5 * PERIOD)

    (one,) = sources.of(user(ONE))
    assert one.verified_at == before
