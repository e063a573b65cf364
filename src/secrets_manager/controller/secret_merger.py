"""Keep the keys of definitions with `creationPolicy: Merge` in Secrets of others, at a rate that these can't raise.

The Secrets are watched by their metadata: managedFields show which keys are ours. What this process has applied last is
kept for each definition, so that at rest nothing is sent. After a restart each definition is applied once.

There is no finalizer: a definition can be deleted while no controller runs. Its keys are removed by the next process
that sees them. contention.py decides when to write, merge_decision.py what, and key_writer.py writes.
"""

from typing import NamedTuple

import trio

from secrets_manager.controller.contention import Stable, State, Trigger, step
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.key_writer import KeyWriter
from secrets_manager.controller.managed_fields import FieldPath
from secrets_manager.controller.merge_decision import Known, differing_keys, merge_contention, missing, obstacle
from secrets_manager.controller.merged_secret import BY_MERGER, MergedSecret, merger_key, merger_of
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret_syncer import Contested, Synced
from secrets_manager.controller.secret_writer import SecretWriter, TooManyConflicts, version_of
from secrets_manager.controller.unanswered import UnansweredWrites
from secrets_manager.controller.watches import Watches
from secrets_manager.kube.errors import FieldOwner
from secrets_manager.kube.objects import ObjectKey

ATTEMPTS = 5
"""Reads of a Secret that is deleted and made again meanwhile; then the next reconcile retries."""


class _LastMerge(NamedTuple):
    """The last merge of a definition."""

    definition: SecretDefinition
    name: str
    digest: bytes
    known: Known | None = None
    state: State = Stable()
    taken: tuple[FieldOwner, ...] = ()
    """Who owned our keys when they were last taken over."""
    written_at: str = ""
    warning: str | None = None
    """The warning of the last write; None if this process has not written the keys."""
    contested: Contested | None = None
    """The reported contention. Its problem stays while no key differs."""


class _Result(NamedTuple):
    """The result of applying until there is nothing to do now."""

    last: _LastMerge
    keys: frozenset[FieldPath]
    wait: float | None
    wrote: bool
    taken: tuple[FieldOwner, ...]
    """Who owned the keys that were taken over."""


class SecretMerger:
    """Merges keys into Secrets; a definition must be merged by one task at a time."""

    def __init__(self, watches: Watches, writer: KeyWriter, secret_writer: SecretWriter) -> None:
        self._watches = watches
        self._writer = writer
        self._secret_writer = secret_writer
        self._last: dict[ObjectKey, _LastMerge] = {}
        self._unanswered = UnansweredWrites()

    async def sync(self, definition: SecretDefinition, desired: Desired) -> Synced | Contested | Problem:
        """Merge the keys, then delete the Secrets that the definition owned under other names.

        Raises:
            KubeError: A retry may help.
        """
        before = self._last.get(definition.key)
        now = _LastMerge(definition, desired.name, desired.digest)
        if before is not None and before.name == desired.name:
            now = before._replace(definition=definition, digest=desired.digest)
        unchanged = (
            before is not None and before.digest == desired.digest and before.definition.is_equivalent_to(definition)
        )
        result = await self._apply_until_equal(now, desired, Trigger.RESYNCED if unchanged else Trigger.DESIRED_CHANGED)
        if isinstance(result, Problem):
            return result
        contested = None if result.wait is None else Contested(_contention(desired, result), result.wait, result.taken)
        self._last[definition.key] = result.last._replace(contested=contested)
        copies = await self._secret_writer.delete_stale(definition, desired)
        if contested is not None:
            return contested
        last = result.last
        return Synced(result.wrote, Claim.OWNED, unchanged, last.warning, last.written_at, copies, result.taken)

    async def release_others(self, definition: SecretDefinition, *, but: str) -> None:
        """Remove keys of the definition from Secrets that it does not manage any more: all but the one of this name.

        An empty name: it manages none.

        Raises:
            KubeError: A retry may help.
        """
        merger = merger_key(definition.key)
        others = [secret for secret in self._with_keys_of(merger) if secret.metadata.name != but]
        if others and but:
            await self._secret_writer.check_replaced(definition, by=but)
        elif others:
            await self._secret_writer.check_unchanged(definition)
        for secret in others:
            await self._writer.release(merger_of(definition.metadata.name), secret)

    async def release_gone(self, key: ObjectKey) -> None:
        """Remove all keys of a definition that does not exist any more. `key` may be that of its merger.

        Raises:
            KubeError: A retry may help.
        """
        secrets = self._with_keys_of(merger_key(key))
        if secrets:
            await self._writer.check_gone(merger_key(key))
        for secret in secrets:
            await self._writer.release(merger_of(key.name), secret)

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._last.pop(key, None)
        self._unanswered.forget(key)

    async def _apply_until_equal(self, now: _LastMerge, desired: Desired, trigger: Trigger) -> _Result | Problem:
        """Compare and apply, until there is nothing to apply now. A failure changes no state."""
        definition = now.definition
        current = await self._current(definition, desired.name)
        state = self._unanswered.resolve(definition, now.name, version=version_of(current), before=now.state)
        now = now._replace(state=state)
        wrote, attempts = False, 0
        taken: tuple[FieldOwner, ...] = ()
        while True:
            if current is None:
                return missing(desired)
            problem = obstacle(definition, desired, current, self._owner(current))
            if problem is not None:
                return problem
            keys = differing_keys(definition, desired, current, now.known)
            state, wait = step(now.state, trigger, keys, trio.current_time())
            if not keys or wait != 0:
                return _Result(now._replace(state=state), keys, wait, wrote, taken)
            if current.keys.get(merger_of(definition.metadata.name), frozenset()) - desired.data.keys():
                await self._secret_writer.check_unchanged(definition)
            with self._unanswered.noting(definition, now.name, version=version_of(current), after=state):
                applied = await self._writer.apply(definition, desired, current)
            if isinstance(applied, Problem):
                return applied
            if applied is None:
                attempts += 1
                if attempts == ATTEMPTS:
                    raise TooManyConflicts(f"Secret {desired.name}: others change it faster than it can be written")
                current = await self._writer.find(definition, current.key)
                continue
            if applied.secret.metadata.resource_version != current.metadata.resource_version:
                wrote, now = True, now._replace(warning=applied.warning)
            taken += applied.taken
            known = Known(applied.secret.metadata.uid, desired.digest, applied.changed)
            now = now._replace(state=state, known=known, taken=applied.taken, written_at=applied.written_at)
            current, trigger = applied.secret, Trigger.WRITTEN
            self._watches.learn_merged(current, by=definition.key)

    async def _current(self, definition: SecretDefinition, name: str) -> MergedSecret | None:
        """Return the Secret from the store, once that has all."""
        key = ObjectKey(definition.metadata.namespace, name)
        if self._watches.knows_merged(key.namespace):
            return self._watches.merged.get(key)
        return await self._writer.find(definition, key)

    def _with_keys_of(self, merger: ObjectKey) -> list[MergedSecret]:
        return self._watches.merged.by_index(BY_MERGER, str(merger))

    def _owner(self, secret: MergedSecret) -> SecretDefinition | None:
        """Return the definition that made the Secret, if there is one."""
        return next(iter(self._watches.labelled(secret.owner, secret.key.namespace)), None)


def _contention(desired: Desired, result: _Result) -> Problem:
    last = result.last
    if last.contested is not None and not result.keys:
        return last.contested.problem
    by_admission = last.known is not None and bool(last.known.changed)
    return merge_contention(desired, result.keys, last.taken, by_admission=by_admission)
