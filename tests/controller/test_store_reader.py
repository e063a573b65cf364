"""The gate to the secret store: how many requests pass, which of them while it is down, and what they end with."""

import logging
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from math import inf
from random import Random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from secrets_manager.backends.base import (
    BackendError,
    Folder,
    NotListable,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceTooLarge,
    Unavailable,
)
from secrets_manager.backoff import Backoff
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import ReadResult
from secrets_manager.controller.store_reader import Listing, StoreReader
from tests.controller.scripted import ANY, ScriptedBackend
from tests.gen import NAMESPACE

PATHS = [Source(f"secret/data/{name}") for name in "abcdefghijklmnop"]
A, B, C, D = PATHS[:4]
FOLDER = Folder("secret/data")
SEALED = Unavailable("Vault is sealed: a", store="Vault is sealed")
SLOW = Unavailable.of_store("Vault did not answer in time")


class Forty:
    """Forty sources in use, of one namespace."""

    def __len__(self) -> int:
        return 40

    def namespaces(self, source: Source) -> frozenset[str]:
        return frozenset({NAMESPACE})

    def outside(self, namespaces: AbstractSet[str]) -> Iterator[Source]:
        return iter(())


def reader(backend: ScriptedBackend, *, concurrency: int = 8) -> StoreReader:
    """Without chance: probes after 1, 2, 4, 8, 8 seconds."""
    policy = ReadPolicy(
        concurrency=concurrency,
        failure_threshold=3,
        probe=Backoff(initial=1.0, maximum=8.0, jitter=0.0),
        list_period=1.0,
    )
    return StoreReader(backend, policy, in_use=Forty(), random=Random(0), metrics=backend.metrics)


async def read_all(subject: StoreReader, *sources: Source) -> list[ReadResult]:
    """What these reads bring that begin at one moment."""
    results: dict[Source, ReadResult] = {}

    async def read(source: Source) -> None:
        results[source] = await subject.read(source)

    async with trio.open_nursery() as nursery:
        for source in sources:
            nursery.start_soon(read, source)
    return [results[source] for source in sources]


async def down(backend: ScriptedBackend, *, error: Unavailable = SEALED, concurrency: int = 8) -> StoreReader:
    """A reader that has just noticed that the store is down."""
    subject = reader(backend, concurrency=concurrency)
    backend.down = error
    await read_all(subject, A, B, C)
    backend.reads.clear()
    return subject


async def stop_and_read(subject: StoreReader, until: float, source: Source) -> ReadResult:
    await trio.sleep_until(until)
    return await subject.read(source)


# How many


async def test_no_more_requests_are_under_way_than_the_bound_and_listings_are_among_them(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend(takes=1.0)
    backend.listing_takes = 1.0
    subject = reader(backend, concurrency=3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.list, FOLDER)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read_all, subject, *PATHS[:11])

    assert (backend.most_under_way, trio.current_time()) == (3, 4.0)
    assert len([read for read in backend.reads if read.at == 0.0]) == 2


