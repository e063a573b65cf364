"""The status that follows from an outcome: a pure function, so that it is written only where it differs."""

from typing import NamedTuple

import msgspec

from secrets_manager.backends.base import Source
from secrets_manager.controller.definition import Condition, Reason, SecretDefinition, SourceStatus, Status
from secrets_manager.controller.problem import Problem

_MAX_MESSAGE = 1024


class InSync(NamedTuple):
    """The Secret is as it should be."""

    secret_name: str
    versions: dict[Source, int | str | None]
    wrote: bool


Outcome = InSync | Problem


def next_status(definition: SecretDefinition, outcome: Outcome, *, now: str) -> Status:
    """What the status should say; equal to the present one at rest.

    A failure leaves `lastSyncTime`, `secretName` and `sources` as they are: they speak of the Secret that is there.
    `now` is RFC 3339.
    """
    before = definition.status
    generation = definition.metadata.generation
    ready = _ready(outcome, generation)
    conditions = _with(before.conditions, ready, now)
    if isinstance(outcome, Problem):
        return msgspec.structs.replace(before, conditions=conditions, observed_generation=generation)
    after = Status(
        conditions=conditions,
        observed_generation=generation,
        last_sync_time=before.last_sync_time,
        secret_name=outcome.secret_name,
        sources=_sources(outcome.versions),
    )
    if outcome.wrote or after != before:
        return msgspec.structs.replace(after, last_sync_time=now)
    return after


def _ready(outcome: Outcome, generation: int) -> Condition:
    if isinstance(outcome, InSync):
        return Condition(
            type="Ready",
            status="True",
            reason=Reason.SYNCED,
            message=f"Secret {outcome.secret_name} is in sync",
            observed_generation=generation,
        )
    message = outcome.message if len(outcome.message) <= _MAX_MESSAGE else f"{outcome.message[: _MAX_MESSAGE - 3]}..."
    return Condition(
        type="Ready", status="False", reason=outcome.reason, message=message, observed_generation=generation
    )


def _with(conditions: tuple[Condition, ...], ready: Condition, now: str) -> tuple[Condition, ...]:
    """The conditions with Ready among them; others keep their place. Its time moves only with its status."""
    before = next((condition for condition in conditions if condition.type == ready.type), None)
    since = now if before is None or before.status != ready.status else before.last_transition_time
    ready = msgspec.structs.replace(ready, last_transition_time=since)
    if before is None:
        return (*conditions, ready)
    return tuple(ready if condition is before else condition for condition in conditions)


def _sources(versions: dict[Source, int | str | None]) -> tuple[SourceStatus, ...]:
    return tuple(
        SourceStatus(path=source.path, version=version) for source, version in sorted(versions.items(), key=str)
    )
