"""Collect a report of what the controller knows.

Ten thousand definitions take some ten milliseconds, so they are collected in pieces, with a checkpoint after each:
no reconcile waits longer than for one piece. A report is bounded in size, however large the definitions are.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isinf
from typing import NamedTuple, Protocol

import trio

from secrets_manager.backends import Login
from secrets_manager.controller.definition import ROLLOUT_RESTART, SecretDefinition, Status
from secrets_manager.controller.standing import Standing, State
from secrets_manager.controller.view import QueueState, StoreHealth
from secrets_manager.cut import cut
from secrets_manager.statuspage.query import Query
from secrets_manager.statuspage.report import Backend, Queue, Replica, Report, Row, SourceShown, Token
from secrets_manager.statuspage.selection import Selection

PIECE = 200
"""Definitions between two checkpoints."""
MAX_SOURCES = 10
"""Sources of a row. `explain` shows all."""
MAX_PATH = 200
"""Characters of a path, a name or a version."""
MAX_MESSAGE = 1000
"""Characters of a message: what is in a status, others may have written."""


class View(Protocol):
    """What the controller knows; see controller/view.py."""

    def definitions(self) -> list[SecretDefinition]: ...

    def standing(self, definition: SecretDefinition) -> Standing: ...

    def status(self, definition: SecretDefinition) -> Status: ...

    def last_in_sync(self, definition: SecretDefinition) -> float: ...

    @property
    def store(self) -> StoreHealth: ...

    @property
    def queue(self) -> QueueState: ...

    @property
    def unwatched(self) -> list[str]: ...


class Process(NamedTuple):
    """What the report says of the process, beside what the controller knows."""

    identity: str
    version: str
    backend: str
    is_leader: Callable[[], bool]
    login: Callable[[], Login | None]
    clock: Callable[[], datetime]


class Collector:
    """Collects reports."""

    def __init__(self, view: View, process: Process) -> None:
        self._view = view
        self._process = process

    async def collect(self, query: Query) -> Report:
        """Return the report of a query."""
        selection = Selection(query)
        for number, definition in enumerate(self._view.definitions(), 1):
            if selection.is_in_namespace(definition):
                selection.add(definition, self._view.standing(definition))
            if number % PIECE == 0:
                await trio.lowlevel.checkpoint()
        paging, shown = selection.page()
        rows: list[Row] = []
        for definition in shown:
            await trio.lowlevel.checkpoint()
            rows.append(self._row(definition))
        queue = self._view.queue
        return Report(
            generated_at=_text(self._process.clock()),
            replica=self._replica(),
            backend=self._backend(),
            queue=Queue(
                waiting=queue.waiting,
                in_progress=queue.in_progress,
                longest_running_seconds=round(queue.longest, 3),
            ),
            counts=selection.counts,
            paging=paging,
            definitions=tuple(rows),
        )

    def _replica(self) -> Replica:
        process = self._process
        role = "leader" if process.is_leader() else "standby"
        return Replica(
            identity=process.identity, version=process.version, role=role, unwatched=tuple(self._view.unwatched)
        )

    def _backend(self) -> Backend:
        login, reads = self._process.login(), self._process.is_leader()
        store = self._view.store
        token = None if login is None else Token(valid=login.valid, expires_at=self._time(login.expires_at))
        return Backend(
            kind=self._process.backend,
            up=not store.error if reads else None,
            since=self._time(store.since) if reads else None,
            message=store.error,
            token=token,
        )

    def _row(self, definition: SecretDefinition) -> Row:
        standing, status = self._view.standing(definition), self._view.status(definition)
        ready = status.ready
        namespace, name = definition.key
        sources = _sources(definition, status)
        return Row(
            namespace=namespace,
            name=name,
            state=standing.state,
            reason=cut(ready.reason, MAX_PATH) if ready else "",
            message=cut(ready.message, MAX_MESSAGE) if ready else "",
            since=(cut(ready.last_transition_time, MAX_PATH) or None) if ready else None,
            warning=cut(_warning(standing, status), MAX_MESSAGE),
            secret_name=cut(definition.spec.name or status.secret_name, MAX_PATH),
            sources=tuple(map(_shown, sources[:MAX_SOURCES])),
            more_sources=max(0, len(sources) - MAX_SOURCES),
            last_in_sync=self._time(self._view.last_in_sync(definition)),
            last_sync_time=cut(status.last_sync_time, MAX_PATH) or None,
        )

    def _time(self, at: float) -> str | None:
        """Convert a time of Trio's clock; None for an infinite one."""
        if isinf(at):
            return None
        return _text(self._process.clock() + timedelta(seconds=at - trio.current_time()))


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _warning(standing: Standing, status: Status) -> str:
    restart = [each.message for each in status.conditions if (each.type, each.status) == (ROLLOUT_RESTART, "False")]
    warned = [standing.message] if standing.state is State.IN_SYNC and standing.message else []
    return "; ".join([*warned, *restart])


def _sources(definition: SecretDefinition, status: Status) -> list[tuple[str, int | str | None]]:
    """Return path and version of the sources that are wanted; of those of the Secret if the spec can't be read."""
    made_from = {source.path: source.version for source in status.sources}
    if not definition.sources:
        return [*made_from.items()]
    wanted = sorted(definition.sources, key=str)
    return [(each.path, each.version if each.version is not None else made_from.get(each.path)) for each in wanted]


def _shown(source: tuple[str, int | str | None]) -> SourceShown:
    path, version = source
    return SourceShown(
        path=cut(path, MAX_PATH), version=cut(version, MAX_PATH) if isinstance(version, str) else version
    )
