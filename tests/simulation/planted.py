"""Plant known faults into the program, to measure whether the simulator finds them.

Most are faults that the program once had, and that tests of their own keep out. Each removes one precaution.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from math import inf
from unittest.mock import patch

import msgspec
import trio

from secrets_manager.backends import Source, Unavailable
from secrets_manager.backends.base import Login
from secrets_manager.backends.vault.token import Token
from secrets_manager.backends.vault.token_manager import TokenManager
from secrets_manager.controller import (
    contention,
    decision,
    health,
    key_writer,
    metadata,
    reading,
    reconciler,
    rollout_restart,
    rollout_restarter,
    secret_syncer,
    secret_writer,
    status,
)
from secrets_manager.controller.competing_manager import ManagedSecret
from secrets_manager.controller.contention import Stable, State, Trigger
from secrets_manager.controller.controller import Controller
from secrets_manager.controller.definition import Condition, Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.key_writer import KeyWriter
from secrets_manager.controller.merged_secret import MergedSecret, merger_key, merger_of
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.reconciler import Reconciler
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.secret_merger import SecretMerger
from secrets_manager.controller.secret_syncer import Contested, SecretSyncer, Synced
from secrets_manager.controller.secret_writer import SecretWriter
from secrets_manager.controller.source_table import Entry, SourceTable
from secrets_manager.controller.sources import Sources
from secrets_manager.controller.spec import DataSource, Spec
from secrets_manager.controller.templated import Templates, parsed
from secrets_manager.controller.workload import Workload
from secrets_manager.kube import lease, store, watcher
from secrets_manager.kube.client import WarningHandler
from secrets_manager.kube.errors import ApiError
from secrets_manager.kube.lease import LeaderElector, LeaseSpec
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.restclient import RequestCounter, RestClient, no_count
from secrets_manager.kube.workqueue import Priority, WorkQueue
from secrets_manager.metrics import SecretMetrics
from secrets_manager.net.client import HttpClient
from secrets_manager.templates import Template

Plant = Callable[[], AbstractContextManager[object]]


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


async def _nothing_async(*_: object) -> None:
    await trio.lowlevel.checkpoint()


def _claims_all(*_: object) -> Claim:
    return Claim.ADOPTED


def _held_by_none(*_: object) -> None:
    pass


def _never_older(_: str, *, than: str) -> bool:
    del than
    return False


def _always_writes(_: State, __: Trigger, fields: contention.Fields, ___: float) -> contention.Step:
    return contention.Step(Stable(), 0.0 if fields else None)


async def _not_released(_: Reconciler, definition: SecretDefinition) -> SecretDefinition:
    await trio.lowlevel.checkpoint()
    return definition


def _trusts_wall_clocks(elector: LeaderElector, spec: LeaseSpec) -> bool:
    renewed = datetime.fromisoformat(spec.renew_time).timestamp() if spec.renew_time else -inf
    held = elector._clock().timestamp() < renewed + spec.lease_duration_seconds
    return spec.holder_identity in ("", elector._identity) or not held


@contextmanager
def _endless_term(_: float) -> Generator[trio.CancelScope]:
    yield trio.CancelScope()


def _token_though_expired(manager: TokenManager) -> Token | None:
    return manager._token


_use = Sources.subscribe


def _not_afresh(sources: Sources, key: ObjectKey, used: frozenset[Source], *, period: float | None = None) -> None:
    _use(sources, key, used, period=period)
    sources._changed_at[key] = -inf


def _lost_while_in_progress(queue: WorkQueue[ObjectKey], key: ObjectKey, priority: Priority = Priority.URGENT) -> None:
    if key not in queue._processing:
        queue._put(key, priority)


def _not_tried_again(*_: object, **__: object) -> None:
    pass


_apply = SourceTable.apply


def _uncovering_ignored(table: SourceTable, source: Source, entry: Entry, event: reading.Event) -> None:
    if not isinstance(event, reading.Uncovered):
        _apply(table, source, entry, event)


def _listings_ignored(table: SourceTable, source: Source, entry: Entry, event: reading.Event) -> None:
    if not isinstance(event, reading.Listed) or event.marker == entry.state.expected_marker:
        _apply(table, source, entry, event)


def _never_probed(state: health.Health) -> float:
    return -inf if isinstance(state, health.Up) else inf


class _NeverExpired(Exception):
    """Raised by no server."""


_definition_changed = Controller._definition_changed


def _statuses_left_alone(controller: Controller, old: SecretDefinition | None, new: SecretDefinition | None) -> None:
    if old is None or new is None or not old.is_equivalent_to(new):
        _definition_changed(controller, old, new)


def _of_what_was_read(error: Unavailable) -> Unavailable:
    return error


_client = RestClient.__init__


def _patient(
    client: RestClient, http: HttpClient, *, where: str, read_timeout: float = 0.0, count: RequestCounter = no_count
) -> None:
    del read_timeout
    _client(client, http, where=where, read_timeout=inf, count=count)


def _replaced(owner: object, name: str, by: object) -> Plant:
    return partial(patch.object, owner, name, by)


def _is_no_copy(_: SecretDefinition, __: CurrentSecret) -> bool:
    return False


def _alone(_: tuple[Condition, ...], ours: tuple[Condition, ...], now: str) -> tuple[Condition, ...]:
    return tuple(msgspec.structs.replace(each, last_transition_time=now) for each in ours)


def _dated_by_each_write(condition: Condition, _: Condition | None, now: str) -> Condition:
    return msgspec.structs.replace(condition, last_transition_time=now)


_sync = SecretSyncer.sync


async def _forgets_its_warning(
    syncer: SecretSyncer, definition: SecretDefinition, desired: Desired
) -> Synced | Contested | Problem:
    result = await _sync(syncer, definition, desired)
    return result._replace(warning="") if isinstance(result, Synced) and not result.wrote else result


def _newest(source: DataSource) -> Source:
    return Source(source.path or "", None)


_applied = KeyWriter._try_apply


async def _forced(
    writer: KeyWriter,
    definition: SecretDefinition,
    current: MergedSecret,
    desired: Desired,
    on_warning: WarningHandler,
    *,
    force: bool = True,
) -> ManagedSecret | ApiError:
    del force
    return await _applied(writer, definition, current, desired, on_warning, force=True)


_body = key_writer._body


def _any_version(current: MergedSecret, data: Mapping[str, bytes]) -> dict[str, object]:
    metadata = msgspec.structs.replace(current.metadata, resource_version="")
    return _body(msgspec.structs.replace(current, metadata=metadata), data)


_restart = rollout_restart.restart


def _restarted_again(
    workload: Workload, revisions: Mapping[str, str], *, exists: Callable[[str], bool]
) -> dict[str, object] | None:
    version = workload.metadata.resource_version
    return _restart(workload, revisions, exists=exists) or {
        "metadata": {"resourceVersion": version},
        "spec": {"template": {"metadata": {"annotations": {"restarted-at": version}}}},
    }


def _always_changed(*_: object) -> bool:
    return True


def _no_orphan(_: SecretDefinition) -> bool:
    return False


def _made_by_none(_: CurrentSecret) -> str:
    return ""


def _granted(manager: TokenManager) -> Login:
    token = manager._token
    return Login(token is not None, trio.current_time() + token.ttl if token else -inf)


def _verified_by_reads(entry: Entry) -> float:
    return entry.state.verified_at


def _records_nothing(_: str) -> tuple[list[str], list[str]]:
    return [], []


async def _leaves_out_what_is_broken(spec: Spec) -> Templates:
    await trio.lowlevel.checkpoint()
    return {key: each for key, each in parsed(spec) if isinstance(each, Template)}


async def _leaves_former_ones(_: SecretWriter, __: SecretDefinition, ___: Desired) -> list[CurrentSecret]:
    await trio.lowlevel.checkpoint()
    return []


_sync_secret = Reconciler._sync_secret


async def _releases_first(
    reconciler: Reconciler, definition: SecretDefinition, desired: Desired
) -> Synced | Contested | Problem:
    merger, name = reconciler._merger, merger_of(definition.metadata.name)
    for secret in merger._with_keys_of(merger_key(definition.key)):
        if secret.metadata.name != desired.name:
            await merger._writer.release(name, secret)
    return await _sync_secret(reconciler, definition, desired)


@contextmanager
def _orphans_deleted() -> Generator[None]:
    """Neither the definition nor the Secret says that it is an orphan."""
    with patch.object(reconciler, "is_orphaned", _no_orphan), patch.object(decision, "orphan_of", _made_by_none):
        yield


PLANTED: Mapping[str, Plant] = {
    "a foreign Secret is taken over": _replaced(decision, "claim", _claims_all),
    "a Secret is taken from its definition": _replaced(secret_writer, "holder", _held_by_none),
    "a definition is not read again before a deletion": _replaced(SecretWriter, "check_unchanged", _nothing_async),
    "a late reply replaces a newer object": _replaced(store, "is_older", _never_older),
    "a fight has no pace": _replaced(secret_syncer, "step", _always_writes),
    "the finalizer of the original stays": _replaced(Reconciler, "_remove_finalizer", _not_released),
    "wall clocks are trusted": _replaced(LeaderElector, "_can_acquire", _trusts_wall_clocks),
    "a term does not end the work": _replaced(lease, "strict_deadline", _endless_term),
    "a token is used beyond its end": _replaced(TokenManager, "_valid_token", _token_though_expired),
    "a changed definition is not read afresh": _replaced(Sources, "subscribe", _not_afresh),
    "a key is lost that is added while in progress": _replaced(WorkQueue, "add", _lost_while_in_progress),
    "a failed key is not tried again": _replaced(WorkQueue, "add_rate_limited", _not_tried_again),
    "sources stay covered without listings": _replaced(SourceTable, "apply", _uncovering_ignored),
    "what a listing shows is not read": _replaced(SourceTable, "apply", _listings_ignored),
    "a store that is down is never probed": _replaced(health, "probe_at", _never_probed),
    "an expired version is watched on": _replaced(watcher, "Expired", _NeverExpired),
    "a status that others change is left": _replaced(Controller, "_definition_changed", _statuses_left_alone),
    "a failure reaches other namespaces with its path": _replaced(Unavailable, "for_others", _of_what_was_read),
    "a silent watch is waited for": _replaced(RestClient, "__init__", _patient),
    "series stay": _replaced(SecretMetrics, "forget", _nothing),
    "sources stay in use": _replaced(Sources, "unsubscribe", _nothing),
    "a copy of a Secret is deleted": _replaced(decision, "is_copy", _is_no_copy),
    "the conditions of others are dropped": _replaced(status, "_merged", _alone),
    "a condition is dated by each write": _replaced(status, "_dated", _dated_by_each_write),
    "what will pass is called stalled": _replaced(status, "TERMINAL_REASONS", frozenset(Reason)),
    "a warning is forgotten": _replaced(SecretSyncer, "sync", _forgets_its_warning),
    "a fixed version is not kept": _replaced(DataSource, "source", property(_newest)),
    "a key of others is overwritten": _replaced(KeyWriter, "_try_apply", _forced),
    "a late apply is taken": _replaced(key_writer, "_body", _any_version),
    "keys leave before they are elsewhere": _replaced(Reconciler, "_sync_secret", _releases_first),
    "keys of a deleted definition stay": _replaced(SecretMerger, "release_gone", _nothing_async),
    "an orphan is deleted with its definition": _replaced(decision, "is_orphaned", _no_orphan),
    "the finalizer of the original deletes an orphan": _orphans_deleted,
    "a restart is repeated": _replaced(rollout_restarter, "restart", _restarted_again),
    "the first Secret restarts, too": _replaced(decision, "has_changed", _always_changed),
    "what was copied stays": _replaced(metadata, "_recorded", _records_nothing),
    "the TTL that was granted is shown as what remains": _replaced(TokenManager, "login", property(_granted)),
    "a definition at rest is not verified by listings": _replaced(Entry, "verified_at", property(_verified_by_reads)),
    "a template that can't be parsed is left out": _replaced(reconciler, "read_templates", _leaves_out_what_is_broken),
    "a Secret of a former name stays": _replaced(SecretWriter, "delete_stale", _leaves_former_ones),
}
"""By a description of the fault."""


@contextmanager
def planted(name: str) -> Generator[None]:
    """Plant a fault; none where the name is empty."""
    with PLANTED[name]() if name else nullcontext():
        yield
