"""What /healthz checks: whether a restart would help.

It fails in three cases only: the event loop is blocked, so there is no response; a supervised task has ended; the
process still acts as leader after its lease expired. Neither the age of work nor a server that is down makes it fail:
a restart repairs neither, and both show in metrics.
"""

from collections.abc import Awaitable, Callable


class Liveness:
    """Health of the process.

    Args:
        check_lease: Returns why the process must not act as leader any more; empty while it may.
    """

    def __init__(self, check_lease: Callable[[], str]) -> None:
        self._check_lease = check_lease
        self._ended: list[str] = []

    async def supervise(self, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that must not end before the process."""
        try:
            await task()
        finally:
            self._ended.append(name)

    @property
    def failures(self) -> list[str]:
        """Why a restart is needed, one line each; empty while healthy."""
        lease_failure = self._check_lease()
        return [f"{name} has ended" for name in self._ended] + ([lease_failure] if lease_failure else [])
