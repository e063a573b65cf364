"""What /healthz judges: whether only a restart can help.

Three things, and no others: the event loop turns, or there is no answer at all; every supervised task is there; and no
work goes on after the lease has expired. Never the age of work, and never a server: a store that is slow or down is as
slow after a restart, and what is old shows in metrics.
"""

from collections.abc import Awaitable, Callable


class Liveness:
    """`expired` tells why the lease forbids the work that goes on; it is empty while all is well."""

    def __init__(self, expired: Callable[[], str]) -> None:
        self._expired = expired
        self._ended: list[str] = []

    async def supervise(self, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that must not end before the process does."""
        try:
            await task()
        finally:
            self._ended.append(name)

    @property
    def failures(self) -> list[str]:
        """Why a restart is needed, a line each; none while all is well."""
        expired = self._expired()
        return [f"{name} has ended" for name in self._ended] + ([expired] if expired else [])
