"""The status that follows from an outcome: pure functions.

A result is what came of the last reconcile. `next_status` compares it with what the API server has; so what has to be
written is never remembered, only derived, and it stays the same however often a write fails.
"""

from typing import NamedTuple

import msgspec

from secrets_manager.backends.base import Source
from secrets_manager.controller.definition import (
    READY,
    RECONCILING,
    STALLED,
    Condition,
    Reason,
    SecretDefinition,
    SourceStatus,
    Status,
)
from secrets_manager.controller.problem import Problem

OURS = frozenset({READY, RECONCILING, STALLED})
"""The conditions that this program keeps; all others are left as they are."""
UNTIL_EDITED = frozenset({Reason.DEFINITION_INVALID, Reason.PATH_NOT_ALLOWED, Reason.SECRET_NOT_OWNED})
"""What no new try can change: it stays until somebody edits the definition, the controller's flags or the Secret."""
_MAX_MESSAGE = 1024
_WARNS = ", and Kubernetes warns: "


class InSync(NamedTuple):
    """The Secret is as it should be."""

    secret_name: str
    versions: dict[Source, int | str | None]
    wrote: bool
    warning: str = ""
    """What Kubernetes warned of when the Secret was written. It holds until the next write."""
    written_at: str = ""
    """When the Secret says that it was last written, RFC 3339: also by a write whose reply was lost."""


Outcome = InSync | Problem


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the reconciles of one definition. Times are RFC 3339."""

    uid: str
    generation: int
    """Of the spec that was reconciled last."""
    outcome: Outcome
    at: str
    """The time of the outcome."""
    synced: InSync | None = None
    """The last one of that kind: what the Secret was made from."""
    synced_at: str = ""
    """When the Secret was last written, or found equal after a change; empty: not since the process began."""


def result_of(definition: SecretDefinition, outcome: Outcome, *, before: Result | None, now: str) -> Result:
    """The result after one more outcome. `before` is the last one, if there is one."""
    last = before if before is not None and before.uid == definition.metadata.uid else None
    if isinstance(outcome, InSync) and not outcome.wrote:
        outcome = outcome._replace(warning=_last_warning(definition.status, last, outcome.secret_name))
    result = Result(
        uid=definition.metadata.uid,
        generation=definition.metadata.generation,
        outcome=outcome,
        at=now,
        synced=last.synced if last else None,
        synced_at=last.synced_at if last else "",
    )
    if isinstance(outcome, Problem):
        return result
    result = msgspec.structs.replace(result, synced=outcome)
    status = next_status(definition, result)
    if outcome.wrote or status != definition.status or status.last_sync_time < outcome.written_at <= now:
        return msgspec.structs.replace(result, synced_at=now)
    return result


def next_status(definition: SecretDefinition, result: Result) -> Status:
    """What the status should say; equal to the present one at rest.

    A problem leaves `lastSyncTime`, `secretName` and `sources` as they are: they speak of the Secret that is there.
    """
    status = definition.status
    synced = result.synced
    return Status(
        conditions=_merged(status.conditions, _conditions(result), result.at),
        observed_generation=result.generation,
        last_sync_time=result.synced_at or status.last_sync_time,
        secret_name=status.secret_name if synced is None else synced.secret_name,
        sources=status.sources if synced is None else _sources(synced.versions),
    )


def _conditions(result: Result) -> tuple[Condition, ...]:
    """Ready, and beside it why it is not, in the conditions by which kstatus tells what will pass from what will not.

    By its rules a condition that is not there is False, and one that tells of trouble is there only when it is True.
    """
    outcome = result.outcome
    if isinstance(outcome, InSync):
        message = _in_sync(outcome.secret_name) + (f"{_WARNS}{outcome.warning}" if outcome.warning else "")
        return (_condition(READY, "True", Reason.SYNCED, message, result.generation),)
    trouble = STALLED if outcome.reason in UNTIL_EDITED else RECONCILING
    return (
        _condition(READY, "False", outcome.reason, outcome.message, result.generation),
        _condition(trouble, "True", outcome.reason, outcome.message, result.generation),
    )


def _in_sync(secret_name: str) -> str:
    return f"Secret {secret_name} is in sync"


def _last_warning(status: Status, last: Result | None, secret_name: str) -> str:
    """What was warned of when this Secret was last written, by this process or by an earlier one."""
    if last is not None and last.synced is not None:
        return last.synced.warning if last.synced.secret_name == secret_name else ""
    said, _, warning = status.ready.message.partition(_WARNS) if status.ready else ("", "", "")
    return warning if said == _in_sync(secret_name) else ""


def _condition(type_: str, status: str, reason: Reason, message: str, generation: int) -> Condition:
    if len(message) > _MAX_MESSAGE:
        message = f"{message[: _MAX_MESSAGE - 3]}..."
    return Condition(type=type_, status=status, reason=reason, message=message, observed_generation=generation)


def _merged(before: tuple[Condition, ...], ours: tuple[Condition, ...], now: str) -> tuple[Condition, ...]:
    """Ours among those of others, each in its place. Its time moves only with its status."""
    present = {condition.type: condition for condition in before}
    news = {condition.type: _dated(condition, present.get(condition.type), now) for condition in ours}
    gone = OURS - news.keys()
    return tuple(condition for type_, condition in (present | news).items() if type_ not in gone)


def _dated(condition: Condition, before: Condition | None, now: str) -> Condition:
    since = now if before is None or before.status != condition.status else before.last_transition_time
    return msgspec.structs.replace(condition, last_transition_time=since)


def _sources(versions: dict[Source, int | str | None]) -> tuple[SourceStatus, ...]:
    return tuple(
        SourceStatus(path=source.path, version=version) for source, version in sorted(versions.items(), key=str)
    )
