"""Brings one definition's Secret to what it should be.

It looks at the present state, never at the event that woke it: the definition and the owned Secrets from the stores,
the values from the sources. A process that dies after any request leaves nothing that the next one does not find in
the cluster.
"""

from enum import Enum, auto
from typing import NamedTuple

from secrets_manager.backends.base import Document
from secrets_manager.controller.definition import (
    FINALIZER_OF_THE_ORIGINAL,
    SECRET_DEFINITIONS,
    Reason,
    SecretDefinition,
    Spec,
)
from secrets_manager.controller.desired import Desired, desired, resolve
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.reporter import Reporter
from secrets_manager.controller.secret_writer import SecretWriter
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.status import InSync, Outcome
from secrets_manager.controller.status_writer import StatusWriter
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store


class Next(Enum):
    """What brings the definition back to the queue."""

    A_CHANGE = auto()
    """Of the definition, its Secret or a source: all are watched."""
    SOME_TIME = auto()
    """What stands in the way is not watched."""


class _Settled(NamedTuple):
    """What was last brought about; tells a foreign edit from a change that was wished for."""

    definition: SecretDefinition
    digest: bytes


class Reconciler:
    """One item of work: `reconcile(key)`."""

    def __init__(
        self,
        client: KubeClient,
        *,
        definitions: Store[SecretDefinition],
        policy: PathPolicy,
        sources: Sources,
        writer: SecretWriter,
        statuses: StatusWriter,
        reporter: Reporter,
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._policy = policy
        self._sources = sources
        self._writer = writer
        self._statuses = statuses
        self._reporter = reporter
        self._settled: dict[ObjectKey, _Settled] = {}

    async def reconcile(self, key: ObjectKey) -> Next:
        """Look, decide, write, report.

        Raises: KubeError where a retry can help.
        """
        definition = self._definitions.get(key)
        if definition is None:
            self._settled.pop(key, None)
            self._statuses.forget(key)
            self._reporter.forget(key)
            return Next.A_CHANGE
        if definition.metadata.deletion_timestamp is not None:
            await self._finish(definition)
            return Next.A_CHANGE
        outcome = await self._sync(definition)
        if isinstance(outcome, InSync):
            definition = await self._released(definition)
        self._statuses.record(definition, outcome)
        self._reporter.report(definition, outcome)
        unwatched = (Reason.SECRET_NOT_OWNED, Reason.SECRET_REJECTED)
        return Next.SOME_TIME if isinstance(outcome, Problem) and outcome.reason in unwatched else Next.A_CHANGE

    async def _sync(self, definition: SecretDefinition) -> Outcome:
        spec = self._policy.admitted(definition)
        if isinstance(spec, Problem):
            return spec
        documents = await self._sources.documents(definition.key, spec.sources)
        wish = desired(spec, resolve(spec, documents))
        if isinstance(wish, Problem):
            return wish
        settled = self._settled.get(definition.key)
        again = settled is not None and settled.definition.metadata.uid == definition.metadata.uid
        written = await self._writer.write(definition, wish, again=again)
        if isinstance(written, Problem):
            return written
        if written.writes:
            self._announce(definition, wish, written.claim)
        self._settled[definition.key] = _Settled(definition, wish.digest)
        versions = {source: read.version for source, read in documents.items() if isinstance(read, Document)}
        return InSync(wish.name, versions, wrote=written.writes > 0)

    def _announce(self, definition: SecretDefinition, wish: Desired, claim: Claim) -> None:
        before = self._settled.get(definition.key)
        self._reporter.wrote(
            definition,
            wish.name,
            adopted=claim is Claim.ADOPTED,
            reverted=before is not None
            and before.digest == wish.digest
            and before.definition.wants_the_same_as(definition),
        )

    async def _finish(self, definition: SecretDefinition) -> None:
        """A definition that is being deleted: the garbage collector takes its Secret.

        Only one that still bears the finalizer of the Go original waits for somebody to delete its Secret.
        """
        if FINALIZER_OF_THE_ORIGINAL not in definition.metadata.finalizers:
            return
        if isinstance(definition.spec, Spec):
            await self._writer.delete_last(definition, ObjectKey(definition.metadata.namespace, definition.spec.name))
        await self._released(definition)

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
