"""Run checks one after another. Each has a time limit, and a failure costs only what depends on it."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import msgspec
import trio

from secrets_manager.cut import cut
from secrets_manager.doctor.finding import MAX_MESSAGE, Finding, failure, skipped
from secrets_manager.errors import SecretsManagerError
from secrets_manager.inputs.progress import Progress, announced

T = TypeVar("T")

LIMIT = 20.0
"""Seconds that one check may take. Each of its requests has a shorter limit of its own."""

REPORT = "report it: this is a fault of secrets-manager"


class Result(NamedTuple, Generic[T]):
    """What a check has found, and what later checks need of it: None if they can't be made."""

    findings: list[Finding]
    value: T | None = None


class Checkup:
    """Collects the findings, in order."""

    def __init__(self, progress: Progress) -> None:
        self.findings: list[Finding] = []
        self._progress = progress

    def add(self, *findings: Finding) -> None:
        """Record findings, with messages of bounded length."""
        self.findings += (msgspec.structs.replace(each, message=cut(each.message, MAX_MESSAGE)) for each in findings)

    def skip(self, checks: Iterable[str], because: str) -> None:
        """Record checks that are not made."""
        self.add(*(skipped(check, because) for check in checks))

    async def run(
        self, check: str, examine: Callable[[], Awaitable[Result[T]]], *, fix: str, limit: float = LIMIT
    ) -> T | None:
        """Make a check. Return its value.

        Args:
            check: The name of the finding if the check itself fails.
            examine: Makes the check.
            fix: The next step if it fails.
            limit: Seconds.
        """
        with announced(self._progress, f"checking {check} ..."):
            result = await _bounded(check, examine, fix, limit)
        self.add(*result.findings)
        return result.value


async def _bounded(check: str, examine: Callable[[], Awaitable[Result[T]]], fix: str, limit: float) -> Result[T]:
    with trio.move_on_after(limit):
        try:
            return await examine()
        except SecretsManagerError as error:
            return Result([failure(check, str(error), fix=fix)])
        except Exception as error:  # noqa: BLE001 - it fails this check only; its text may hold anything
            return Result([failure(check, f"the check itself failed ({type(error).__name__})", fix=REPORT)])
    return Result([failure(check, f"there was no result within {limit:g} s", fix=fix)])
