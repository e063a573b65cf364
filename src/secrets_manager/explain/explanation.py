"""What is explained of a definition. It has names, lengths, versions and times, and no value."""

from enum import StrEnum

import msgspec

from secrets_manager.kube.objects import ObjectKey


class Action(StrEnum):
    """What would happen to the Secret."""

    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    """It is deleted and created again, as its type changes or it is immutable."""
    DELETE = "delete"
    NONE = "none"
    UNKNOWN = "unknown"


class Change(StrEnum):
    """What would happen to a key."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    SAME = "same"
    UNKNOWN = "unknown"
    """There is a value, but no decision about the Secret."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The form of the JSON."""


class Key(Part, frozen=True, kw_only=True):
    """A key of the Secret. Lengths are in bytes: the new one, and that in the cluster."""

    name: str
    change: Change
    length: int | None = None
    before: int | None = None


class Release(Part, frozen=True, kw_only=True):
    """Keys that would leave a Secret of others, since the definition merges into it no more."""

    secret: str
    keys: tuple[str, ...]


class SourceRead(Part, frozen=True, kw_only=True):
    """A source as it was read, or why it could not be."""

    path: str
    version: int | str | None = None
    changed: str = ""
    problem: str = ""


class Finding(Part, frozen=True, kw_only=True):
    """A problem. The message names the next step."""

    reason: str
    message: str


class Owner(Part, frozen=True, kw_only=True):
    """Who owns a Secret, and why the definition may write it: owned, legacy, adopted, or none."""

    name: str
    claim: str


class Reported(Part, frozen=True, kw_only=True):
    """The condition Ready. `current` is false if the controller has not seen the last edit."""

    ready: str
    reason: str
    message: str
    since: str
    current: bool


class Explanation(Part, frozen=True, kw_only=True):
    """What the controller would do with a definition.

    Attributes:
        location: Where the definition was found, if not in the cluster.
        identity: The store, and the login to it.
        period: Seconds between two polls of the sources, if they are polled, and the setting that says so.
        secret: The name of the Secret.
        owner: Its owner, if it exists and could be read.
        fields: The other fields of the Secret that would change.
        deletes: Secrets under earlier names that would be deleted.
        releases: Keys that would leave Secrets of others.
        restarts: The workloads that would be restarted, unless the change undoes a foreign one.
        problem: What the controller would report, or why this is unknown.
        problems: The problem of each key, if the keys have problems.
        notes: What else is to know.
    """

    namespace: str
    name: str
    location: str = ""
    action: Action
    secret: str = ""
    owner: Owner | None = None
    keys: tuple[Key, ...] = ()
    fields: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    releases: tuple[Release, ...] = ()
    restarts: tuple[str, ...] = ()
    identity: str = ""
    period: float | None = None
    period_from: str = ""
    sources: tuple[SourceRead, ...] = ()
    reported: Reported | None = None
    problem: Finding | None = None
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether a Secret would be written or deleted."""
        return self.action not in (Action.NONE, Action.UNKNOWN) or bool(self.deletes or self.releases)


def unknown(key: ObjectKey, reason: str, message: str) -> Explanation:
    """Explain that there is no definition to explain."""
    return Explanation(
        namespace=key.namespace,
        name=key.name,
        action=Action.UNKNOWN,
        problem=Finding(reason=reason, message=message),
    )
