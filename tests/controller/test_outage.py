import logging
from random import Random

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends.base import Source, Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.controller.outage import Outage

SEALED = Unavailable("Vault is sealed")
PATHS = [Source(f"secret/data/{name}") for name in "abcdefgh"]


def outage() -> Outage:
    """Without chance: pauses of 1, 2, 4 and then 8 seconds."""
    return Outage(Backoff(initial=1.0, maximum=8.0, jitter=0.0), Random(0))


def begin(subject: Outage, *, error: Unavailable = SEALED) -> None:
    for source in PATHS[:3]:
        subject.failed(source, error)


async def next_probe(subject: Outage, source: Source) -> float:
    """Ask again and again, as the pollers do, until a read is let through; when that is."""
    while subject.refusal(source) is not None:  # noqa: ASYNC110 - so do the pollers: nothing tells when it is time
        await trio.sleep(0.125)
    return trio.current_time()


def test_all_is_tried_while_all_is_well() -> None:
    subject = outage()

    assert [subject.refusal(source) for source in PATHS] == [None] * len(PATHS)


def test_one_path_that_always_fails_is_no_outage() -> None:
    subject = outage()

    for _ in range(100):
        subject.failed(PATHS[0], SEALED)

    assert not subject.down
    assert subject.refusal(PATHS[1]) is None


def test_failures_of_several_paths_with_answers_between_are_no_outage() -> None:
    subject = outage()

    for source in PATHS:
        subject.failed(source, SEALED)
        subject.failed(source, SEALED)
        subject.answered()

    assert not subject.down


async def test_failures_of_three_paths_in_a_row_are_one(autojump_clock: MockClock) -> None:
    subject = outage()

    begin(subject)
    await trio.sleep(0.5)

    assert subject.down
    assert [subject.refusal(source) for source in PATHS] == [SEALED] * len(PATHS)


async def test_probes_come_one_at_a_time_and_ever_more_seldom(autojump_clock: MockClock) -> None:
    subject = outage()
    begin(subject)

    times = []
    for source in PATHS[:6]:
        times.append(await next_probe(subject, source))
        subject.failed(source, SEALED)

    assert times == [1.0, 3.0, 7.0, 15.0, 23.0, 31.0]


async def test_while_a_probe_is_under_way_there_is_no_other(autojump_clock: MockClock) -> None:
    subject = outage()
    begin(subject)
    await next_probe(subject, PATHS[0])

    await trio.sleep(5.0)  # the store hangs

    assert [subject.refusal(source) for source in PATHS] == [SEALED] * len(PATHS)


async def test_probe_that_was_cancelled_gives_its_turn_back_after_a_while(autojump_clock: MockClock) -> None:
    subject = outage()
    begin(subject)
    await next_probe(subject, PATHS[0])

    assert await next_probe(subject, PATHS[1]) == 1.0 + 8.0


async def test_reads_that_were_under_way_at_the_beginning_lengthen_no_pause(autojump_clock: MockClock) -> None:
    subject = outage()

    for source in PATHS:
        subject.failed(source, SEALED)

    assert await next_probe(subject, PATHS[0]) == 1.0


async def test_reads_that_end_late_let_no_second_probe_through(autojump_clock: MockClock) -> None:
    subject = outage()
    begin(subject)
    await next_probe(subject, PATHS[0])

    subject.failed(PATHS[7], SEALED)
    await trio.sleep(5.0)

    assert subject.refusal(PATHS[1]) is SEALED


async def test_pause_is_at_least_what_the_store_asks_for(autojump_clock: MockClock) -> None:
    subject = outage()

    begin(subject, error=Unavailable("Vault is overloaded", retry_after=30.0))

    assert await next_probe(subject, PATHS[0]) == 30.0


async def test_refusal_tells_the_newest_reason(autojump_clock: MockClock) -> None:
    subject = outage()
    begin(subject)
    await next_probe(subject, PATHS[0])
    newest = Unavailable("Vault did not answer in time")

    subject.failed(PATHS[0], newest)

    assert subject.refusal(PATHS[1]) is newest


async def test_any_answer_ends_it_and_the_next_one_begins_anew(autojump_clock: MockClock) -> None:
    subject = outage()
    begin(subject)
    for source in PATHS[:3]:
        await next_probe(subject, source)
        subject.failed(source, SEALED)
    await next_probe(subject, PATHS[0])

    subject.answered()

    assert (subject.down, subject.refusal(PATHS[1])) == (False, None)
    before = trio.current_time()
    begin(subject)
    assert await next_probe(subject, PATHS[0]) == before + 1.0


async def test_beginning_and_end_are_told_once(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    caplog.set_level(logging.INFO)
    subject = outage()

    for source in PATHS:
        subject.failed(source, SEALED)
    await trio.sleep(1.0)
    subject.answered()
    subject.answered()

    assert [(record.levelname, record.getMessage(), vars(record).get("fields")) for record in caplog.records] == [
        ("WARNING", "the backend is unavailable", {"error": "Vault is sealed"}),
        ("INFO", "the backend answers again", None),
    ]
