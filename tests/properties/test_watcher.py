"""Whatever happens to the requests: once it stops happening, the store equals the server.

The server below is a history of changes. Lists show its end in pages, watches replay it. Each request may meet one
fault; the cluster changes all the while, and some of the changes are our own writes, whose replies come late.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from random import Random
from typing import NamedTuple, TypeVar

import msgspec
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from secrets_manager.kube.errors import Expired, Forbidden, KubeError, ServerError, Unreachable
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.page import Page
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from tests.kube.scripted import bookmark, event
from tests.kube.things import THINGS, Thing, thing

T = TypeVar("T", bound=KubeObject)

ERRORS: dict[str, KubeError] = {
    "unreachable": Unreachable("no connection"),
    "failed": ServerError("trouble", code=500),
    "forbidden": Forbidden("no", code=403),
    "expired": Expired("too old", code=410),
}


class Fault(NamedTuple):
    """What a request meets: refused at once or after so many bytes, cut, answered with nonsense or from the past."""

    kind: str = "none"
    at: int = 0


class Server:
    """One namespace's things, as a history that lists and watches are taken from."""

    def __init__(self, faults: list[Fault]) -> None:
        self.things: dict[str, Thing] = {}
        self.history: list[tuple[int, bytes]] = []
        self.version = 0
        self._faults = faults
        self._changed = trio.Event()

    def put(self, name: str, colour: str) -> Thing:
        known = self.things.get(name)
        self.version += 1
        uid = known.metadata.uid if known else f"u{self.version}"
        self.things[name] = new = thing(name, version=self.version, colour=colour, uid=uid)
        self._notify("MODIFIED" if known else "ADDED", new)
        return new

    def delete(self, name: str) -> None:
        if gone := self.things.pop(name, None):
            self.version += 1
            self._notify("DELETED", thing(name, version=self.version, uid=gone.metadata.uid))

    def _notify(self, type_: str, obj: Thing) -> None:
        self.history.append((self.version, event(type_, obj)))
        self._changed.set()
        self._changed = trio.Event()

    def _next_fault(self) -> Fault:
        return self._faults.pop(0) if self._faults else Fault()

    async def list_page(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Page[T]:
        """Pages of two; the token holds the rest of the snapshot."""
        await trio.sleep(0.1)
        if error := ERRORS.get(self._next_fault().kind):
            raise error
        version, rest = str(self.version), list(self.things.values())
        if continue_token:
            version, rest = msgspec.json.decode(continue_token, type=tuple[str, list[Thing]])
        items = [resource.decode(msgspec.json.encode(obj)) for obj in rest[:2]]
        return Page(items, version, msgspec.json.encode((version, rest[2:])).decode() if rest[2:] else "", [])

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        await trio.sleep(0.1)
        fault = self._next_fault()
        if fault.at == 0 and (error := ERRORS.get(fault.kind)):
            raise error
        async with aclosing(self._stream(int(resource_version), fault)) as chunks:
            yield chunks

    async def _stream(self, since: int, fault: Fault) -> AsyncGenerator[bytes, None]:
        room = fault.at if fault.kind not in ("none", "again") else 1 << 30
        since -= fault.at if fault.kind == "again" else 0
        while True:
            lines = b"".join(line for version, line in self.history if version > since) + bookmark(since)
            since = self.version
            for start in range(0, len(lines), 50):
                chunk = lines[start : start + 50][:room]
                room -= len(chunk)
                yield chunk
                if not room:
                    if fault.kind == "nonsense":
                        yield b"{}\n"
                    elif fault.kind == "expired event":
                        yield b"\n" + event("ERROR", {"code": 410})
                    elif error := ERRORS.get(fault.kind):
                        raise error
                    return
            if self.version == since:
                await self._changed.wait()


FAULTS = st.lists(
    st.builds(
        Fault,
        st.sampled_from(["none", "cut", "nonsense", "expired event", "again", *ERRORS]),
        st.one_of(st.just(0), st.integers(1, 1_000)),
    ),
    max_size=12,
)
SECONDS = st.sampled_from([0.0, 0.1, 1.0, 20.0])


class Change(NamedTuple):
    """Others put or delete a thing, or we write one and learn of it after the latency; then comes a pause."""

    kind: str
    name: str
    latency: float
    pause: float


CHANGES = st.lists(
    st.builds(Change, st.sampled_from(["put", "delete", "write"]), st.sampled_from("abc"), SECONDS, SECONDS),
    max_size=25,
)


class Cluster:
    """The server, the store that follows it, and those who change things."""

    def __init__(self, faults: list[Fault]) -> None:
        self.server = Server(faults)
        self.store = Store[Thing](indices={"colour": lambda obj: [obj.colour]})
        self.cache: dict[ObjectKey, Thing] = {}
        watcher = Watcher(self.server, THINGS, random=Random(0))
        self.reflector = Reflector(watcher, store=self.store, on_change=self._notify)

    def _notify(self, old: Thing | None, new: Thing | None) -> None:
        """Keep a copy by the changes alone; each must begin where the one before it ended."""
        some = old or new
        assert some is not None
        assert self.cache.get(some.key) == old
        if new:
            self.cache[new.key] = new
        else:
            del self.cache[some.key]

    async def change(self, changes: list[Change], nursery: trio.Nursery) -> None:
        for number, (kind, name, latency, pause) in enumerate(changes):
            if kind == "put":
                self.server.put(name, f"colour {number}")
            elif kind == "delete":
                self.server.delete(name)
            elif self.server.things.get(name) == self.store.get(ObjectKey("ns", name)):  # else: 409 Conflict
                nursery.start_soon(self._reply, self.server.put(name, f"our colour {number}"), latency)
            await trio.sleep(pause)

    async def _reply(self, written: Thing, latency: float) -> None:
        await trio.sleep(latency)
        if change := self.store.apply(written):
            self._notify(change.old, change.new)


@given(FAULTS, CHANGES)
def test_in_the_end_the_store_equals_the_server(faults: list[Fault], changes: list[Change]) -> None:
    async def main() -> None:
        cluster = Cluster(faults)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.reflector.run)
            await cluster.change(changes, nursery)
            await trio.sleep(10_000)  # the faults are used up: a silent watch lasts six minutes at most
            nursery.cancel_scope.cancel()

        expected = {obj.key: obj for obj in cluster.server.things.values()}
        assert {obj.key: obj for obj in cluster.store} == expected
        assert cluster.cache == expected
        assert all(cluster.store.by_index("colour", obj.colour) == [obj] for obj in expected.values())
        assert cluster.reflector.problem == ""

    trio.run(main, clock=MockClock(autojump_threshold=0))
