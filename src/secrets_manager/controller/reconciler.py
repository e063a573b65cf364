"""Reconcile a definition with its Secret.

Level-triggered: it uses the current state, not the event that queued the key. The definition and the owned Secrets come
from the stores, the values from the sources. The process may die after any request; the next one finds all that it
needs in the cluster, but foreign metadata of a Secret that is just being replaced (replaced.py).
"""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import NamedTuple

from secrets_manager.backends import Document
from secrets_manager.controller.change_lag import change_lag
from secrets_manager.controller.definition import (
    LEGACY_FINALIZER,
    SECRET_DEFINITIONS,
    Reason,
    SecretDefinition,
)
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.freshness import Freshness
from secrets_manager.controller.metadata import is_orphaned
from secrets_manager.controller.names import is_object_name, listed
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.reporter import Reporter
from secrets_manager.controller.resolving import make_desired
from secrets_manager.controller.rollout_restarter import RolloutRestarter
from secrets_manager.controller.secret_merger import SecretMerger
from secrets_manager.controller.secret_syncer import Contested, SecretSyncer, Synced
from secrets_manager.controller.secret_writer import TooManyConflicts
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.status import InSync, Outcome
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.controller.templating import read_templates, render_templates
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import Conflict, KubeError, NotFound, retry_after
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store

log = logging.getLogger(__name__)

FAILURES_BEFORE_REPORT = 2
"""Writes that fail in a row before the condition changes: one that succeeds when retried is not reported."""
RESYNC_PERIOD = 60.0
"""Seconds within which a definition that is not in sync is reconciled again."""


class RequeueAfter(NamedTuple):
    """Reconcile again after some seconds, and reset the backoff."""

    seconds: float


class RequeueRateLimited(NamedTuple):
    """Reconcile again after the backoff, and not before `at_least` seconds."""

    at_least: float = 0.0


Requeue = RequeueAfter | RequeueRateLimited | None
"""When to reconcile again. None: after a change of the definition, its Secret or a source, which are all watched."""


_Result = tuple[Outcome | None, Requeue]


