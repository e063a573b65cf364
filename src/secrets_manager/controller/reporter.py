"""Report outcomes: in metrics each time, in Events and the log when they change."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable

from secrets_manager.controller.definition import LEGACY_FINALIZER, Reason, SecretDefinition
from secrets_manager.controller.merge_decision import taken_keys
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rollout_restart import Restarts
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.status import InSync, Outcome
from secrets_manager.kube.errors import FieldOwner, KubeError
from secrets_manager.kube.events import EventRecorder, EventType
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

FAILURES_BEFORE_EVENT = 2
"""Failures to remove a finalizer; a single one may pass."""


class Reporter:
    """Reports outcomes of reconciles."""

    def __init__(self, events: EventRecorder, metrics: ControllerMetrics) -> None:
        self._events = events
        self._metrics = metrics
        self._reasons: dict[ObjectKey, str] = {}
        """The last reported reason of each definition."""
        self._reported_copies: dict[ObjectKey, set[str]] = {}
        """The uids of the reported copies of each definition."""
        self._reported_keys: dict[ObjectKey, dict[str, tuple[str, frozenset[str]]]] = {}
        """From where each definition was last reported to have taken each key: the Secret, and the managers."""
        self._kept_finalizers = Counter[ObjectKey]()
        """How often the finalizer of the Go original could not be removed from a definition."""

    def reasons(self) -> Iterable[tuple[ObjectKey, str]]:
        """Return each definition with its last reported reason."""
        return self._reasons.items()

    def reason_of(self, key: ObjectKey) -> str:
        """Return the last reported reason of a definition; empty if there is none."""
        return self._reasons.get(key, "")

    def report(self, definition: SecretDefinition, outcome: Outcome) -> None:
        """Report an outcome. What an earlier process has reported is in the definition's status."""
        key, ready = definition.key, definition.status.ready
        before = self._reasons.get(key, ready.reason if ready else "")
        reason = outcome.reason if isinstance(outcome, Problem) else Reason.SYNCED
        self._reasons[key] = reason
        if isinstance(outcome, Problem):
            self._metrics.reconcile_error(reason)
        self._metrics.secrets.synced(key, ok=isinstance(outcome, InSync))
        if reason == before:
            return
        if isinstance(outcome, InSync):
            _log(logging.INFO, "in sync", definition, secret=outcome.secret_name)
            if before and not outcome.wrote:  # a write has its own Event
                note = f"Secret {outcome.secret_name} is in sync again"
                self._record(definition, "Normal", "SyncRecovered", note)
            return
        self._record(definition, "Warning", "SyncFailed", outcome.message)
        _log(logging.WARNING, "sync failed", definition, reason=outcome.reason.value, message=outcome.message)

    def secret_written(self, definition: SecretDefinition, name: str, *, adopted: bool, reverted: bool) -> None:
        """Report that the Secret was written."""
        if adopted:
            reason, note = "SecretAdopted", f"Secret {name} was created by others and is managed from now on"
        elif reverted:
            reason, note = "SecretReverted", f"Secret {name} was changed or deleted by others and is restored"
        else:
            reason, note = "Synced", f"Secret {name} is written"
        self._record(definition, "Normal", reason, note)

    def change_written(self, lag: float) -> None:
        """Report that a change in the store has reached the Secret after some seconds."""
        self._metrics.change_written(lag)

    def copies_found(self, definition: SecretDefinition, copies: Collection[CurrentSecret]) -> None:
        """Report copies of the Secret that are left alone, each once."""
        reported = self._reported_copies.pop(definition.key, set())
        for secret in (copy.metadata for copy in copies if copy.metadata.uid not in reported):
            note = (
                f"Secret {secret.name} has the label and the owner of this definition, but was created by others: "
                "it is left alone. It is deleted with the definition: remove its ownerReferences to keep it"
            )
            self._record(definition, "Warning", "SecretLeftAlone", note)
        if copies:
            self._reported_copies[definition.key] = {copy.metadata.uid for copy in copies}

    def keys_taken(self, definition: SecretDefinition, name: str, owners: tuple[FieldOwner, ...]) -> None:
        """Report keys of a Secret that were taken over, each once while the same managers take it back."""
        if not owners:
            return
        reported = self._reported_keys.setdefault(definition.key, {})
        found = {
            field: (name, frozenset(each.manager for each in owners if each.field == field)) for field, _ in owners
        }
        for note in taken_keys(name, [each for each in owners if reported.get(each.field) != found[each.field]]):
            self._record(definition, "Normal", "KeysAdopted", note)
        reported |= found

    def restarts_attempted(self, definition: SecretDefinition, before: Restarts, after: Restarts) -> None:
        """Report what an attempt to restart workloads has changed: restarts, and failures for a reason that is new."""
        for target in before.pending.keys() - after.pending.keys():
            note = f"{target} is restarted, since Secret {after.secret} has changed"
            self._record(definition, "Normal", "RolloutRestarted", note, action="Restart")
        for target, failure in after.pending.items():
            earlier = before.pending.get(target)
            if failure is not None and (earlier is None or earlier.reason != failure.reason):
                self._record(definition, "Warning", "RolloutRestartFailed", failure.message, action="Restart")

    def finalizer_kept(self, definition: SecretDefinition, error: KubeError) -> None:
        """Report that the finalizer of the Go original can't be removed: in the log, then in an Event."""
        note = f"the finalizer {LEGACY_FINALIZER} can't be removed, and is tried again: {error}"
        _log(logging.WARNING, "finalizer not removed, retrying", definition, error=str(error))
        self._kept_finalizers[definition.key] += 1
        if self._kept_finalizers[definition.key] == FAILURES_BEFORE_EVENT:
            self._record(definition, "Warning", "FinalizerNotRemoved", note, action="RemoveFinalizer")

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._kept_finalizers.pop(key, None)
        self._reasons.pop(key, None)
        self._reported_copies.pop(key, None)
        self._reported_keys.pop(key, None)

    def _record(
        self, definition: SecretDefinition, type_: EventType, reason: str, note: str, *, action: str = "Sync"
    ) -> None:
        self._events.record(definition.reference, type_=type_, reason=reason, action=action, note=note)


def _log(level: int, text: str, definition: SecretDefinition, **fields: str) -> None:
    key = definition.key
    log.log(level, text, extra={"fields": {"namespace": key.namespace, "name": key.name, **fields}})
