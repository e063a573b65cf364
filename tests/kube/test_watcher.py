import logging
from collections.abc import Collection, Iterable, Sequence
from random import Random

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.kube.errors import (
    ApiError,
    Expired,
    Forbidden,
    KubeError,
    MalformedResponse,
    NotFound,
    ResponseTooLarge,
    Throttled,
    Unreachable,
    WatchTimedOut,
)
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.page import Page
from secrets_manager.kube.watcher import Watcher
from tests.kube.scripted import FOREVER, ScriptedClient, Step, bookmark, event, page
from tests.kube.things import THINGS, Thing, thing

A, B, C = (thing(name, version=version) for version, name in enumerate("abc", start=1))
UNREADABLE = {"metadata": {"name": "x", "namespace": "ns", "resourceVersion": "20"}, "colour": 7}
X = ObjectKey("ns", "x")


class Recorder:
    """A sink that records its events."""

    def __init__(self) -> None:
        self.reports: list[tuple[object, ...]] = []
        self.first_deletion = trio.Event()

    def relisted(self, objects: Sequence[Thing], *, undecodable: Collection[ObjectKey], resource_version: str) -> None:
        self.reports.append(("relisted", list(objects), list(undecodable), resource_version))

    def applied(self, obj: Thing) -> None:
        self.reports.append(("applied", obj))

    def deleted(self, key: ObjectKey, *, resource_version: str) -> None:
        self.reports.append(("deleted", key, resource_version))
        self.first_deletion.set()


class HalfRandom(Random):
    """Chance without chance: jitter of a half leaves three quarters of each delay."""

    def random(self) -> float:
        return 0.5


def watcher_of(client: ScriptedClient) -> Watcher[Thing]:
    return Watcher(client, THINGS, random=HalfRandom(0), namespace="ns", label_selector="team=a")


async def play(
    *,
    lists: Iterable[Page[Thing] | KubeError],
    watches: Iterable[Sequence[Step] | KubeError] = (),
    seconds: float = 200,
) -> tuple[ScriptedClient, list[tuple[object, ...]]]:
    """Let the watcher run through the script; return what it asked for and what it reported."""
    client, sink = ScriptedClient(lists=lists, watches=watches), Recorder()
    with trio.move_on_after(seconds):
        await watcher_of(client).run(sink)
    return client, sink.reports


def expired() -> Expired:
    return Expired("too old", code=410, reason="Expired")


async def test_a_page_is_reported_at_once_and_all_pages_as_one_list(autojump_clock: MockClock) -> None:
    client, reports = await play(lists=[page([A], "9", "more"), page([B], "9", "and more", [X]), page([C], "9")])

    assert client.requests == [("list", ""), ("list", "more"), ("list", "and more"), ("watch", "9")]
    assert client.limits == [250] * 3
    assert reports == [("applied", A), ("applied", B), ("relisted", [A, B, C], [X], "9")]


async def test_a_list_whose_continue_token_expires_is_started_over_at_once(autojump_clock: MockClock) -> None:
    client, reports = await play(lists=[page([A], "9", "more"), expired(), page([A, B], "12")])

    assert client.requests == [("list", ""), ("list", "more"), ("list", ""), ("watch", "12")]
    assert client.pauses == [0, 0, 0]
    assert reports == [("applied", A), ("relisted", [A, B], [], "12")]


def too_large() -> ResponseTooLarge:
    return ResponseTooLarge("the reply is longer than 16777216 bytes")


async def test_the_next_list_begins_with_pages_of_the_size_that_fitted(autojump_clock: MockClock) -> None:
    client, _ = await play(
        lists=[too_large(), page([A], "9"), page([A], "10"), page([A], "11")], watches=[expired()] * 2
    )

    assert client.limits == [250, 125, 126, 127]


async def test_pages_shrink_to_one_object_and_one_that_is_too_large_is_a_failure(autojump_clock: MockClock) -> None:
    client, reports = await play(lists=[*[too_large()] * 7, page([A], "9", "more"), *[too_large()] * 2, page([A], "9")])

    assert client.limits == [250, 125, 62, 31, 15, 7, 3, 1, 2, 1, 1]
    assert client.pauses == [0] * 9 + [0.6, 0]
    assert reports == [("applied", A), ("relisted", [A], [], "9")]


async def test_half_a_list_is_not_reported_as_one(autojump_clock: MockClock) -> None:
    client, reports = await play(lists=[page([A], "9", "more"), Unreachable("cut"), page([A, B], "12")])

    assert client.requests == [("list", ""), ("list", "more"), ("list", ""), ("watch", "12")]
    assert client.pauses == [0, 0.6, 0]
    assert reports == [("applied", A), ("relisted", [A, B], [], "12")]


