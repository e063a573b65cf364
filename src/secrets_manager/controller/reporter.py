"""Tells the outcome of a reconcile beside the status: by metrics each time, by Events and the log when it changes."""

import logging
from collections.abc import Collection

from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.status import InSync, Outcome
from secrets_manager.kube.events import EventRecorder, EventType
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)


class Reporter:
    """What operators see of the controller's work."""

    def __init__(self, events: EventRecorder, metrics: ControllerMetrics) -> None:
        self._events = events
        self._metrics = metrics
        self._reasons: dict[ObjectKey, str] = {}
        """What was last reported of each definition."""
        self._left_alone: dict[ObjectKey, set[str]] = {}
        """The uids of the copies that were reported of each definition."""

    def report(self, definition: SecretDefinition, outcome: Outcome) -> None:
        """Report the outcome. What an earlier process has reported shows in the definition's status."""
        key, ready = definition.key, definition.status.ready
        before = self._reasons.get(key, ready.reason if ready else "")
        reason = outcome.reason if isinstance(outcome, Problem) else Reason.SYNCED
        self._metrics.reason(self._reasons.get(key, ""), reason)
        self._reasons[key] = reason
        self._metrics.secrets.synced(key, ok=isinstance(outcome, InSync))
        if reason == before:
            return
        if isinstance(outcome, InSync):
            _log(logging.INFO, "in sync", definition, secret=outcome.secret_name)
            if before and not outcome.wrote:  # of a write an Event tells already
                note = f"Secret {outcome.secret_name} is in sync again"
                self._record(definition, "Normal", "SyncRecovered", note)
            return
        self._record(definition, "Warning", "SyncFailed", outcome.message)
        _log(logging.WARNING, "sync failed", definition, reason=outcome.reason.value, message=outcome.message)

    def wrote(self, definition: SecretDefinition, name: str, *, adopted: bool, reverted: bool) -> None:
        """The Secret was written: say in what manner."""
        if adopted:
            reason, note = "SecretAdopted", f"Secret {name} was made by somebody else and is managed from now on"
        elif reverted:
            reason, note = "SecretReverted", f"Secret {name} was changed or deleted by somebody else and is restored"
        else:
            reason, note = "Synced", f"Secret {name} is written"
        self._record(definition, "Normal", reason, note)

    def left_alone(self, definition: SecretDefinition, copies: Collection[CurrentSecret]) -> None:
        """Report copies of the Secret that are not deleted, each of them once."""
        reported = self._left_alone.pop(definition.key, set())
        for secret in (copy.metadata for copy in copies if copy.metadata.uid not in reported):
            note = (
                f"Secret {secret.name} has the label and the owner of this definition, but was made by somebody else: "
                "it is left alone. It goes with the definition: remove its ownerReferences to keep it"
            )
            self._record(definition, "Warning", "SecretLeftAlone", note)
        if copies:
            self._left_alone[definition.key] = {copy.metadata.uid for copy in copies}

    def forget(self, key: ObjectKey) -> None:
        """The definition is gone."""
        self._metrics.reason(self._reasons.pop(key, ""), "")
        self._left_alone.pop(key, None)

    def _record(self, definition: SecretDefinition, type_: EventType, reason: str, note: str) -> None:
        self._events.record(definition.reference, type_=type_, reason=reason, action="Sync", note=note)


def _log(level: int, text: str, definition: SecretDefinition, **fields: str) -> None:
    key = definition.key
    log.log(level, text, extra={"fields": {"namespace": key.namespace, "name": key.name, **fields}})
