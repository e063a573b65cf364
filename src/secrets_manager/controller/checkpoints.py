"""Work of many small steps in the event loop, which no definition may hold for long."""

from collections.abc import Iterable
from typing import TypeVar

import trio

T = TypeVar("T")


async def with_checkpoints(items: Iterable[T]) -> list[T]:
    """Return the items, with a checkpoint after each: other tasks run between two of them."""
    made: list[T] = []
    for item in items:
        made.append(item)
        await trio.lowlevel.checkpoint()
    return made