async def test_events_are_reported_in_their_order(autojump_clock: MockClock) -> None:
    changed = thing("a", version=12, colour="blue")
    stream = event("ADDED", B) + event("MODIFIED", changed) + bookmark(15) + event("DELETED", thing("b", version=16))

    _, reports = await play(lists=[page([A], "9")], watches=[[stream, FOREVER]])

    assert reports[1:] == [("applied", B), ("applied", changed), ("deleted", ObjectKey("ns", "b"), "16")]


async def test_lines_may_be_cut_anywhere(autojump_clock: MockClock) -> None:
    green = thing("a", version=12, colour="grün")
    stream = event("ADDED", green)

    _, reports = await play(lists=[page([], "9")], watches=[[bytes([byte]) for byte in stream] + [FOREVER]])

    assert reports[1:] == [("applied", green)]


@pytest.mark.parametrize(
    ("last_line", "version"),
    [
        (event("ADDED", thing("b", version=12)), "12"),
        (event("DELETED", thing("b", version=13)), "13"),
        (bookmark(14), "14"),
        (event("ADDED", UNREADABLE), "20"),
        (event("ADDED", UNREADABLE).replace(b"7", b'"\xff"'), "20"),
        (bookmark(14) + event("ADDED", A)[:30], "14"),
    ],
)
async def test_after_the_end_of_a_stream_the_watch_goes_on_from_the_last_version_at_once(
    autojump_clock: MockClock, last_line: bytes, version: str
) -> None:
    client, _ = await play(lists=[page([A], "9")], watches=[[last_line, 5.0]])

    assert client.requests == [("list", ""), ("watch", "9"), ("watch", version)]
    assert client.pauses == [0, 5]


async def test_streams_that_end_at_once_again_and_again_are_asked_for_less_and_less_often(
    autojump_clock: MockClock,
) -> None:
    client, _ = await play(lists=[page([A], "9")], watches=[[]] * 9)

    assert client.pauses == [0, 0, 0.6, 1.2, 2.4, 4.8, 9.6, 19.2, 22.5, 22.5]


@pytest.mark.parametrize("lasts", [1.0, 5.0])
async def test_streams_that_last_a_while_are_restarted_without_a_pause(lasts: float, autojump_clock: MockClock) -> None:
    client, _ = await play(lists=[page([A], "9")], watches=[[lasts]] * 4)

    assert client.pauses == [0, *[lasts] * 4]


@pytest.mark.parametrize(
    "watch",
    [
        expired(),
        [1.0, expired()],
        [bookmark(11), event("ERROR", {"code": 410, "message": "too old resource version"})],
        [event("ERROR", {"code": 500, "reason": "Expired"})],
        [event("ERROR", {"reason": "Gone"})],
    ],
)
async def test_an_expired_version_leads_to_a_new_list_at_once(
    autojump_clock: MockClock, watch: Sequence[Step] | KubeError
) -> None:
    client, reports = await play(lists=[page([A], "9"), page([B], "20")], watches=[watch])

    assert client.requests == [("list", ""), ("watch", "9"), ("list", ""), ("watch", "20")]
    assert client.pauses[-2:] in ([0, 0], [1, 0])
    assert reports == [("relisted", [A], [], "9"), ("relisted", [B], [], "20")]


async def test_versions_that_expire_again_and_again_make_no_busy_loop(autojump_clock: MockClock) -> None:
    client, _ = await play(lists=[page([A], str(n)) for n in range(10, 20)], watches=[expired()] * 4)

    assert client.pauses == [0, 0, 0, 0.6, 0, 1.2, 0, 2.4, 0]


@pytest.mark.parametrize(
    "watch",
    [
        Unreachable("no connection"),
        [bookmark(9), Unreachable("cut")],
        [event("ERROR", {"code": 500, "reason": "InternalError"})],
        [event("ERROR", {"code": 429})],
        [event("ERROR", ["no", "Status"])],
    ],
)
async def test_after_an_error_the_watch_goes_on_from_the_same_version_after_a_while(
    autojump_clock: MockClock, watch: Sequence[Step] | KubeError
) -> None:
    client, reports = await play(lists=[page([A], "9")], watches=[watch])

    assert client.requests == [("list", ""), ("watch", "9"), ("watch", "9")]
    assert client.pauses == [0, 0.6]
    assert reports == [("relisted", [A], [], "9")]


async def test_errors_in_a_row_are_waited_for_longer_and_longer_until_two_minutes_went_well(
    autojump_clock: MockClock,
) -> None:
    failures: list[Sequence[Step] | KubeError] = [Unreachable("down")] * 8
    client, _ = await play(
        lists=[page([A], "9")],
        watches=[*failures, [119.0, Unreachable("cut")], [120.0, Unreachable("cut")]],
        seconds=600,
    )

    assert client.pauses == [0, 0.6, 1.2, 2.4, 4.8, 9.6, 19.2, 22.5, 22.5, 119 + 22.5, 120 + 0.6]