class Reconciler:
    """Reconciles definitions by key. `clock` returns the time of day."""

    def __init__(
        self,
        client: KubeClient,
        *,
        definitions: Store[SecretDefinition],
        policy: PathPolicy,
        sources: Sources,
        statuses: StatusWriter,
        syncer: SecretSyncer,
        restarter: RolloutRestarter,
        merger: SecretMerger,
        reporter: Reporter,
        freshness: Freshness,
        random: Random,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._policy = policy
        self._sources = sources
        self._statuses = statuses
        self._syncer = syncer
        self._restarter = restarter
        self._merger = merger
        self._reporter = reporter
        self._freshness = freshness
        self._random = random
        self._clock = clock
        self._failures: Counter[ObjectKey] = Counter()

    async def reconcile(self, key: ObjectKey) -> Requeue:
        """Reconcile a definition, and record and report the outcome.

        Raises:
            KubeError: A retry may help, and there is nothing to report: a conflict, or the first failed write.
        """
        definition = self._definitions.get(key)
        if definition is None:
            self._failures.pop(key, None)
            self._syncer.forget(key)
            self._merger.forget(key)
            self._statuses.forget(key)
            self._restarter.forget(key)
            self._reporter.forget(key)
            return await self._release_keys(key)
        self._freshness.begin(key)
        outcome, requeue = await self._try_reconcile(definition)
        if outcome is not None:
            self._statuses.record(definition, outcome, self._restarter.expect(definition))
            self._reporter.report(definition, outcome)
        if isinstance(outcome, InSync):
            self._freshness.succeed(key)
            requeue = await self._remove_finalizer(definition) or requeue
        return requeue

    async def _try_reconcile(self, definition: SecretDefinition) -> _Result:
        """Sync or finalize. A failed write is an outcome, except for the first one in a row."""
        key = definition.key
        try:
            is_deleted = definition.metadata.deletion_timestamp is not None
            result = await (self._finalize(definition) if is_deleted else self._sync(definition))
        except Conflict:
            raise
        except KubeError as error:
            self._failures[key] += 1
            if self._failures[key] < FAILURES_BEFORE_REPORT:
                raise
            return _write_failed(error), RequeueRateLimited(retry_after(error))
        self._failures.pop(key, None)
        return result

    async def _sync(self, definition: SecretDefinition) -> _Result:
        wanted = await self._read(definition)
        if isinstance(wanted, Problem):
            if is_orphaned(definition):
                await self._syncer.orphan(definition)
            return wanted, self._resync()
        desired_secret, documents = wanted
        result = await self._sync_secret(definition, desired_secret)
        if not isinstance(result, Problem):
            self._reporter.keys_taken(definition, desired_secret.name, result.taken)
        match result:
            case Problem() as problem:
                return problem, RequeueRateLimited()  # the obstacle is not watched
            case Contested(problem, wait):
                return problem, RequeueAfter(wait)
            case Synced(wrote, claim, reverted, warning, written_at, copies):
                if wrote:
                    adopted = claim is Claim.ADOPTED
                    self._reporter.secret_written(definition, desired_secret.name, adopted=adopted, reverted=reverted)
                    self._report_change(definition, documents)
                self._reporter.copies_found(definition, copies)
                versions = {source: read.version for source, read in documents.items() if isinstance(read, Document)}
                return InSync(desired_secret.name, versions, wrote=wrote, warning=warning, written_at=written_at), None

    async def _read(self, definition: SecretDefinition) -> tuple[Desired, Documents] | Problem:
        """Return the desired Secret, and the documents that it is made from."""
        spec = self._policy.admit(definition)
        if isinstance(spec, Problem):
            return spec
        templates = await read_templates(spec)
        if isinstance(templates, Problem):
            return templates
        documents = await self._sources.read(definition.key, spec.read_sources)
        desired_secret = await make_desired(spec, documents, await render_templates(templates, spec, documents))
        return desired_secret if isinstance(desired_secret, Problem) else (desired_secret, documents)

    async def _sync_secret(self, definition: SecretDefinition, desired_secret: Desired) -> Synced | Contested | Problem:
        """Sync by the creation policy. Then remove keys that the definition had in other Secrets.

        They stay until it has the Secret that it wants; without any in its place if that belongs to others for good.
        """
        merges = definition.merges_into is not None
        result = await (self._merger if merges else self._syncer).sync(definition, desired_secret)
        if not isinstance(result, Problem):
            await self._merger.release_others(definition, but=desired_secret.name)
        elif not merges and result.reason is Reason.SECRET_NOT_OWNED:
            await self._merger.release_others(definition, but="")
        return result

    async def _release_keys(self, key: ObjectKey) -> Requeue:
        """Remove the keys that a deleted definition has in Secrets of others."""
        try:
            await self._merger.release_gone(key)
        except Conflict:
            raise
        except KubeError as error:
            fields = {"namespace": key.namespace, "name": key.name, "error": str(error)}
            log.warning("keys of a deleted definition are not removed yet, retrying", extra={"fields": fields})
            return RequeueRateLimited(retry_after(error))
        return None

    def _report_change(self, definition: SecretDefinition, documents: Documents) -> None:
        before = self._statuses.synced_versions(definition.key)
        lag = change_lag(before, documents, now=self._clock())
        if lag is not None:
            self._reporter.change_written(lag)

    def _resync(self) -> RequeueAfter:
        """Return the requeue with jitter, so that definitions don't come back together after an outage."""
        return RequeueAfter(RESYNC_PERIOD * self._random.uniform(0.5, 1.0))

    async def _finalize(self, definition: SecretDefinition) -> _Result:
        """Handle a definition that is being deleted. Its Secret is garbage collected.

        With the finalizer of the Go original, the Secret must be deleted here.
        """
        if LEGACY_FINALIZER not in definition.metadata.finalizers:
            return _held(definition), None
        if is_orphaned(definition) or definition.merges_into is not None:
            return None, await self._remove_finalizer(definition)
        if is_object_name(definition.spec.name):
            await self._syncer.delete_owned(definition, definition.spec.name)
        else:
            fields = {"namespace": definition.key.namespace, "name": definition.key.name}
            log.warning("removed finalizer without deleting a Secret: spec has no valid name", extra={"fields": fields})
        return None, await self._remove_finalizer(definition)

    async def _remove_finalizer(self, definition: SecretDefinition) -> Requeue:
        """Remove the finalizer of the Go original: the Secret has an owner now, or is deleted.

        Raises:
            Conflict: The store is behind.
        """
        meta = definition.metadata
        if LEGACY_FINALIZER not in meta.finalizers:
            return None
        kept = [name for name in meta.finalizers if name != LEGACY_FINALIZER]
        body = {"metadata": {"finalizers": kept, "resourceVersion": meta.resource_version}}
        try:
            released = await self._client.patch(SECRET_DEFINITIONS, definition.key, body)
        except Conflict:
            raise
        except NotFound:
            return None
        except KubeError as error:
            self._reporter.finalizer_kept(definition, error)
            return RequeueRateLimited(retry_after(error))
        self._definitions.advance(definition, released)
        return None


def _held(definition: SecretDefinition) -> Problem | None:
    """Return the problem of a definition that is being deleted, and stays for finalizers of others, if any."""
    if not definition.held_by:
        return None
    text = "this definition is being deleted and is not synced any more: it stays until its finalizers are removed: "
    return Problem(Reason.DEFINITION_TERMINATING, text + listed(definition.held_by))


def _write_failed(error: KubeError) -> Problem:
    """Return the problem of a failed write, which is retried."""
    if isinstance(error, TooManyConflicts):
        return Problem(Reason.SECRET_CONTENDED, str(error))
    return Problem(Reason.SECRET_WRITE_FAILED, f"the Secret can't be written, and is tried again: {error}")
