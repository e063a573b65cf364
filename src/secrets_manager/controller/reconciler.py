"""Brings one definition's Secret to what it should be.

It looks at the present state, never at the event that woke it: the definition and the owned Secrets from the stores,
the values from the sources. A process that dies after any request leaves nothing that the next one does not find in
the cluster.
"""

import logging
from collections import Counter
from random import Random
from typing import NamedTuple

from secrets_manager.backends.base import Document
from secrets_manager.controller.definition import (
    FINALIZER_OF_THE_ORIGINAL,
    SECRET_DEFINITIONS,
    Reason,
    SecretDefinition,
)
from secrets_manager.controller.desired import desired, resolve
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.reporter import Reporter
from secrets_manager.controller.secret_keeper import SecretKeeper, Slowed, Written
from secrets_manager.controller.secret_writer import Overtaken
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.status import InSync, Outcome
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.controller.validation import is_secret_name
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import ApiError, Conflict, KubeError
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store

log = logging.getLogger(__name__)

TOLD_FROM = 2
"""So many writes must fail in a row before users are told: one that succeeds at the retry changes no condition."""
AGAIN = 60.0
"""Seconds within which a definition that is not in sync is reconciled again, whatever changes before."""


class RequeueAfter(NamedTuple):
    """Look again in so many seconds; what failed before is forgotten."""

    seconds: float


class RequeueRateLimited(NamedTuple):
    """Look again after the next backoff delay, but not before so many seconds."""

    at_least: float = 0.0


Requeue = RequeueAfter | RequeueRateLimited | None
"""What brings the definition back; None: a change of it, of its Secret or of a source, which are all watched."""


_End = tuple[Outcome | None, Requeue]


class Reconciler:
    """One item of work: `reconcile(key)`."""

    def __init__(
        self,
        client: KubeClient,
        *,
        definitions: Store[SecretDefinition],
        policy: PathPolicy,
        sources: Sources,
        statuses: StatusWriter,
        keeper: SecretKeeper,
        reporter: Reporter,
        random: Random,
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._policy = policy
        self._sources = sources
        self._statuses = statuses
        self._keeper = keeper
        self._reporter = reporter
        self._random = random
        self._failures: Counter[ObjectKey] = Counter()

    async def reconcile(self, key: ObjectKey) -> Requeue:
        """Look, decide, write, report.

        Raises: KubeError where a retry can help and there is nothing to report: what was looked at has changed
        meanwhile, or a write failed for the first time in a row.
        """
        definition = self._definitions.get(key)
        if definition is None:
            self._failures.pop(key, None)
            self._keeper.forget(key)
            self._statuses.forget(key)
            self._reporter.forget(key)
            return None
        outcome, requeue = await self._attempt(definition)
        if isinstance(outcome, InSync):
            definition = await self._released(definition)
        if outcome is not None:
            self._statuses.record(definition, outcome)
            self._reporter.report(definition, outcome)
        return requeue

    async def _attempt(self, definition: SecretDefinition) -> _End:
        """Bring the Secret about, or let it go. A write that fails is an outcome, but for one that is tried again."""
        key = definition.key
        try:
            leaves = definition.metadata.deletion_timestamp is not None
            end = await (self._finish(definition) if leaves else self._sync(definition))
        except Conflict:
            raise
        except KubeError as error:
            self._failures[key] += 1
            if self._failures[key] < TOLD_FROM:
                raise
            return _failed(error), RequeueRateLimited(retry_after(error))
        self._failures.pop(key, None)
        return end

    async def _sync(self, definition: SecretDefinition) -> _End:
        spec = self._policy.admitted(definition)
        if isinstance(spec, Problem):
            return spec, self._again()
        documents = await self._sources.documents(definition.key, spec.sources)
        wish = desired(spec, resolve(spec, documents))
        if isinstance(wish, Problem):
            return wish, self._again()
        match await self._keeper.keep(definition, wish):
            case Problem() as problem:
                return problem, RequeueRateLimited()  # what stands in the way is not watched
            case Slowed(problem, wait):
                return problem, RequeueAfter(wait)
            case Written(wrote, claim, reverted, warning, at, copies):
                if wrote:
                    adopted = claim is Claim.ADOPTED
                    self._reporter.wrote(definition, wish.name, adopted=adopted, reverted=reverted)
                self._reporter.left_alone(definition, copies)
                versions = {source: read.version for source, read in documents.items() if isinstance(read, Document)}
                return InSync(wish.name, versions, wrote=wrote, warning=warning, written_at=at), None

    def _again(self) -> RequeueAfter:
        """Spread out, so that an outage of the store does not bring all definitions back at one time."""
        return RequeueAfter(AGAIN * self._random.uniform(0.5, 1.0))

    async def _finish(self, definition: SecretDefinition) -> _End:
        """A definition that is being deleted: the garbage collector takes its Secret.

        Only one that still bears the finalizer of the Go original waits for somebody to delete its Secret.
        """
        if FINALIZER_OF_THE_ORIGINAL not in definition.metadata.finalizers:
            return None, None
        if is_secret_name(definition.spec.name):
            await self._keeper.delete_last(definition, definition.spec.name)
        else:
            fields = {"namespace": definition.key.namespace, "name": definition.key.name}
            log.warning("released without a look for its Secret: its spec names none", extra={"fields": fields})
        await self._released(definition)
        return None, None

    async def _released(self, definition: SecretDefinition) -> SecretDefinition:
        """Take the finalizer of the Go original off: the Secret has an owner now, or is gone."""
        meta = definition.metadata
        if FINALIZER_OF_THE_ORIGINAL not in meta.finalizers:
            return definition
        kept = [name for name in meta.finalizers if name != FINALIZER_OF_THE_ORIGINAL]
        body = {"metadata": {"finalizers": kept, "resourceVersion": meta.resource_version}}
        released = await self._client.patch(SECRET_DEFINITIONS, definition.key, body)
        self._definitions.apply(released)
        return released


def retry_after(error: Exception) -> float:
    """Seconds that the server asked for, if any."""
    return (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0


def _failed(error: KubeError) -> Problem:
    """What is told of a write that failed, and is tried again."""
    if isinstance(error, Overtaken):
        return Problem(Reason.SECRET_CONTENDED, str(error))
    return Problem(Reason.SECRET_WRITE_FAILED, f"the Secret can't be written, and is tried again: {error}")
