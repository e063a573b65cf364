import logging
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TypeVar

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from secrets_manager.kube.errors import KubeError, Unreachable
from secrets_manager.kube.events import EventRecorder
from secrets_manager.kube.objects import KubeObject, ObjectKey, ObjectReference
from secrets_manager.kube.resources import Resource

CACHE_SIZE = 1_024

T = TypeVar("T", bound=KubeObject)

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=timezone(timedelta(hours=2)))


def reference(name: str = "db", uid: str = "u1") -> ObjectReference:
    return ObjectReference(api_version="example.com/v1", kind="Thing", namespace="ns", name=name, uid=uid)


class EventServer:
    """Keeps what it is sent, as JSON, with the time since the start."""

    def __init__(self) -> None:
        self.created: list[dict[str, object]] = []
        self.patched: list[tuple[ObjectKey, dict[str, object]]] = []
        self.times: list[float] = []
        self.failures: list[KubeError] = []
        self.dropped: list[int] = []
        self.latency = 0.0

    async def create(self, resource: Resource[T], namespace: str, body: msgspec.Struct) -> T:
        raw = await self._receive(body)
        self.created.append(msgspec.json.decode(raw, type=dict[str, object]))
        return resource.decode(raw)

    async def patch(self, resource: Resource[T], key: ObjectKey, body: msgspec.Struct) -> T:
        raw = await self._receive(body)
        self.patched.append((key, msgspec.json.decode(raw, type=dict[str, object])))
        return resource.decode(msgspec.json.encode(self.created[0]))

    async def _receive(self, body: msgspec.Struct) -> bytes:
        await trio.sleep(self.latency)
        if self.failures:
            raise self.failures.pop(0)
        self.times.append(round(trio.current_time(), 6))
        return msgspec.json.encode(body)

    @property
    def counts(self) -> list[object]:
        """The series of the created Events, then those of the patches."""
        bodies = self.created + [patch for _, patch in self.patched]
        return [msgspec.convert(body.get("series", {}), dict[str, object]).get("count") for body in bodies]


@pytest.fixture
def server() -> EventServer:
    return EventServer()


@pytest.fixture
def recorder(server: EventServer) -> EventRecorder:
    def now() -> datetime:
        return NOON + timedelta(seconds=trio.current_time())

    return EventRecorder(
        server,
        controller="example.com/things",
        instance="host_" * 50,
        now=now,
        random=Random(0),
        dropped=server.dropped.append,
    )


def record(recorder: EventRecorder, note: str = "made", *, name: str = "db", uid: str = "u1") -> None:
    recorder.record(reference(name, uid), type_="Normal", reason="Synced", action="Sync", note=note)


async def test_what_is_recorded_becomes_an_event(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await trio.sleep(0.25)
    recorder.record(reference(), type_="Warning", reason="SyncFailed", action="Sync", note="no such path")
    nursery.start_soon(recorder.run)
    await trio.sleep(1)

    assert server.created == [
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": "ns", "name": f"db.{Random(0).getrandbits(64):016x}"},
            "eventTime": "2030-01-02T10:00:00.250000Z",
            "reportingController": "example.com/things",
            "reportingInstance": ("host_" * 50)[:128],
            "action": "Sync",
            "reason": "SyncFailed",
            "regarding": {
                "apiVersion": "example.com/v1",
                "kind": "Thing",
                "namespace": "ns",
                "name": "db",
                "uid": "u1",
            },
            "note": "no such path",
            "type": "Warning",
        }
    ]


