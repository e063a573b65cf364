"""Tells the outcome of a reconcile: status, Events, metrics, one log line. Each only where there is news.

The status is written in a turn of its own. A thousand definitions that are new get their Secrets first, for pods wait
for those, and then their statuses, for which at most people do.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from secrets_manager.controller.definition import SECRET_DEFINITIONS, Condition, Reason, SecretDefinition, Status
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.status import InSync, Outcome, next_status
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import NotFound
from secrets_manager.kube.events import EventRecorder
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What stands in the queue for a status that is to be written."""

    key: ObjectKey


class _News(NamedTuple):
    """An outcome, the definition that it is of, and the status that follows."""

    definition: SecretDefinition
    outcome: Outcome
    status: Status


class Reporter:
    """What users and operators see of the controller's work.

    `now` gives the time as RFC 3339. `later` is asked to have `write` called for a definition.
    """

    def __init__(
        self,
        client: KubeClient,
        definitions: Store[SecretDefinition],
        events: EventRecorder,
        metrics: ControllerMetrics,
        *,
        now: Callable[[], str],
        later: Callable[[Report], None],
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._events = events
        self._metrics = metrics
        self._now = now
        self._later = later
        self._unwritten: dict[ObjectKey, _News] = {}
        self._unkept: dict[ObjectKey, Condition] = {}  # what was last told where the CRD has no status to keep it
        self._warned_of_old_crd = False

    def report(self, definition: SecretDefinition, outcome: Outcome) -> None:
        """Have the status written, if it differs."""
        self._metrics.synced(definition.key, ok=isinstance(outcome, InSync))
        unwritten = self._unwritten.pop(definition.key, None)
        if unwritten is not None:
            outcome = _both(unwritten.outcome, outcome)
        status = next_status(definition, outcome, now=self._now())
        if status != definition.status:
            self._unwritten[definition.key] = _News(definition, outcome, status)
            self._later(Report(definition.key))

    def owes(self, key: ObjectKey) -> bool:
        """Whether there is a status to be written."""
        return key in self._unwritten

    async def write(self, report: Report) -> None:
        """Write the status, and tell the news.

        Raises: KubeError where the status could not be written; a retry of the whole can help.
        """
        news = self._unwritten.pop(report.key, None)
        if news is None:
            return
        definition, outcome, status = news
        before = definition.status.ready or self._unkept.get(report.key)
        kept = await self._write(definition, {"status": status, "metadata": _held_to(definition)})
        if status.ready is not None and not kept:
            self._unkept[report.key] = status.ready
        self._tell(definition, outcome, before)

    def _tell(self, definition: SecretDefinition, outcome: Outcome, before: Condition | None) -> None:
        if isinstance(outcome, Problem) and (before is None or before.reason != outcome.reason):
            self._events.record(
                definition.reference, type_="Warning", reason="SyncFailed", action="Sync", note=outcome.message
            )
            _log(logging.WARNING, "sync failed", definition, reason=outcome.reason.value, message=outcome.message)
        if isinstance(outcome, InSync) and (before is None or before.reason != Reason.SYNCED):
            _log(logging.INFO, "in sync", definition, secret=outcome.secret_name)

    def wrote(self, definition: SecretDefinition, name: str, *, adopted: bool, reverted: bool) -> None:
        """The Secret was written: say in what manner."""
        if adopted:
            reason, note = "SecretAdopted", f"Secret {name} was made by somebody else and is managed from now on"
        elif reverted:
            reason, note = "SecretReverted", f"Secret {name} was changed or deleted by somebody else and is restored"
        else:
            reason, note = "Synced", f"Secret {name} is written"
        self._events.record(definition.reference, type_="Normal", reason=reason, action="Sync", note=note)

    def forget(self, key: ObjectKey) -> None:
        """The definition is gone, and so is all that is told of it."""
        self._metrics.forget(key)
        self._unwritten.pop(key, None)
        self._unkept.pop(key, None)

    async def _write(self, definition: SecretDefinition, body: dict[str, object]) -> bool:
        """Whether there is a status to write."""
        try:
            reply = await self._client.patch(SECRET_DEFINITIONS, definition.key, body, subresource="status")
        except NotFound:
            await self._no_status(definition)
            return False
        if reply.spec == definition.spec:  # it is most of a definition, and others hold it too: keep it once
            reply = msgspec.structs.replace(reply, spec=definition.spec)
        self._definitions.apply(reply)
        return True

    async def _no_status(self, definition: SecretDefinition) -> None:
        """The definition has gone, or its CRD is that of the original, which has no status to write."""
        if not self._warned_of_old_crd:
            with suppress(NotFound):
                await self._client.get(SECRET_DEFINITIONS, definition.key)
                self._warn_of_old_crd()

    def _warn_of_old_crd(self) -> None:
        if not self._warned_of_old_crd:
            self._warned_of_old_crd = True
            log.warning("the installed CRD has no status: apply the output of `secrets-manager crd`")


def _both(earlier: Outcome, later: Outcome) -> Outcome:
    """The later one, and whether the Secret was written in either."""
    if isinstance(earlier, InSync) and isinstance(later, InSync):
        return later._replace(wrote=earlier.wrote or later.wrote)
    return later


def _held_to(definition: SecretDefinition) -> dict[str, str]:
    """Others may write conditions of their own: theirs are kept by writing only over what was read."""
    return {"resourceVersion": definition.metadata.resource_version}


def _log(level: int, text: str, definition: SecretDefinition, **fields: str) -> None:
    key = definition.key
    log.log(level, text, extra={"fields": {"namespace": key.namespace, "name": key.name, **fields}})