async def test_an_overloaded_store_gets_fewer_requests_at_a_time(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = reader(backend, concurrency=8)
    backend.put(A, Unavailable("overloaded"))
    await subject.read(A)
    assert (backend.metrics.up, backend.metrics.concurrency) == (True, 4)

    backend.takes = 1.0
    await read_all(subject, *PATHS[1:])

    assert len([read for read in backend.reads if read.at == 0.0]) == 1 + 4


@pytest.mark.parametrize("by", ["reads", "listings"])
async def test_bound_comes_back_to_its_most_by_whatever_is_answered(by: str, autojump_clock: MockClock) -> None:
    """A folder at rest is listed, and nothing is read."""
    backend = ScriptedBackend()
    subject = reader(backend, concurrency=8)
    for source in (A, C, D):
        backend.put(source, Unavailable("overloaded"))
        await subject.read(source)
        await subject.read(B)
        await trio.sleep(1)
    assert backend.metrics.concurrency == 1

    for _ in range(7):
        await (subject.read(B) if by == "reads" else subject.list(FOLDER))
        await trio.sleep(1)

    assert backend.metrics.concurrency == 8


async def test_source_that_fails_again_and_again_takes_requests_from_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = reader(backend, concurrency=8)
    backend.put(A, Unavailable("overloaded"))
    for _ in range(5):
        await subject.read(A)
        await trio.sleep(1)
    assert backend.metrics.concurrency == 4

    backend.put(A, ANY)
    await subject.read(A)
    await trio.sleep(1)
    backend.put(A, Unavailable("overloaded"))
    await subject.read(A)
    assert backend.metrics.concurrency == 2, "it was answered between"


async def test_source_is_failing_until_it_is_answered_and_a_probe_says_nothing_of_it(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)
    await subject.wait_for_probe()
    await subject.read(D)
    assert [subject.is_failing(source) for source in (A, B, C, D)] == [True, True, True, False]

    backend.down = None
    backend.put(A, SourceForbidden("not allowed"))
    await subject.wait_for_probe()
    await subject.read(A)
    subject.forget(B)
    assert [subject.is_failing(source) for source in (A, B, C, D)] == [False, False, True, False]


async def test_outage_is_noticed_while_sources_fail_for_reasons_of_their_own(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)
    backend.down = None
    await subject.wait_for_probe()
    await subject.read(D)
    backend.down = SEALED
    for _ in range(10):
        await read_all(subject, A, B, C)
    assert subject.error is None

    await read_all(subject, *PATHS[4:7])
    assert subject.error is not None


async def test_request_that_waits_for_a_slot_may_be_cancelled(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=10.0)
    subject = reader(backend, concurrency=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.read, A)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await subject.read(B)
    assert scope.cancelled_caught
    assert [read.source for read in backend.reads] == [A]

    with trio.fail_after(11):
        assert await subject.read(C) == ANY


# While it is down


async def test_while_the_store_is_down_every_read_ends_at_once_with_the_known_error(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)
    backend.takes = inf

    results = await read_all(subject, *PATHS)

    assert (trio.current_time(), backend.reads) == (0.0, [])
    assert {str(result) for result in results} == {"Vault is sealed"}
    assert (str(subject.error), backend.metrics.up) == ("Vault is sealed", False)


async def test_reads_fail_at_once_while_the_probe_hangs(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend, concurrency=1)
    backend.takes = 60.0

    async with trio.open_nursery() as nursery:
        await trio.sleep(1.0)
        nursery.start_soon(subject.read, A)
        await trio.sleep(1.0)
        await read_all(subject, *PATHS[1:])
        assert trio.current_time() == 2.0
        assert [read.source for read in backend.reads] == [A]


async def test_read_that_waited_for_a_slot_when_the_store_went_down_is_not_made(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=1.0)
    subject = reader(backend, concurrency=3)
    backend.down = SEALED

    results = await read_all(subject, *PATHS)

    assert len(backend.reads) == 3
    assert Counter(map(str, results)) == {"Vault is sealed: a": 3, "Vault is sealed": len(PATHS) - 3}


async def test_folder_is_not_listed_while_the_store_is_down_nor_one_that_waited_for_its_turn(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend(takes=1.0)
    subject = reader(backend, concurrency=3)
    backend.down = SEALED
    refused: list[str] = []

    async def list_it() -> None:
        try:
            await subject.list(FOLDER)
        except Unavailable as error:
            refused.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all, subject, A, B, C)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(list_it)
    await list_it()

    assert (refused, backend.listings) == (["Vault is sealed"] * 2, [])


async def test_first_read_when_it_is_time_is_the_probe_and_there_is_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)
    await trio.sleep(0.9)
    await subject.read(A)
    assert backend.reads == []

    await trio.sleep(0.1)
    backend.takes = 5.0
    results = await read_all(subject, *PATHS)

    assert len(backend.reads) == 1
    assert Counter(map(str, results)) == {"Vault is sealed: a": 1, "Vault is sealed": len(PATHS) - 1}