async def test_a_note_is_cut_to_the_bytes_that_the_api_takes_and_stays_text(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    record(recorder, "ü" * 700 + "x")
    record(recorder, "x" + "ü" * 700)
    await trio.sleep(1)

    assert [event["note"] for event in server.created] == ["ü" * 512, "x" + "ü" * 511]


async def test_the_name_of_an_event_is_a_valid_one_for_the_longest_names(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    record(recorder, name="n" * 235 + "." + "n" * 17)
    await trio.sleep(1)

    assert msgspec.convert(server.created[0]["metadata"], dict[str, str])["name"].startswith("n" * 235 + ".")
    assert len(msgspec.convert(server.created[0]["metadata"], dict[str, str])["name"]) == 252


async def test_the_same_thing_again_counts_up_the_series_of_the_first_event(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    for _ in range(3):
        record(recorder)
        await trio.sleep(300)

    name = msgspec.convert(server.created[0]["metadata"], dict[str, str])["name"]
    assert server.counts == [None, 2, 3]
    assert server.patched[-1] == (
        ObjectKey("ns", name),
        {"series": {"count": 3, "lastObservedTime": "2030-01-02T10:10:00.000000Z"}},
    )


async def test_after_six_minutes_it_is_an_event_of_its_own(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    record(recorder)
    await trio.sleep(361)
    record(recorder)
    await trio.sleep(1)

    assert server.counts == [None, None]
    assert server.patched == []


async def test_what_differs_in_object_type_reason_or_note_is_not_the_same(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    record(recorder)
    record(recorder, uid="u2")
    record(recorder, "another note")
    recorder.record(reference(), type_="Warning", reason="Synced", action="Sync", note="made")
    recorder.record(reference(), type_="Normal", reason="Another", action="Sync", note="made")
    await trio.sleep(1)

    assert server.counts == [None] * 5


async def test_what_happens_again_before_it_is_sent_is_sent_as_a_series(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for _ in range(3):
        record(recorder)
    nursery.start_soon(recorder.run)
    await trio.sleep(1)

    assert server.counts == [3]


async def test_what_happens_again_while_it_is_sent_is_sent_afterwards(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server.latency = 5.0
    nursery.start_soon(recorder.run)
    record(recorder)
    await trio.sleep(1)
    record(recorder)
    await trio.sleep(20)

    assert server.counts == [None, 2]


async def test_a_storm_is_sent_at_a_bounded_rate_and_what_waits_too_long_is_dropped(
    server: EventServer,
    recorder: EventRecorder,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "secrets_manager")
    nursery.start_soon(recorder.run)
    for number in range(1_000):
        record(recorder, f"note {number}")
    await trio.sleep(60)

    assert server.times[:27] == [0.0] * 25 + [0.2, 0.4]
    assert (len(server.created), max(server.times)) == (75, 10.0)
    assert [record.message for record in caplog.records] == ["dropped stale events"]
    assert caplog.records[0].__dict__["fields"] == {"count": 925}
    assert server.dropped == [925]

    record(recorder, "note 999")
    await trio.sleep(1)
    assert (len(server.created), server.patched, server.counts[-1]) == (76, [], 2)


async def test_what_happens_again_while_it_waits_is_fresh_again(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for note in ("goes on", "is over", "young", "goes on"):
        record(recorder, note)
        await trio.sleep(4)
    nursery.start_soon(recorder.run)
    await trio.sleep(1)

    assert [event["note"] for event in server.created] == ["young", "goes on"]
    assert server.counts == [None, 2]


async def test_a_failure_is_dropped_and_the_next_time_is_an_event_of_its_own(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    for failure in (None, Unreachable("down"), None):
        server.failures += [failure] if failure else []
        record(recorder)
        await trio.sleep(1)

    assert server.counts == [None, None]
    assert server.dropped == [1]


async def test_recording_is_bounded_in_memory_and_never_fails_though_the_server_hangs(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server.latency = float("inf")
    nursery.start_soon(recorder.run)
    await wait_all_tasks_blocked()
    for number in range(CACHE_SIZE + 100):
        record(recorder, f"note {number}")

    assert (len(recorder._cache), len(recorder._pending)) == (CACHE_SIZE, CACHE_SIZE)
    assert sum(server.dropped) == 100


async def test_an_event_that_was_sent_is_not_dropped_when_the_cache_is_full(
    server: EventServer, recorder: EventRecorder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(recorder.run)
    for number in range(CACHE_SIZE + 1):
        record(recorder, f"note {number}")
        await trio.sleep(0.25)
    record(recorder, "note 0")
    await trio.sleep(1)

    assert server.counts == [None] * (CACHE_SIZE + 2)
    assert server.dropped == []
