"""The report: what /status.json holds and the page shows. Data alone; times are RFC 3339."""

import msgspec

from secrets_manager.controller.standing import State


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Part of the report, in JSON's spelling. Every field is always there."""


class Replica(Shown, frozen=True):
    """The process that made the report."""

    identity: str
    version: str
    role: str
    """leader or standby."""
    unwatched: tuple[str, ...]
    """Why something is not watched, a line each."""


class Token(Shown, frozen=True):
    """The login to the backend."""

    valid: bool
    expires_at: str | None
    """None if it does not expire, or is not valid."""


class Backend(Shown, frozen=True):
    """The secret store."""

    kind: str
    up: bool | None
    """None on a standby, which does not read."""
    since: str | None
    message: str
    """Why it is down."""
    token: Token | None
    """None if the store's library keeps it to itself."""


class Queue(Shown, frozen=True):
    """The work queue."""

    waiting: int
    in_progress: int
    longest_running_seconds: float


class Counts(Shown, frozen=True):
    """Definitions that match namespace and text, by state."""

    failing: int
    pending: int
    in_sync: int

    @property
    def total(self) -> int:
        return self.failing + self.pending + self.in_sync

    def of(self, state: State) -> int:
        """Return the number of definitions in a state."""
        return {State.FAILING: self.failing, State.PENDING: self.pending, State.IN_SYNC: self.in_sync}[state]


class Paging(Shown, frozen=True):
    """Which part of the matching definitions this is."""

    number: int
    size: int
    pages: int
    matching: int


class SourceShown(Shown, frozen=True):
    """A source, and the version that the Secret was made from. A long path ends with …."""

    path: str
    version: int | str | None


class Row(Shown, frozen=True):
    """A definition."""

    namespace: str
    name: str
    state: State
    reason: str
    message: str
    since: str | None
    """When the Ready condition last changed."""
    warning: str
    """What the API server warned of, or why workloads could not be restarted."""
    secret_name: str
    sources: tuple[SourceShown, ...]
    more_sources: int
    """How many more there are."""
    last_in_sync: str | None
    """When it was last found in sync; None if not by this process."""
    last_sync_time: str | None
    """When the Secret was last written, or found equal after a change."""


class Report(Shown, frozen=True):
    """The whole."""

    generated_at: str
    replica: Replica
    backend: Backend
    queue: Queue
    counts: Counts
    paging: Paging
    definitions: tuple[Row, ...]
