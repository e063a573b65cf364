"""Tells users by Events what happened to their objects (events.k8s.io/v1), as well as can be and never in the way.

To record is instant and can't fail. One task sends what was recorded, at a bounded rate. What waits too long is
dropped, for an Event is worth something while it is fresh, and in a storm the API server has better things to do. The
same thing again within some minutes doesn't make another Event: it counts up the series of the first.
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
from secrets_manager.kube.tokenbucket import TokenBucket

T = TypeVar("T", bound=KubeObject)

EventType = Literal["Normal", "Warning"]

BURST, RATE = 25, 5.0
"""Events that may be sent at once, and per second in the long run."""
FRESH = 10.0
"""Seconds within which an Event is sent or not at all."""
SERIES = 360.0
"""Seconds within which the same thing again counts as going on."""
REMEMBERED = 1_024
"""So many different things are kept in mind at most: the longest ago is forgotten first."""
LONGEST_NOTE = 1_024
LONGEST_NAME = 253
LONGEST_INSTANCE = 128
"""The API's bounds: bytes of a note, characters of an object's name, characters of reportingInstance."""

log = logging.getLogger(__name__)


class EventSeries(Wire, frozen=True):
    count: int
    last_observed_time: str


class Event(Wire, frozen=True):
    """An Event of events.k8s.io/v1, in the fields that are sent."""

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
    """What changes in an Event when the same thing happens again."""

    series: EventSeries


EVENTS = Resource("events.k8s.io", "v1", "events", "Event", msgspec.json.Decoder(Event).decode)


class EventWriter(Protocol):
    """What the recorder needs of KubeClient. Both raise KubeError and nothing else."""

    async def create(self, resource: Resource[T], namespace: str, body: msgspec.Struct) -> T: ...
    async def patch(self, resource: Resource[T], key: ObjectKey, body: msgspec.Struct) -> T: ...


class EventRecorder:
    """Collects Events and sends them while `run` is running.

    `now` tells the wall clock, with its time zone. `dropped` is told how many were not sent and won't be.
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
        self._instance = instance[:LONGEST_INSTANCE]
        self._now = now
        self._random = random
        self._ongoing: OrderedDict[_Sameness, _Happening] = OrderedDict()
        self._unsent: OrderedDict[_Sameness, _Happening] = OrderedDict()  # both: what last happened, comes last
        self._bucket = TokenBucket(rate=RATE, burst=BURST)
        self._recorded = trio.Event()

    def record(self, regarding: ObjectReference, *, type_: EventType, reason: str, action: str, note: str) -> None:
        """Have it told that this happened to an object, now. Never waits, never fails."""
        note = _cut_note(note)
        sameness = _Sameness(regarding.uid, type_, reason, note)
        happening = self._ongoing.pop(sameness, None)
        if happening is None or trio.current_time() - happening.last > SERIES:
            happening = _Happening(self._event(regarding, type_, reason, action, note))
        happening.again(self._now())
        self._ongoing[sameness] = happening
        self._unsent.pop(sameness, None)
        self._unsent[sameness] = happening
        self._recorded.set()
        if len(self._ongoing) > REMEMBERED:
            forgotten, _ = self._ongoing.popitem(last=False)
            if self._unsent.pop(forgotten, None):
                self._dropped(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Send what was recorded, until cancelled. What is unsent then, is lost."""
        task_status.started()
        while True:
            if not self._unsent:
                self._recorded = trio.Event()
                await self._recorded.wait()
            await trio.sleep(self._bucket.take(trio.current_time()))
            self._drop_stale()
            if self._unsent:
                sameness, happening = self._unsent.popitem(last=False)
                await self._send(sameness, happening)

    def _drop_stale(self) -> None:
        now = trio.current_time()
        stale = list(takewhile(lambda sameness: now - self._unsent[sameness].last > FRESH, self._unsent))
        for sameness in stale:
            del self._unsent[sameness]
        if stale:
            self._dropped(len(stale))
            log.debug("events dropped, for they waited too long", extra={"fields": {"count": len(stale)}})

    async def _send(self, sameness: "_Sameness", happening: "_Happening") -> None:
        event = happening.event
        try:
            if happening.told:
                await self._client.patch(EVENTS, event.metadata.key, EventPatch(series=happening.series))
            else:
                series = happening.series if happening.count > 1 else None  # the API takes no series of one
                body = msgspec.structs.replace(event, series=series)
                await self._client.create(EVENTS, event.metadata.namespace, body)
            happening.told = True
        except KubeError as error:
            self._ongoing.pop(sameness, None)  # the next time makes an Event of its own
            self._dropped(1)
            fields = {"namespace": event.regarding.namespace, "name": event.regarding.name, "error": str(error)}
            log.debug("event not sent", extra={"fields": fields})

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
        return regarding[: LONGEST_NAME - len(suffix)].rstrip("-.") + suffix


class _Sameness(NamedTuple):
    """What two happenings must have in common to be the same thing again."""

    uid: str
    type: str
    reason: str
    note: str


class _Happening:
    """One thing that happens to one object, once or again and again."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.count = 0
        self.last = 0.0
        self.told = False
        self._last_observed = ""

    def again(self, now: datetime) -> None:
        self.count += 1
        self.last = trio.current_time()
        self._last_observed = micro_time(now)

    @property
    def series(self) -> EventSeries:
        return EventSeries(count=self.count, last_observed_time=self._last_observed)


def _cut_note(note: str) -> str:
    return note.encode()[:LONGEST_NOTE].decode(errors="ignore")
