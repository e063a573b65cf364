"""A client that plays what a test wrote down: each list and each watch gets its next answer, and then silence."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import NamedTuple, TypeVar

import msgspec
import trio

from secrets_manager.kube.errors import KubeError
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.page import Page
from secrets_manager.kube.resources import Resource
from tests.kube.things import Thing

T = TypeVar("T", bound=KubeObject)


def page(
    items: Sequence[Thing], version: str, continue_token: str = "", undecodable: Sequence[ObjectKey] = ()
) -> Page[Thing]:
    return Page([*items], version, continue_token, [*undecodable])


class Call(NamedTuple):
    """A request: "list" with its continue token, or "watch" with its resourceVersion; and when it came."""

    verb: str
    where: str
    time: float


Step = bytes | float | KubeError
"""Of a watch's stream: a chunk, seconds of silence, or a failure."""


class ScriptedClient:
    """Plays pages and streams; a KubeError in place of either is raised at once."""

    def __init__(
        self, *, lists: Iterable[Page[Thing] | KubeError], watches: Iterable[Sequence[Step] | KubeError] = ()
    ) -> None:
        self.calls: list[Call] = []
        self.limits: list[int] = []
        self.seconds: list[float] = []
        self._lists = iter(lists)
        self._watches = iter(watches)

    async def list_page(
        self,
        resource: Resource[T],
        *,
        namespace: str,
        label_selector: str,
        limit: int,
        continue_token: str,
    ) -> Page[T]:
        self._note("list", continue_token, namespace, label_selector)
        self.limits.append(limit)
        await trio.lowlevel.checkpoint()
        answer = next(self._lists, None)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, KubeError):
            raise answer
        items = [resource.decode(msgspec.json.encode(item)) for item in answer.items]
        return Page(items, *answer[1:])

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        *,
        namespace: str,
        label_selector: str,
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        self._note("watch", resource_version, namespace, label_selector)
        self.seconds.append(timeout_seconds)
        await trio.lowlevel.checkpoint()
        steps = next(self._watches, (FOREVER,))
        if isinstance(steps, KubeError):
            raise steps
        async with aclosing(_play(steps)) as chunks:
            yield chunks

    @property
    def requests(self) -> list[tuple[str, str]]:
        return [(call.verb, call.where) for call in self.calls]

    @property
    def pauses(self) -> list[float]:
        """The seconds between one call and the next."""
        times = [call.time for call in self.calls]
        return [round(later - earlier, 6) for earlier, later in pairwise(times)]

    def _note(self, verb: str, where: str, namespace: str, label_selector: str) -> None:
        assert (namespace, label_selector) == ("ns", "team=a")
        self.calls.append(Call(verb, where, trio.current_time()))


FOREVER = float("inf")


async def _play(steps: Sequence[Step]) -> AsyncGenerator[bytes, None]:
    for step in steps:
        if isinstance(step, KubeError):
            raise step
        if isinstance(step, bytes):
            yield step
        else:
            await trio.sleep(step)


def event(type_: str, obj: object) -> bytes:
    return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