async def test_probes_that_fail_come_ever_more_seldom(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)

    for _ in range(6):
        await subject.wait_for_probe()
        await subject.read(A)

    assert backend.times(A) == [1.0, 3.0, 7.0, 15.0, 23.0, 31.0]


async def test_the_next_read_replaces_a_cancelled_probe(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)
    await trio.sleep(1.0)
    backend.takes = inf
    with trio.move_on_after(5.0):
        await subject.read(A)

    with trio.fail_after(0.0):
        await subject.wait_for_probe()
    backend.takes, backend.down = 0.0, None

    assert await subject.read(B) == ANY
    assert subject.error is None


@pytest.mark.parametrize("answer", [ANY, SourceForbidden("not allowed")])
async def test_probe_that_is_answered_ends_it_whatever_the_answer_is(
    answer: BackendError, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)
    backend.down = None
    backend.put(D, answer)
    await trio.sleep(1.0)

    assert await subject.read(D) == answer
    assert (subject.error, backend.metrics.up) == (None, True)
    assert await read_all(subject, A, B, C) == [ANY] * 3


async def test_reads_from_before_the_outage_that_fail_lengthen_no_pause(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = reader(backend, concurrency=16)
    backend.down = SEALED

    await read_all(subject, *PATHS)

    await subject.wait_for_probe()
    assert trio.current_time() == 1.0


async def test_read_from_before_the_outage_that_is_answered_ends_it(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=0.5)
    subject = reader(backend)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.read, D)
        await trio.testing.wait_all_tasks_blocked()
        backend.down, backend.takes = SEALED, 0.0
        await read_all(subject, A, B, C)
        assert subject.error is not None

    assert subject.error is None


async def test_listing_from_before_the_outage_that_is_answered_ends_it(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listing_takes = 0.5
    subject = reader(backend)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.list, FOLDER)
        await trio.testing.wait_all_tasks_blocked()
        backend.down = SEALED
        await read_all(subject, A, B, C)
        assert subject.error is not None

    assert subject.error is None


async def test_probe_that_is_cancelled_once_the_outage_is_over_begins_no_other(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=4.0)
    subject = reader(backend)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.read, D)  # is answered at 4 s
        await trio.testing.wait_all_tasks_blocked()
        backend.down, backend.takes = SEALED, 0.0
        await read_all(subject, A, B, C)
        backend.takes = inf
        with trio.move_on_after(5.0):
            await stop_and_read(subject, 1.0, A)  # the probe

    assert subject.error is None


async def test_probe_of_an_outage_that_is_over_says_nothing_of_the_next_one(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.takes = 4.0
    subject = reader(backend)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.read, D)  # is answered at 4 s
        await trio.testing.wait_all_tasks_blocked()
        backend.down, backend.takes = SEALED, 0.0
        await read_all(subject, A, B, C)
        backend.takes = 9.0
        nursery.start_soon(stop_and_read, subject, 1.0, A)  # the probe, which fails at 10 s
        await trio.sleep(5.0)
        assert subject.error is None
        backend.takes = 0.0
        await read_all(subject, *PATHS[4:7])
        backend.takes = 60.0
        nursery.start_soon(stop_and_read, subject, 6.0, B)  # the probe of the second outage
        await trio.sleep(10.0)
        backend.reads.clear()

        await subject.read(C)
        assert backend.reads == []


async def test_the_retry_after_of_the_store_is_honoured(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend, error=Unavailable("overloaded", retry_after=30.0))

    await subject.wait_for_probe()
    await subject.read(A)
    assert backend.times(A) == [30.0]

    await subject.wait_for_probe()
    assert trio.current_time() == 60.0


