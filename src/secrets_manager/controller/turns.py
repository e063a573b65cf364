"""Work of many small steps in the event loop, which no definition may hold for long."""

from collections.abc import Iterable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_turns(items: Iterable[T]) -> list[T]:
    """Return the items. After each that is made, other tasks have their turn."""
    made: list[T] = []
    for item in items:
        made.append(item)
        await trio.lowlevel.checkpoint()
    return made
