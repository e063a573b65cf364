"""Record Events (events.k8s.io/v1) about objects, best effort: client-go's EventRecorder and its broadcaster.

Recording never blocks and never fails. One task sends what was recorded, at a bounded rate, and drops what has waited
too long. An Event that repeats within some minutes is not created again: the count of its series is patched.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from itertools import takewhile
from random import Random
from typing import Literal, NamedTuple, NoReturn, Protocol, TypeVar

import msgspec
import trio

from secrets_manager.kube.errors import KubeError
from secrets_manager.kube.objects import KubeObject, ObjectKey, ObjectMeta, ObjectReference, Wire, micro_time
from secrets_manager.kube.resources import Resource
from secrets_manager.tokenbucket import TokenBucket

T = TypeVar("T", bound=KubeObject)

EventType = Literal["Normal", "Warning"]

BURST, RATE = 25, 5.0
"""Events: the burst, and the rate per second."""
MAX_EVENT_AGE = 10.0
"""Seconds after which an unsent Event is dropped."""
SERIES_WINDOW = 360.0
"""Seconds within which a repeated Event joins the series; client-go's finishTime."""
CACHE_SIZE = 1_024
"""Distinct Events in the cache; the least recently observed one is evicted."""
MAX_NOTE_BYTES = 1_024
MAX_NAME_LENGTH = 253
MAX_INSTANCE_LENGTH = 128
"""Limits of the API: bytes of a note, characters of a name, characters of reportingInstance."""

log = logging.getLogger(__name__)


class EventSeries(Wire, frozen=True):
    count: int
    last_observed_time: str


class Event(Wire, frozen=True):
    """An Event of events.k8s.io/v1, with the fields that are sent."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    event_time: str
    reporting_controller: str
    reporting_instance: str
    action: str
    reason: str
    regarding: ObjectReference
    note: str
    type: str
    series: EventSeries | None = None


class EventPatch(Wire, frozen=True):
    """The patch for a repeated Event."""

    series: EventSeries


EVENTS = Resource("events.k8s.io", "v1", "events", "Event", msgspec.json.Decoder(Event).decode)


class EventWriter(Protocol):
    """The part of KubeClient that the recorder uses. Both methods raise KubeError only."""

    async def create(self, resource: Resource[T], namespace: str, body: msgspec.Struct) -> T: ...
    async def patch(self, resource: Resource[T], key: ObjectKey, body: msgspec.Struct) -> T: ...


class EventRecorder:
    """Records Events, and sends them while `run` is running.

    Args:
        client: Sends the Events.
        controller: The reportingController.
        instance: The reportingInstance.
        now: Returns the wall clock time, with its time zone.
        random: For the names of Events.
        dropped: Called with the number of Events that are dropped.
    """

    def __init__(
        self,
        client: EventWriter,
        *,
        controller: str,
        instance: str,
        now: Callable[[], datetime],
        random: Random,
        dropped: Callable[[int], None],
    ) -> None:
        self._client = client
        self._dropped = dropped
        self._controller = controller
        self._instance = instance[:MAX_INSTANCE_LENGTH]
        self._now = now
        self._random = random
        self._cache: OrderedDict[_EventKey, _CachedEvent] = OrderedDict()
        self._pending: OrderedDict[_EventKey, _CachedEvent] = OrderedDict()  # both ordered by the last observation
        self._bucket = TokenBucket(rate=RATE, burst=BURST)
        self._has_pending = trio.Event()

    def record(self, regarding: ObjectReference, *, type_: EventType, reason: str, action: str, note: str) -> None:
        """Record an Event about an object. Never blocks, never fails."""
        note = _truncate_note(note)
        key = _EventKey(regarding.uid, type_, reason, note)
        cached = self._cache.pop(key, None)
        if cached is None or trio.current_time() - cached.last_observed > SERIES_WINDOW:
            cached = _CachedEvent(self._event(regarding, type_, reason, action, note))
        cached.observe(self._now())
        self._cache[key] = cached
        self._pending.pop(key, None)
        self._pending[key] = cached
        self._has_pending.set()
        if len(self._cache) > CACHE_SIZE:
            evicted, _ = self._cache.popitem(last=False)
            if self._pending.pop(evicted, None):
                self._dropped(1)

    async def run(self) -> NoReturn:
        """Send recorded Events until cancelled. Unsent ones are lost then."""
        while True:
            if not self._pending:
                self._has_pending = trio.Event()
                await self._has_pending.wait()
            await trio.sleep(self._bucket.reserve(trio.current_time()))
            self._drop_stale()
            if self._pending:
                key, cached = self._pending.popitem(last=False)
                await self._send(key, cached)

    def _drop_stale(self) -> None:
        now = trio.current_time()
        stale = list(takewhile(lambda key: now - self._pending[key].last_observed > MAX_EVENT_AGE, self._pending))
        for key in stale:
            del self._pending[key]
        if stale:
            self._dropped(len(stale))
            log.debug("dropped stale events", extra={"fields": {"count": len(stale)}})

    async def _send(self, key: "_EventKey", cached: "_CachedEvent") -> None:
        event = cached.event
        try:
            if cached.is_created:
                await self._client.patch(EVENTS, event.metadata.key, EventPatch(series=cached.series))
            else:
                series = cached.series if cached.count > 1 else None  # the API takes no series of one
                body = msgspec.structs.replace(event, series=series)
                await self._client.create(EVENTS, event.metadata.namespace, body)
            cached.is_created = True
        except KubeError as error:
            self._cache.pop(key, None)  # the next one creates a new Event
            self._dropped(1)
            fields = {"namespace": event.regarding.namespace, "name": event.regarding.name, "error": str(error)}
            log.debug("failed to send event", extra={"fields": fields})

    def _event(self, regarding: ObjectReference, type_: EventType, reason: str, action: str, note: str) -> Event:
        return Event(
            api_version=EVENTS.api_version,
            kind=EVENTS.kind,
            metadata=ObjectMeta(namespace=regarding.namespace, name=self._name(regarding.name)),
            event_time=micro_time(self._now()),
            reporting_controller=self._controller,
            reporting_instance=self._instance,
            action=action,
            reason=reason,
            regarding=regarding,
            note=note,
            type=type_,
        )

    def _name(self, regarding: str) -> str:
        suffix = f".{self._random.getrandbits(64):016x}"
        return regarding[: MAX_NAME_LENGTH - len(suffix)].rstrip("-.") + suffix


class _EventKey(NamedTuple):
    """Events with equal keys form a series."""

    uid: str
    type: str
    reason: str
    note: str


class _CachedEvent:
    """An Event, and how often it was observed."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.count = 0
        self.last_observed = 0.0
        self.is_created = False
        self._last_observed_time = ""

    def observe(self, now: datetime) -> None:
        self.count += 1
        self.last_observed = trio.current_time()
        self._last_observed_time = micro_time(now)

    @property
    def series(self) -> EventSeries:
        return EventSeries(count=self.count, last_observed_time=self._last_observed_time)


def _truncate_note(note: str) -> str:
    return note.encode()[:MAX_NOTE_BYTES].decode(errors="ignore")
