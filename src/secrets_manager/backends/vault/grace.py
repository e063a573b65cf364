"""A moment to finish, for requests whose answers must not be lost."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def finish(work: Callable[[], Awaitable[T]], *, within: float) -> T:
    """Do the work. A cancellation from outside is put off until the work is done, for so many seconds at most.

    Raises: what the work raises.
    """
    shield = trio.CancelScope(shield=True)
    results: list[T] = []
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_lower_once_cancelled, shield, within)
        with shield:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001 - the nursery would wrap it
                failures.append(error)
        nursery.cancel_scope.cancel()
    for failure in failures:
        raise failure
    return results[0]


async def _lower_once_cancelled(shield: trio.CancelScope, within: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        shield.deadline = trio.current_time() + within
