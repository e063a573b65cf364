"""Derive the status of a definition from the outcomes of its reconciles. Pure.

`next_status` combines the sync state with the status in the API server. So a pending write is derived, not stored, and
stays pending however often it fails.
"""

from itertools import accumulate
from typing import NamedTuple

import msgspec

from secrets_manager.backends import Source
from secrets_manager.controller.definition import (
    READY,
    RECONCILING,
    ROLLOUT_RESTART,
    STALLED,
    Condition,
    Reason,
    SecretDefinition,
    SourceStatus,
    Status,
)
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rollout_restart import Restarts

OWN_CONDITIONS = frozenset({READY, RECONCILING, STALLED, ROLLOUT_RESTART})
"""The conditions of this program; others are left alone."""
TERMINAL_REASONS = frozenset(
    {
        Reason.DEFINITION_INVALID,
        Reason.DEFINITION_TERMINATING,
        Reason.PATH_NOT_ALLOWED,
        Reason.SECRET_NOT_OWNED,
    }
)
"""Reasons that no retry can change: they stay until the definition, the flags or the Secret are edited."""
MAX_SOURCES_BYTES = 128 * 1024
"""Of `sources`, as JSON: etcd takes an object of 1.5 MiB, and the spec has all the paths already."""
_MAX_MESSAGE = 1024
_WARNS = ", and Kubernetes warns: "


class InSync(NamedTuple):
    """The Secret is in sync."""

    secret_name: str
    versions: dict[Source, int | str | None]
    wrote: bool
    warning: str | None = None
    """The warning of Kubernetes at the last write of the Secret by this process; None if there was none."""
    written_at: str = ""
    """The time of the last write that is recorded on the Secret, as RFC 3339: also of one whose response was lost."""


Outcome = InSync | Problem


class SyncState(msgspec.Struct, frozen=True, kw_only=True):
    """The last outcomes of a definition. Times are RFC 3339."""

    uid: str
    generation: int
    """The last reconciled generation."""
    outcome: Outcome
    at: str
    """The time of the outcome, or of the last restart after it."""
    restarts: Restarts | None = None
    """The restarts of the definition's targets; None if it has no targets."""
    synced: InSync | None = None
    """The last InSync: what the Secret was made from."""
    synced_at: str = ""
    """When the Secret was last written, or found equal after a change; empty if not by this process."""


def next_state(
    definition: SecretDefinition,
    outcome: Outcome,
    restarts: Restarts | None = None,
    *,
    before: SyncState | None,
    now: str,
) -> SyncState:
    """Return the state after an outcome. `before` is the previous state, if any."""
    previous = before if before is not None and before.uid == definition.metadata.uid else None
    if isinstance(outcome, InSync) and outcome.warning is None:
        outcome = outcome._replace(warning=_last_warning(definition.status, previous, outcome.secret_name))
    state = SyncState(
        uid=definition.metadata.uid,
        generation=definition.metadata.generation,
        outcome=outcome,
        at=now,
        restarts=restarts,
        synced=previous.synced if previous else None,
        synced_at=previous.synced_at if previous else "",
    )
    if isinstance(outcome, Problem):
        return state
    state = msgspec.structs.replace(state, synced=outcome)
    status = next_status(definition, state)
    if outcome.wrote or status != definition.status or status.last_sync_time < outcome.written_at <= now:
        return msgspec.structs.replace(state, synced_at=now)
    return state


def state_of(reason: Reason) -> str:
    """Return what the reason of Ready means: Ready, Stalled or Reconciling."""
    if reason is Reason.SYNCED:
        return READY
    return STALLED if reason in TERMINAL_REASONS else RECONCILING


def next_status(definition: SecretDefinition, state: SyncState) -> Status:
    """Return the desired status; equal to the current one at rest.

    A problem does not change `lastSyncTime`, `secretName` and `sources`: they are about the existing Secret.
    """
    status = definition.status
    synced = state.synced
    return Status(
        conditions=_merged(status.conditions, (*_conditions(state), *_restart_conditions(state)), state.at),
        observed_generation=state.generation,
        last_sync_time=state.synced_at or status.last_sync_time,
        secret_name=status.secret_name if synced is None else synced.secret_name,
        sources=status.sources if synced is None else _sources(synced.versions),
        restarted_for=_restarted_for(status, state.restarts),
    )


def _conditions(state: SyncState) -> tuple[Condition, ...]:
    """Return Ready, and if it is False, Stalled or Reconciling, as kstatus defines them.

    To kstatus a missing condition is False, and these two should exist only while they are True.
    """
    outcome = state.outcome
    if isinstance(outcome, InSync):
        message = _in_sync(outcome.secret_name) + (f"{_WARNS}{outcome.warning}" if outcome.warning else "")
        return (_condition(READY, "True", Reason.SYNCED, message, state.generation),)
    return (
        _condition(READY, "False", outcome.reason, outcome.message, state.generation),
        _condition(state_of(outcome.reason), "True", outcome.reason, outcome.message, state.generation),
    )


def _restart_conditions(state: SyncState) -> tuple[Condition, ...]:
    """Return what has become of the restarts, for definitions that have targets."""
    if state.restarts is None:
        return ()
    condition = state.restarts.condition
    return (_condition(ROLLOUT_RESTART, condition.status, condition.reason, condition.message, state.generation),)


def _restarted_for(status: Status, restarts: Restarts | None) -> str:
    """Return the last revision that all targets were restarted for."""
    done = restarts is not None and not restarts.pending and restarts.revision
    return done or status.restarted_for


def _in_sync(secret_name: str) -> str:
    return f"Secret {secret_name} is in sync"


def _last_warning(status: Status, previous: SyncState | None, secret_name: str) -> str:
    """Return the warning of the last write of this Secret, by this process or an earlier one."""
    if previous is not None and previous.synced is not None:
        return (previous.synced.warning or "") if previous.synced.secret_name == secret_name else ""
    said, _, warning = status.ready.message.partition(_WARNS) if status.ready else ("", "", "")
    return warning if said == _in_sync(secret_name) else ""


def _condition(type_: str, status: str, reason: str, message: str, generation: int) -> Condition:
    if len(message) > _MAX_MESSAGE:
        message = f"{message[: _MAX_MESSAGE - 3]}..."
    return Condition(type=type_, status=status, reason=reason, message=message, observed_generation=generation)


def _merged(before: tuple[Condition, ...], ours: tuple[Condition, ...], now: str) -> tuple[Condition, ...]:
    """Merge our conditions into the existing ones. A transition time changes only with the status."""
    present = {condition.type: condition for condition in before}
    updated = {condition.type: _dated(condition, present.get(condition.type), now) for condition in ours}
    gone = OWN_CONDITIONS - updated.keys()
    return tuple(condition for type_, condition in (present | updated).items() if type_ not in gone)


def _dated(condition: Condition, before: Condition | None, now: str) -> Condition:
    since = now if before is None or before.status != condition.status else before.last_transition_time
    return msgspec.structs.replace(condition, last_transition_time=since)


def _sources(versions: dict[Source, int | str | None]) -> tuple[SourceStatus, ...]:
    """Return the sources in a fixed order, as many as fit."""
    read = [SourceStatus(path=source.path, version=version) for source, version in sorted(versions.items(), key=str)]
    sizes = accumulate(len(msgspec.json.encode(source)) + 1 for source in read)
    return tuple(source for source, size in zip(read, sizes, strict=True) if size < MAX_SOURCES_BYTES)
