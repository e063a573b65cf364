"""Shield requests whose responses must not be lost from cancellation, for a limited time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def run_shielded(work: Callable[[], Awaitable[T]], *, grace: float) -> T:
    """Do the work. A cancellation from outside waits until it is done, for `grace` seconds at most.

    Raises:
        Exception: what the work raises.
    """
    shield = trio.CancelScope(shield=True)
    results: list[T] = []
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_limit_once_cancelled, shield, grace)
        with shield:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001 - the nursery would wrap it
                failures.append(error)
        nursery.cancel_scope.cancel()
    for failure in failures:
        raise failure
    return results[0]


async def _limit_once_cancelled(shield: trio.CancelScope, grace: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        shield.deadline = trio.current_time() + grace
