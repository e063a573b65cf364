"""Sync Secrets with the desired state, at a rate that competing managers can't raise.

The last sync of each definition is kept, to distinguish foreign changes from changes of the desired Secret.
contention.py decides when to write, and secret_writer.py writes.
"""

from random import Random
from typing import NamedTuple

import trio

from secrets_manager.controller.competing_manager import contention_problem
from secrets_manager.controller.contention import Fields, Stable, State, Trigger, step
from secrets_manager.controller.decision import differing_fields
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.metadata import LAST_UPDATE
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rollout_restart import RESTARTS, record, targets_of
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.secret_writer import SecretWriter, version_of
from secrets_manager.controller.unanswered import UnansweredWrites
from secrets_manager.kube.errors import FieldOwner
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store


class Synced(NamedTuple):
    """The Secret is in sync.

    `reverted`: a foreign change was reverted. `warning` is of Kubernetes at the last write of this Secret by this
    process, also one before this sync; None if there was none. `written_at` is the time of the last write that the
    Secret records. `copies` are copies that others made. `taken` are keys that others owned.
    """

    wrote: bool
    claim: Claim
    reverted: bool
    warning: str | None
    written_at: str
    copies: list[CurrentSecret]
    taken: tuple[FieldOwner, ...] = ()


class Contested(NamedTuple):
    """Another manager contends for the Secret. `wait` is in seconds, until the next sync."""

    problem: Problem
    wait: float
    taken: tuple[FieldOwner, ...] = ()


class _Contention(NamedTuple):
    """The reported problem, and the fields that differed then."""

    problem: Problem
    fields: Fields


class _LastSync(NamedTuple):
    """The last sync of a definition, and the state of contention."""

    definition: SecretDefinition
    name: str
    digest: bytes
    restarts: str
    """The record of restarts that goes with this data; see rollout_restart.py."""
    warning: str | None = None
    """The warning of the last write; None if this process has not written the Secret."""
    state: State = Stable()
    contention: _Contention | None = None


class _SyncResult(NamedTuple):
    """The result of writing until the Secret is as desired, or must wait."""

    state: State
    wait: float | None
    trigger: Trigger
    fields: Fields
    current: CurrentSecret | None
    claim: Claim = Claim.OWNED
    wrote: bool = False
    warning: str = ""


class SecretSyncer:
    """Syncs Secrets; a definition must be synced by one task at a time."""

    def __init__(self, secrets: Store[CurrentSecret], writer: SecretWriter, random: Random) -> None:
        self._secrets = secrets
        self._writer = writer
        self._random = random
        self._last_syncs: dict[ObjectKey, _LastSync] = {}
        self._unanswered = UnansweredWrites()
        self._orphaned: dict[ObjectKey, SecretDefinition] = {}
        """Definitions whose policy was carried out without their values."""

    async def sync(self, definition: SecretDefinition, desired: Desired) -> Synced | Contested | Problem:
        """Sync the Secret, then delete those that the definition had under other names.

        Raises:
            KubeError: A retry may help.
        """
        before = self._last_syncs.get(definition.key)
        if before is not None and before.definition.metadata.uid != definition.metadata.uid:
            before = None
        now = _LastSync(definition, desired.name, desired.digest, record(targets_of(definition), self._random))
        if before is not None and before.name == desired.name:
            now = now._replace(warning=before.warning, state=before.state, contention=before.contention)
            if before.digest == desired.digest:
                now = now._replace(restarts=before.restarts)
        result = await self._write_until_equal(before, now, desired)
        if isinstance(result, Problem):
            return result
        now = now._replace(state=result.state, contention=None if result.wait is None else now.contention)
        now = now._replace(warning=result.warning) if result.wrote else now
        if before is None or now.restarts != before.restarts:
            now = now._replace(restarts=_annotation(result.current, RESTARTS))
        self._last_syncs[definition.key] = now
        copies = await self._writer.delete_stale(definition, desired) if result.current is not None else []
        if result.wait is not None:
            return Contested(await self._contention_problem(now, desired, result), result.wait)
        reverted = _is_unchanged(before, definition, desired)
        written_at = _annotation(result.current, LAST_UPDATE)
        return Synced(result.wrote, result.claim, reverted, now.warning, written_at, copies)

    async def orphan(self, definition: SecretDefinition) -> None:
        """Give the Secret no owner any more while its values can't be read, once for each change of the definition.

        Raises:
            KubeError: A retry may help.
        """
        done = self._orphaned.get(definition.key)
        current = self._secrets.get(definition.key._replace(name=definition.spec.name))
        if current is None or (done is not None and done.is_equivalent_to(definition)):
            return
        if await self._writer.orphan(definition, current):
            self._orphaned[definition.key] = definition

    async def delete_owned(self, definition: SecretDefinition, name: str) -> None:
        """Delete the Secret of a deleted definition, if it is ours.

        Raises:
            KubeError: A retry may help.
        """
        await self._writer.delete_owned(definition, ObjectKey(definition.metadata.namespace, name))

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._last_syncs.pop(key, None)
        self._unanswered.forget(key)
        self._orphaned.pop(key, None)
        self._writer.forget(key)

    async def _write_until_equal(
        self, before: _LastSync | None, now: _LastSync, desired: Desired
    ) -> _SyncResult | Problem:
        """Compare and write, until there is nothing to write now. A failure changes no state."""
        definition = now.definition
        trigger = Trigger.RESYNCED if _is_unchanged(before, definition, desired) else Trigger.DESIRED_CHANGED
        current = self._secrets.get(ObjectKey(definition.metadata.namespace, desired.name))
        state = self._unanswered.resolve(definition, now.name, version=version_of(current), before=now.state)
        claim, wrote, warning = Claim.OWNED, False, ""
        while True:
            decision = self._writer.decide(definition, desired, current, restarts=now.restarts)
            if isinstance(decision, Problem):
                return decision
            fields = differing_fields(definition, desired, current)
            state, wait = step(state, trigger, fields, trio.current_time())
            if decision is None or wait != 0:
                return _SyncResult(state, wait, trigger, fields, current, claim, wrote, warning)
            with self._unanswered.noting(definition, now.name, version=version_of(current), after=state):
                reply = await self._writer.write(
                    definition, desired, decision, seen_before=before is not None, restarts=now.restarts
                )
            if isinstance(reply, Problem):
                return reply
            current, claim, wrote, warning = reply.secret, reply.claim, wrote or reply.wrote, reply.warning
            trigger = Trigger.WRITTEN

    async def _contention_problem(self, last: _LastSync, desired: Desired, result: _SyncResult) -> Problem:
        """Return the problem. The Secret is read once, and again if other fields differ."""
        contention = last.contention
        if contention is None or (result.fields and result.fields != contention.fields):
            definition = last.definition
            found = await self._writer.get_with_managers(definition, definition.key._replace(name=last.name))
            by_admission = result.trigger is Trigger.WRITTEN
            problem = contention_problem(definition, desired, found, by_admission=by_admission)
            contention = _Contention(problem, result.fields)
            self._last_syncs[definition.key] = last._replace(contention=contention)
        return contention.problem


def _annotation(secret: CurrentSecret | None, name: str) -> str:
    """Return the text of an annotation; empty if there is none."""
    return "" if secret is None else secret.metadata.annotations.get(name, "")


def _is_unchanged(last: _LastSync | None, definition: SecretDefinition, desired: Desired) -> bool:
    """Whether the desired Secret is that of the last sync."""
    return last is not None and last.digest == desired.digest and last.definition.is_equivalent_to(definition)