@pytest.mark.parametrize(
    "watch",
    [
        Throttled("slow down", code=429, retry_after=7.0),
        [event("ERROR", {"kind": "Status", "code": 429, "details": {"retryAfterSeconds": 7}})],
    ],
)
async def test_the_server_may_say_how_long_to_wait(
    autojump_clock: MockClock, watch: Sequence[Step] | KubeError
) -> None:
    client, _ = await play(lists=[page([A], "9")], watches=[watch])

    assert client.pauses == [0, 7]


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"SURPRISE","object":{}}',
        b'{"type":"ADDED","object":{"metadata":7}}',
        b'{"type":"DELETED","object":{}}',
        b'{"type":"\xff"}',
        b"half a li",
        b"\x00\xff",
    ],
)
async def test_a_line_that_is_no_event_leads_to_a_new_list_after_a_while(
    autojump_clock: MockClock, line: bytes
) -> None:
    client, _ = await play(lists=[page([A], "9"), page([A], "30")], watches=[[line + b"\n"]])

    assert client.requests == [("list", ""), ("watch", "9"), ("list", ""), ("watch", "30")]
    assert client.pauses == [0, 0.6, 0]


def silent() -> WatchTimedOut:
    return WatchTimedOut("no data for 90 s")


async def test_a_silent_watch_is_restarted_at_once_from_the_last_version(autojump_clock: MockClock) -> None:
    client, reports = await play(lists=[page([A], "9")], watches=[[bookmark(11), 90.0, silent()]])

    assert client.requests == [("list", ""), ("watch", "9"), ("watch", "11")]
    assert client.pauses == [0, 90]
    assert reports == [("relisted", [A], [], "9")]


async def test_after_two_silent_watches_in_a_row_changes_are_found_by_lists(autojump_clock: MockClock) -> None:
    """As behind a proxy that withholds the body of a watch."""
    client, reports = await play(
        lists=[page([A], "9"), page([A, B], "12"), page([B], "15")], watches=[[90.0, silent()]] * 4, seconds=400
    )

    assert client.requests == [
        *[("list", ""), ("watch", "9"), ("watch", "9")],
        *[("list", ""), ("watch", "12")],
        *[("list", ""), ("watch", "15")],
        ("list", ""),
    ]
    assert client.pauses == [0, 90, 90, 0, 90, 0, 90]
    assert [report[1] for report in reports] == [[A], [A, B], [B]]


@pytest.mark.parametrize(
    ("second", "third"),
    [
        (page([A], "9"), page([A, B], "12")),
        (page([A, B], "9"), page([A], "12")),
        (page([A], "9"), page([thing("a", version=12)], "12")),
        (page([A], "9"), page([A], "12", undecodable=[X])),
    ],
    ids=["new", "gone", "changed", "undecodable"],
)
async def test_a_watch_is_down_when_lists_show_what_it_has_not_brought_until_it_brings_something(
    second: Page[Thing], third: Page[Thing], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = ScriptedClient(
        lists=[page([A], "9"), second, third],
        watches=[[90.0, silent()], [90.0, silent()], [90.0, silent()], [60.0, bookmark(13), FOREVER]],
    )
    watcher = watcher_of(client)
    problems: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run, Recorder())
        for _ in range(6):
            await trio.sleep(59)
            problems.append(watcher.problem)
        nursery.cancel_scope.cancel()

    withheld = "can't watch things in ns: the watch brings nothing, but lists show changes"
    assert problems == ["", "", "", "", withheld, ""]
    assert [line for line in lines(caplog) if line[1] != "failed to decode object, skipping it"] == [
        (logging.INFO, "watch timed out, restarting"),
        (logging.WARNING, "failed to watch"),
        (logging.INFO, "watch recovered"),
    ]


async def test_an_idle_watch_of_a_server_without_bookmarks_is_up(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    idle: list[Sequence[Step]] = [[90.0, silent()]]
    client = ScriptedClient(
        lists=[page([A], "9"), *[page([A, B], "20")] * 20],
        watches=[*idle * 3, [10.0, event("MODIFIED", thing("b", version=30)), 90.0, silent()], *idle * 9],
    )
    watcher = watcher_of(client)
    problems: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run, Recorder())
        for _ in range(10):
            await trio.sleep(89)
            problems.append(watcher.problem)
        nursery.cancel_scope.cancel()

    assert set(problems) == {""}
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_silent_watches_with_an_event_or_another_failure_between_them_are_not_in_a_row(
    autojump_clock: MockClock,
) -> None:
    client = ScriptedClient(
        lists=[page([A], "9")],
        watches=[
            [90.0, silent()],
            [bookmark(11), 90.0, silent()],
            [90.0, Unreachable("cut")],
            [90.0, silent()],
            [bookmark(12), 90.0, silent()],
        ],
    )
    watcher = watcher_of(client)
    with trio.move_on_after(600):
        await watcher.run(Recorder())

    assert [request for request in client.requests if request[0] == "list"] == [("list", "")]
    assert watcher.problem == ""


