"""Which workloads are restarted for which state of a Secret: pure functions.

    on                        is recorded
    ------------------------  --------------------------------------------------------------------------
    the Secret                a revision, and the targets at that time: with the data, in the same request
    the workload's template   the revision of each Secret that it was restarted for
    the definition's status   the revision that all targets were restarted for: no request is needed for it

So a process that dies between any two requests leaves the pending restarts behind, and no target is restarted twice,
nor for a change from before it became one. A revision is random: it reveals nothing of the data. Data that is written
again after a foreign change keeps its revision.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from random import Random
from typing import NamedTuple

import msgspec

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.ownership import Claim, claim, is_copy
from secrets_manager.controller.rules import GROUP
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.spec import RolloutRestartTarget, Spec
from secrets_manager.controller.workload import WORKLOADS, Workload
from secrets_manager.kube.errors import Forbidden, KubeError, NotFound

RESTARTS = f"{GROUP}/rollout-restart"
"""Annotation on a Secret: `REVISION;KIND/NAME,...`."""
RESTARTED_FOR = f"{GROUP}/restarted-for"
"""Annotation on a pod template: a JSON object with the revision of each Secret, by name."""


class Reason(StrEnum):
    """Why workloads are, or are not, restarted."""

    UP_TO_DATE = "UpToDate"
    PENDING = "RestartPending"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_FORBIDDEN = "TargetForbidden"
    FAILED = "RestartFailed"


class Failure(NamedTuple):
    """Why a target is not restarted yet. The message names it, and the next step."""

    reason: Reason
    message: str


class RestartCondition(NamedTuple):
    """The condition RolloutRestart of a definition."""

    status: str
    reason: Reason
    message: str


class Restarts(msgspec.Struct, frozen=True, kw_only=True):
    """The restarts of a definition's targets for a revision of its Secret; the revision is empty if there is none.

    `pending` has the targets that are not restarted yet, with the failure of the last attempt.
    """

    uid: str
    secret: str
    revision: str = ""
    pending: Mapping[RolloutRestartTarget, Failure | None] = {}

    def restarted(self, target: RolloutRestartTarget) -> "Restarts":
        """Return the restarts after that of a target."""
        return _replaced(self, {each: failure for each, failure in self.pending.items() if each != target})

    def failed(self, target: RolloutRestartTarget, failure: Failure) -> "Restarts":
        """Return the restarts after a failed attempt."""
        return _replaced(self, {**self.pending, target: failure})

    @property
    def condition(self) -> RestartCondition:
        """The condition that shows this."""
        failures = [failure for failure in self.pending.values() if failure is not None]
        if failures:
            others = f" (and {len(failures) - 1} more of its targets)" if len(failures) > 1 else ""
            return RestartCondition("False", failures[0].reason, f"{failures[0].message}{others}")
        if self.pending:
            waiting = ", ".join(map(str, self.pending))
            return RestartCondition(
                "Unknown", Reason.PENDING, f"Secret {self.secret} has changed: to be restarted: {waiting}"
            )
        return RestartCondition("True", Reason.UP_TO_DATE, f"No workload has to be restarted for Secret {self.secret}")


class SecretUnreadable(KubeError):
    """The Secret that a workload is to be restarted for may not be read."""


def targets_of(definition: SecretDefinition) -> tuple[RolloutRestartTarget, ...]:
    """Return the targets of a definition."""
    return definition.spec.rollout_restart_targets if isinstance(definition.spec, Spec) else ()


def record(targets: Iterable[RolloutRestartTarget], random: Random) -> str:
    """Return the annotation of a Secret whose data changes now; empty if there are no targets."""
    names = ",".join(f"{target.kind}/{target.name}" for target in dict.fromkeys(targets))
    return f"{random.getrandbits(64):016x};{names}" if names else ""


def expected(definition: SecretDefinition, secret: CurrentSecret | None, before: Restarts | None) -> Restarts | None:
    """Return the restarts of a definition's targets; None if it has no targets.

    Args:
        definition: The definition, with its status.
        secret: The Secret of the name that it wants, if there is one.
        before: The restarts as this process knew them before.
    """
    targets = targets_of(definition)
    if not targets:
        return None
    uid, name = definition.metadata.uid, definition.spec.name
    if before is None or (before.uid, before.secret) != (uid, name):
        before = Restarts(uid=uid, secret=name)
    revision, recorded = _recorded(definition, secret)
    if revision in ("", before.revision):
        return _replaced(before, {target: failure for target, failure in before.pending.items() if target in targets})
    pending = [] if revision == definition.status.restarted_for else [each for each in targets if each in recorded]
    return Restarts(
        uid=uid, secret=name, revision=revision, pending={each: before.pending.get(each) for each in pending}
    )


def revision_of(secret: CurrentSecret) -> str:
    """Return the revision on a Secret; empty if there is none."""
    return secret.metadata.annotations.get(RESTARTS, "").partition(";")[0]


def restart(
    workload: Workload, revisions: Mapping[str, str], *, exists: Callable[[str], bool]
) -> dict[str, object] | None:
    """Return a merge patch that restarts a workload; None if it was restarted for these revisions before.

    Args:
        workload: The workload in the cluster.
        revisions: The revision of each Secret that it is restarted for.
        exists: Whether there is a Secret of this name; what is recorded of others is dropped.
    """
    present = _restarted_for(workload)
    if revisions.items() <= present.items():
        return None
    kept = {name: revision for name, revision in present.items() if exists(name)}
    text = msgspec.json.encode(kept | dict(revisions), order="sorted").decode()
    return {
        "metadata": {"resourceVersion": workload.metadata.resource_version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: text}}}},
    }


def failure_of(target: RolloutRestartTarget, error: KubeError) -> Failure:
    """Return the failure of an attempt."""
    match error:
        case NotFound():
            step = "create it, or remove it from spec.rolloutRestartTargets"
            return Failure(Reason.TARGET_NOT_FOUND, f"{target} does not exist: {step}")
        case Forbidden() | SecretUnreadable():
            return Failure(Reason.TARGET_FORBIDDEN, f"{target} can't be restarted: {error}: {_permit(error)}")
        case _:
            return Failure(Reason.FAILED, f"{target} can't be restarted, and is tried again: {error}")


def _permit(refusal: Forbidden | SecretUnreadable) -> str:
    """Return the step that lifts a refusal."""
    if isinstance(refusal, SecretUnreadable):
        return "let the controller get Secrets in this namespace"
    if refusal.by_authorization:
        return "set rbac.rolloutRestart of the chart, or apply the component deploy/rollout-restart"
    return "let the policy or webhook that denies it allow the controller to change annotations of the pod template"


def _replaced(restarts: Restarts, pending: Mapping[RolloutRestartTarget, Failure | None]) -> Restarts:
    return msgspec.structs.replace(restarts, pending=pending)


def _recorded(definition: SecretDefinition, secret: CurrentSecret | None) -> tuple[str, set[RolloutRestartTarget]]:
    """Return the revision on a Secret and its targets; empty if there is none, or others have made the Secret."""
    if secret is None or claim(definition, secret) is not Claim.OWNED or is_copy(definition, secret):
        return "", set()
    revision, _, names = secret.metadata.annotations.get(RESTARTS, "").partition(";")
    parts = (name.partition("/") for name in names.split(","))
    return revision, {RolloutRestartTarget(kind=kind, name=name) for kind, _, name in parts if kind in WORKLOADS}


def _restarted_for(workload: Workload) -> dict[str, str]:
    """Return the revisions that a workload was restarted for; none if others wrote something else there."""
    try:
        return msgspec.json.decode(workload.template_annotations.get(RESTARTED_FOR, "{}"), type=dict[str, str])
    except msgspec.MsgspecError:
        return {}