async def test_wait_for_the_probe_hears_of_an_outage_that_begins_and_of_one_that_ends(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend()
    subject = reader(backend)
    times: list[float] = []

    async def wait() -> None:
        await subject.wait_for_probe()
        times.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(10.0)
        backend.down = SEALED
        await read_all(subject, A, B, C)
    assert times == [11.0]

    subject.reset()
    with trio.move_on_after(1000.0) as scope:
        await wait()
    assert scope.cancelled_caught


async def test_without_sources_nothing_is_known_of_the_store(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)

    subject.reset()

    assert (subject.error, backend.metrics.up) == (None, True)


async def test_outage_that_begins_once_nothing_is_known_of_the_store_is_noticed(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = await down(backend)

    subject.reset()
    await read_all(subject, A, B, C)

    assert subject.error is not None


async def test_outage_that_begins_after_a_listing_is_noticed(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject = reader(backend)

    await subject.list(FOLDER)
    backend.down = SEALED
    await read_all(subject, A, B, C)

    assert subject.error is not None


async def test_store_is_up_since_the_start_until_it_is_found_down(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    subject, started = reader(backend), trio.current_time()
    await trio.sleep(10)
    await read_all(subject, A, B, C)
    assert subject.since == started

    backend.down = SEALED
    await subject.read(A)
    assert subject.since == started
    await trio.sleep(10)
    await read_all(subject, B, C)
    assert subject.since == started + 20


async def test_beginning_and_end_of_an_outage_are_reported_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    backend = ScriptedBackend()
    subject = reader(backend)
    backend.down = SEALED
    await read_all(subject, *PATHS)
    for error in (SEALED, SLOW):
        backend.down = error
        await subject.wait_for_probe()
        await subject.read(A)
    backend.down = None
    await subject.wait_for_probe()
    await read_all(subject, *PATHS)
    await read_all(subject, *PATHS)

    assert [(record.levelname, record.getMessage(), vars(record).get("fields")) for record in caplog.records] == [
        ("WARNING", "backend unavailable", {"error": "Vault is sealed"}),
        ("INFO", "backend recovered", None),
    ]


# What no backend promises


async def test_exception_that_no_backend_promises_costs_one_read_and_is_logged_and_counted(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend()
    subject = reader(backend)
    backend.put(A, ValueError("odd"))

    odd, fine = await read_all(subject, A, B)

    assert isinstance(odd, SourceMalformed)
    assert str(odd) == "secret/data/a can't be read: it failed unexpectedly (ValueError), see the log"
    assert fine == ANY
    assert backend.metrics.unexpected_errors == ["read"]
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), vars(record).get("fields")) == (
        "ERROR",
        "unexpected error, retrying",
        {"task": "read", "path": "secret/data/a"},
    )
    assert record.exc_info
    assert subject.error is None


async def test_exception_that_no_backend_promises_costs_one_listing_and_is_logged_and_counted(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    backend = ScriptedBackend()
    subject = reader(backend)
    backend.listed[FOLDER.path] = ValueError("odd")

    with pytest.raises(NotListable, match=r"it failed unexpectedly \(ValueError\)"):
        await subject.list(FOLDER)

    assert backend.metrics.unexpected_errors == ["list"]
    (record,) = caplog.records
    assert (record.levelname, vars(record).get("fields")) == ("ERROR", {"task": "list", "path": "secret/data"})
    assert record.exc_info


async def test_folder_whose_listing_is_no_listing_can_not_be_listed(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend()
    backend.listed[FOLDER.path] = SourceTooLarge("more than can be")

    with pytest.raises(NotListable, match="more than can be"):
        await reader(backend).list(FOLDER)


async def test_listing_has_the_time_of_its_request(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=5.0)
    backend.listing_takes = 3.0
    backend.put(A, ANY)
    subject = reader(backend, concurrency=1)
    listings: list[Listing] = []

    async def list_it() -> None:
        listings.append(await subject.list(FOLDER))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.read, A)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(list_it)

    assert listings == [Listing({"a": ANY.marker}, 5.0)]
