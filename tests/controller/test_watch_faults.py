"""Whatever becomes of the lines of a watch, the same state is reached: each line of each watch is spoilt in turn."""

from collections.abc import AsyncIterator, Callable

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.documents import Object
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, running, secret_path
from tests.doubles import faults as fault

Step = Callable[[Scene], None]

QUIET = 45.0
"""Seconds: longer than a line may be held, and than the watch's pause after some failures."""
GONE = msgspec.json.encode({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}) + b"\n"
BUSY = msgspec.json.encode({"type": "ERROR", "object": {"kind": "Status", "code": 429, "reason": "Slow"}}) + b"\n"


class End(Exception):
    """Ends the stream after some bytes; with the connection lost, unless `cleanly`."""

    def __init__(self, last: bytes = b"", *, cleanly: bool = False) -> None:
        self.last = last
        self.cleanly = cleanly


Spoil = Callable[[list[bytes]], bytes]
"""What becomes of the last line of those that a watch has brought. Raises: End."""


def twice(lines: list[bytes]) -> bytes:
    return lines[-1] * 2


def all_again(lines: list[bytes]) -> bytes:
    return lines[-1] + b"".join(lines)


def cut_before(lines: list[bytes]) -> bytes:
    raise End(cleanly=True)


def cut_inside(lines: list[bytes]) -> bytes:
    raise End(lines[-1][: len(lines[-1]) // 2])


def cut_before_its_newline(lines: list[bytes]) -> bytes:
    raise End(lines[-1].rstrip(), cleanly=True)


def cut_after(lines: list[bytes]) -> bytes:
    raise End(lines[-1])


def gone_instead(lines: list[bytes]) -> bytes:
    raise End(GONE, cleanly=True)


def gone_after(lines: list[bytes]) -> bytes:
    return lines[-1] + GONE


def busy_instead(lines: list[bytes]) -> bytes:
    raise End(BUSY, cleanly=True)


def rubbish_instead(lines: list[bytes]) -> bytes:
    return b"<html>\n"


WAYS: list[Spoil] = [
    twice,
    all_again,
    cut_before,
    cut_inside,
    cut_before_its_newline,
    cut_after,
    gone_instead,
    gone_after,
    busy_instead,
    rubbish_instead,
]


class Lines:
    """Counts the lines of all watches from `begin` on, and spoils the one of a number."""

    def __init__(self, number: int, spoil: Spoil) -> None:
        self.seen = 0
        self._number = number
        self._spoil = spoil
        self._begun = False

    def begin(self) -> None:
        self._begun = True

    async def watch(self, request: httpx.Request, send: fault.Send) -> httpx.Response:
        """Be the fault of all watches."""
        response = await send(request)
        if not response.is_success:
            return response
        return httpx.Response(200, stream=_Stream(response, self))

    def passed_on(self, lines: list[bytes]) -> bytes:
        """What the program gets in place of the last line. Raises: End."""
        self.seen += self._begun
        return self._spoil(lines) if self._begun and self.seen == self._number else lines[-1]


class _Stream(httpx.AsyncByteStream):
    """The body of a watch, line by line. No generator, so that a reader may leave it at any place."""

    def __init__(self, response: httpx.Response, lines: Lines) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._response = response
        self._chunks = aiter(response.stream)
        self._lines = lines
        self._brought: list[bytes] = []
        self._waiting: list[bytes] = []
        self._end: End | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._end is not None:
            await trio.lowlevel.checkpoint()
            if self._end.cleanly:
                raise StopAsyncIteration
            raise httpx.ReadError("connection reset by peer")
        if not self._waiting:
            self._waiting = (await anext(self._chunks)).splitlines(keepends=True)
        self._brought.append(self._waiting.pop(0))
        try:
            return self._lines.passed_on(self._brought)
        except End as end:
            self._end = end
            return end.last

    async def aclose(self) -> None:
        await self._response.aclose()


def two_in_sync(scene: Scene) -> None:
    for name in ("app", "other"):
        scene.write(name, password="hunter-1")
        scene.define(name, pw=f"{name}#password")


def rename(scene: Scene) -> None:
    scene.change("app", name="renamed")


def retype(scene: Scene) -> None:
    scene.change("app", type="kubernetes.io/basic-auth", keysMap={"pw": None, "password": place("app")})


def define(scene: Scene) -> None:
    scene.write("more", password="hunter-3")
    scene.define("more", pw="more#password")


def edit(scene: Scene) -> None:
    scene.edit("app", {"data": {"pw": "ZWRpdGVk"}})
    scene.edit("other", {"metadata": {"labels": None}})


def remove(scene: Scene) -> None:
    scene.user.delete(secret_path("app"))
    scene.delete("other")


def recreate(scene: Scene) -> None:
    scene.delete("app")
    scene.define("app", pw="other#password")


def place(path: str) -> Object:
    return {"path": f"secret/data/{path}", "key": "password"}


HAPPENINGS: list[Step] = [rename, retype, define, edit, remove, recreate]


async def course(happening: Step, *, number: int = 0, spoil: Spoil = twice) -> tuple[Object, int]:
    """Let it happen while the program is at rest. Returns the state in the end, and how many lines there were."""
    lines = Lines(number, spoil)
    async with running(config=ControllerConfig(reconcile_period=600)) as scene:
        scene.faults.always(lines.watch, when=fault.is_watch)
        two_in_sync(scene)
        await scene.settled(2)
        lines.begin()
        happening(scene)
        await scene.settled(QUIET)
        return scene.picture(), lines.seen


UNSPOILT: dict[Step, tuple[Object, int]] = {}
"""What comes of a happening of which every line arrives, once it has been seen: it is the same each time."""


async def unspoilt_course(happening: Step) -> tuple[Object, int]:
    if happening not in UNSPOILT:
        UNSPOILT[happening] = await course(happening)
    return UNSPOILT[happening]


@pytest.mark.parametrize("spoil", WAYS, ids=[way.__name__ for way in WAYS])
@pytest.mark.parametrize("happening", HAPPENINGS, ids=[step.__name__ for step in HAPPENINGS])
async def test_any_line_of_a_watch_may_be_spoilt(happening: Step, spoil: Spoil, autojump_clock: MockClock) -> None:
    expected, number = await unspoilt_course(happening)
    assert number > 0
    reached = {at: (await course(happening, number=at, spoil=spoil))[0] for at in range(1, number + 1)}
    assert reached == dict.fromkeys(reached, expected)


@pytest.mark.parametrize("happening", HAPPENINGS, ids=[step.__name__ for step in HAPPENINGS])
async def test_what_happens_while_no_watch_listens_is_found_by_a_list(
    happening: Step, autojump_clock: MockClock
) -> None:
    """The history is compacted meanwhile, so that no watch can report it."""
    expected, _ = await unspoilt_course(happening)
    async with running(config=ControllerConfig(reconcile_period=600)) as scene:
        two_in_sync(scene)
        await scene.settled(2)
        scene.faults.always(fault.lose_request())
        scene.cluster.end_watches()
        await scene.passed(1)
        happening(scene)
        scene.cluster.compact()
        await scene.passed(60)
        scene.faults.heal()
        await scene.settled()
        assert scene.picture() == expected


async def test_a_list_of_which_only_the_first_page_can_be_had_deletes_nothing(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(reconcile_period=600)) as scene:
        two_in_sync(scene)
        await scene.settled(2)
        scene.door.writes.clear()
        scene.faults.always(fault.answer(500), when=lambda request: "continue" in request.url.params)
        for number in range(501):
            scene.foreign_secret(f"s-{number:03}", labels={"secrets-manager.tuenti.io/owner": "no-uid"})
        scene.cluster.compact()
        scene.cluster.end_watches()
        await scene.passed(300)
        assert scene.writes() == []
        assert (scene.reason("app"), scene.reason("other")) == ("Synced", "Synced")