async def test_a_watch_that_the_server_does_not_end_is_ended_when_its_time_is_over(autojump_clock: MockClock) -> None:
    client = ScriptedClient(lists=[page([A], "9")])
    with trio.move_on_after(4_000):
        await Watcher(client, THINGS, random=Random(0), namespace="ns", label_selector="team=a").run(Recorder())

    assert client.pauses[1:] == [seconds + 10 for seconds in client.seconds[:-1]]
    assert all(290 <= seconds <= 350 for seconds in client.seconds)
    assert len(set(client.seconds)) > 5


async def test_lines_that_lie_ready_do_not_keep_others_from_their_turn(autojump_clock: MockClock) -> None:
    checkpoints = 0

    async def count_turns() -> None:
        nonlocal checkpoints
        while True:
            await trio.lowlevel.checkpoint()
            checkpoints += 1

    stream = event("ADDED", A) * 1_000 + event("DELETED", A)
    client, sink = ScriptedClient(lists=[page([], "9")], watches=[[stream, FOREVER]]), Recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher_of(client).run, sink)
        nursery.start_soon(count_turns)
        await sink.first_deletion.wait()
        nursery.cancel_scope.cancel()

    assert checkpoints >= 900


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.message) for record in caplog.records]


async def test_a_list_that_is_refused_is_tried_again_and_said_once_for_each_reason(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    forbidden = Forbidden("things is forbidden", code=403, reason="Forbidden")
    missing = NotFound("no such kind", code=404, reason="NotFound")
    client, reports = await play(lists=[forbidden, forbidden, missing, missing, page([A], "9")])

    assert client.pauses == [0.6, 1.2, 2.4, 4.8, 0]
    assert lines(caplog) == [
        (logging.WARNING, "failed to watch"),
        (logging.WARNING, "failed to watch"),
        (logging.INFO, "watch recovered"),
    ]
    assert reports == [("relisted", [A], [], "9")]


async def test_a_failure_of_another_kind_or_reason_is_said(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    unwell = ApiError("unwell", code=500, reason="InternalError")
    slow = ApiError("slow", code=504, reason="Timeout")
    await play(lists=[Unreachable("no connection"), MalformedResponse("no list"), unwell, slow])

    said = [record.__dict__["fields"]["error"] for record in caplog.records]
    assert said == ["no connection", "no list", "unwell", "slow"]


async def test_the_problem_is_reported_while_there_is_one(autojump_clock: MockClock) -> None:
    client = ScriptedClient(lists=[Unreachable("no connection"), page([A], "9")])
    watcher = watcher_of(client)
    async with trio.open_nursery() as nursery:
        assert watcher.problem == ""
        nursery.start_soon(watcher.run, Recorder())
        await trio.sleep(0.3)
        assert watcher.problem == "can't watch things in ns: no connection"
        await trio.sleep(1)
        assert watcher.problem == ""
        nursery.cancel_scope.cancel()


async def test_an_object_that_cannot_be_decoded_is_left_out_and_said_once_until_it_can(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    readable = thing("x", version=21)
    stream = [event("ADDED", UNREADABLE), event("MODIFIED", UNREADABLE), event("ADDED", readable)]
    stream += [event("MODIFIED", UNREADABLE), event("DELETED", UNREADABLE)]

    _, reports = await play(lists=[page([A], "9", "", [X])], watches=[[*stream, FOREVER]])

    assert reports == [("relisted", [A], [X], "9"), ("applied", readable), ("deleted", X, "20")]
    assert lines(caplog) == [(logging.WARNING, "failed to decode object, skipping it")] * 2
    assert caplog.records[0].__dict__["fields"] == {"kind": "Thing", "namespace": "ns", "name": "x"}


async def test_an_object_that_is_gone_and_comes_again_unreadable_is_said_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await play(lists=[page([], "9", "", [X]), page([], "10"), page([], "11", "", [X])], watches=[expired(), expired()])

    assert lines(caplog) == [(logging.WARNING, "failed to decode object, skipping it")] * 2


async def test_an_object_that_was_deleted_and_comes_again_unreadable_is_said_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stream = [event(type_, UNREADABLE) for type_ in ("ADDED", "DELETED", "ADDED")]
    await play(lists=[page([], "9")], watches=[[*stream, FOREVER]])

    assert lines(caplog) == [(logging.WARNING, "failed to decode object, skipping it")] * 2
