"""A watch as a state machine: a place in the history and what of the rest concerns the watcher.

It is pulled, not pushed: `take` gives the lines that are due, and `wake`, which an adapter sets, is called when there
may be more. An object that leaves the selection is sent as DELETED, in its last state inside it, with the revision of
the change.

Bookmarks come as from the real server: each minute and shortly before the end. The adapter, which has a clock, sends
them when they are due.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import msgspec

from fake_kubernetes.documents import Json, Object, with_metadata
from fake_kubernetes.refusals import Refusal
from fake_kubernetes.selectors import Selection
from fake_kubernetes.storage import Change, Storage

Render: TypeAlias = Callable[[Object], Object]

BOOKMARK_PERIOD = 60.0
LAST_BOOKMARK = 2.0
"""Seconds before the end of the watch."""


def nothing() -> None:
    """Do nothing: the default until an adapter listens."""


class Watch:
    """A stream of changes after a revision; without one, it begins with what is there.

    Args:
        render: gives an object the form that the watcher asked for.
        bookmark: the same for bookmarks, if the watcher wants any.
        bookmark_every: how many revisions may pass without telling the watcher.
        tells_start: marks the end of what was there, for clients that list by watching.
        timeout: in seconds; the adapter, which has a clock, ends the stream then.
    """

    def __init__(
        self,
        storage: Storage,
        selection: Selection,
        *,
        render: Render,
        bookmark: Render | None = None,
        bookmark_every: int = 100,
        revision: int | None = None,
        tells_start: bool = False,
        timeout: float | None = None,
    ) -> None:
        self.timeout = timeout
        self.wake: Callable[[], None] = nothing
        self.selection = selection
        self._storage = storage
        self._render = render
        self._bookmark = bookmark
        self._bookmark_every = bookmark_every
        self._lines: list[bytes] = []
        self._ended = False
        self._revision = storage.revision if revision is None else revision
        self._told = self._revision
        if revision is None:
            for _, document in sorted(storage.objects(selection.resource).items()):
                if selection.has(document):
                    self._say("ADDED", render(document))
        if tells_start:
            self._say_bookmark(annotations={"k8s.io/initial-events-end": "true"})
        storage.listeners.add(self._on_change)

    def __repr__(self) -> str:
        return f"Watch({self.selection.resource}, revision={self._revision}, ended={self._ended})"

    @property
    def ended(self) -> bool:
        """True once nothing will follow what `take` has given."""
        return self._ended and not self._lines

    def take(self) -> bytes:
        """Return all lines that are due; empty when there are none now."""
        if not self._ended:
            self._follow()
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def bookmark_times(self) -> Iterator[float]:
        """Tell when bookmarks are due, in seconds from the start; none where the watcher wants none."""
        if self._bookmark is None:
            return
        last = math.inf if self.timeout is None else self.timeout - LAST_BOOKMARK
        due = BOOKMARK_PERIOD
        while due < last:
            yield due
            due += BOOKMARK_PERIOD
        if last >= 0:
            yield last

    def send_bookmark(self) -> None:
        """Tell the present revision, if the watcher asked for bookmarks."""
        if not self._ended:
            self._follow()
        if not self._ended:
            self._say_bookmark()
            self.wake()

    def end(self) -> None:
        """End the stream without an error, after what is due already."""
        if not self._ended:
            self._follow()
        self._ended = True
        self.wake()

    def close(self) -> None:
        """Forget the watch: it is not read any more."""
        self._ended = True
        self._lines.clear()
        self._storage.listeners.discard(self._on_change)

    def _on_change(self) -> None:
        self.wake()

    def _follow(self) -> None:
        try:
            changes = self._storage.changes_after(self._revision)
        except Refusal as refusal:
            self._say("ERROR", refusal.status)
            self._ended = True
            return
        for change in changes:
            if change.key.resource == self.selection.resource:
                self._tell(change)
            self._revision = change.revision
        if self._revision - self._told >= self._bookmark_every:
            self._say_bookmark()

    def _tell(self, change: Change) -> None:
        was = change.before is not None and self.selection.has(change.before)
        if change.after is not None and self.selection.has(change.after):
            self._say("MODIFIED" if was else "ADDED", self._render(change.after))
        elif was and change.before is not None:
            self._say("DELETED", self._render(with_metadata(change.before, resourceVersion=str(change.revision))))

    def _say_bookmark(self, **metadata: Json) -> None:
        if self._bookmark is not None:
            self._say("BOOKMARK", self._bookmark({"metadata": {"resourceVersion": str(self._revision), **metadata}}))
            self._told = self._revision

    def _say(self, type_: str, document: Json) -> None:
        self._lines.append(msgspec.json.encode({"type": type_, "object": document}) + b"\n")
