"""What every secret store offers to the controller, and how its failures are told.

BackendError              where it failed is in the text, never what was read
├── Unavailable           5xx and whatever else a retry can help
│   ├── Unreachable       no connection, or one that broke off
│   ├── TimedOut          no answer in time
│   ├── TlsFailed         one of the two does not trust the other
│   ├── RateLimited       asked too often
│   ├── LoginRefused      the credentials are not taken
│   └── more of each store's own
├── SourceNotFound        no such path
│   ├── VersionDeleted    it can be undeleted
│   └── VersionDestroyed  it is gone for good
├── SourceForbidden       logged in, but not allowed to read this path
├── SourceMalformed       an answer that is not a secret, or a path that can't be one
│   └── SourceTooLarge    an answer longer than any secret can be
└── NotListable           this folder can't be listed: its sources are read one by one

Metrics count by the names of the classes; the controller tells apart those that stand directly below BackendError.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

import msgspec
import trio

from secrets_manager.errors import SecretsManagerError


class Source(msgspec.Struct, frozen=True):
    """What one read addresses: a path as the user wrote it, and a version or None for the newest.

    `identity` names the login that it is read with: the same path may be allowed to one and forbidden to another.
    """

    path: str
    version: str | None = None
    identity: str = ""

    def __str__(self) -> str:
        return self.path if self.version is None else f"{self.path} (version {self.version})"


class Folder(msgspec.Struct, frozen=True):
    """What one listing shows, to one identity."""

    path: str
    identity: str = ""


class Place(NamedTuple):
    """Where a listing shows a source: in which folder, and under which name there."""

    folder: Folder
    name: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All that stood at one source at one moment.

    `values` maps each key to its text; a value that is not a string to its JSON text; null to None.
    `version` is what the store calls it, None where it has none. `marker` differs whenever the content does. `listed`
    is the marker that a listing shows for it, where listings tell less than reads; empty where it is the same. Where it
    is `keyless` there is one value, under the empty key, and any key means it.
    """

    values: Mapping[str, str | None]
    marker: str
    version: int | str | None = None
    listed: str = ""
    keyless: bool = False

    def key(self, wanted: str) -> str:
        """The key under which `values` has what a definition asks for."""
        return "" if self.keyless else wanted

    def __repr__(self) -> str:
        return f"Document(version={self.version}, {len(self.values)} values)"


def text_of(value: msgspec.Raw) -> str | None:
    """A piece of JSON as a Document has it: a string as its text, null as None, anything else as it was written.

    So 5432 stays 5432 and 1.10 stays 1.10: a number that goes through a float may come out as another one.
    Raises: msgspec.DecodeError or UnicodeDecodeError, which may quote the value.
    """
    raw = bytes(value)
    if raw.startswith(b'"'):
        return msgspec.json.decode(raw, type=str)
    return None if raw == b"null" else raw.decode()


SOMEHOW = "the secret store can't be used now"
"""What others are told of a failure that has no text about the store as a whole."""


class BackendError(SecretsManagerError):
    """A read of the secret store did not bring a document."""


class Unavailable(BackendError):
    """The store as a whole can't be used now; every other read would fail as well. A retry can help.

    The message speaks of the request that failed, and may hold its path and the server's own words. `store` speaks of
    the store alone, so it may be shown to everybody; it is empty where nothing is known of the whole. `retry_after` is
    in seconds, where the store gave one.
    """

    def __init__(self, message: str, *, store: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.store = store
        self.retry_after = retry_after

    @classmethod
    def of_store(cls, text: str, *, retry_after: float | None = None) -> Self:
        """A failure whose text speaks of the store alone."""
        return cls(text, store=text, retry_after=retry_after)

    def for_others(self) -> Self:
        """The same failure, as those may know it who did not make the request."""
        return type(self).of_store(self.store or SOMEHOW, retry_after=self.retry_after)

    def again(self) -> Self:
        """The same failure, to be raised once more for the same request."""
        return type(self)(str(self), store=self.store, retry_after=self.retry_after)


class Unreachable(Unavailable):
    """No connection came about, or it broke off before the answer was whole."""


class TimedOut(Unavailable):
    """There was a connection, or an attempt at one, and no whole answer in time."""


class TlsFailed(Unavailable):
    """The store's certificate is not trusted, or ours is not, or it speaks no TLS."""


class RateLimited(Unavailable):
    """The store wants fewer requests."""


class LoginRefused(Unavailable):
    """The store is up and does not take the credentials, or they can't be had. It helps to mend them."""


class SourceNotFound(BackendError):
    """There is nothing at this source. It helps to write it, or to mend the path.

    `listed` is the marker that a listing shows for it; None where it shows none.
    """

    def __init__(self, message: str, *, listed: str | None = None) -> None:
        super().__init__(message)
        self.listed = listed


class VersionDeleted(SourceNotFound):
    """The version at this source was deleted. It helps to undelete it, or to write a new one."""


class VersionDestroyed(SourceNotFound):
    """The version at this source is gone for good. It helps to write a new one, or to name another."""


class SourceForbidden(BackendError):
    """The policy forbids this source. It helps to grant it."""


class SourceMalformed(BackendError):
    """This source can't be read as keys and values. It helps to mend the path or the engine's setting."""


class SourceTooLarge(SourceMalformed):
    """More came than any secret can be; the rest of it was not read."""


class NotListable(BackendError):
    """The store can't list this folder, or won't, or there is nothing in it."""


class Reader(Protocol):
    """A secret store, to whoever only reads."""

    async def read(self, source: Source) -> Document:
        """Read one source, once, now.

        Raises: BackendError, and nothing else.
        """
        ...


class Backend(Reader, Protocol):
    """A secret store. One instance serves the whole process."""

    def segments(self, path: str) -> tuple[str, ...]:
        """A path taken apart: policies, listings and reads see the same parts.

        Raises: SourceMalformed for what can't be a path here; no request is made for that.
        """
        ...

    def place(self, source: Source) -> Place | None:
        """Where a listing would tell of this source. None where no listing can, and for what can't be a path."""
        ...

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """The marker of each secret in one folder now, by name. A name that is not in it: there is no such secret.

        A secret that can be read has the marker of its Document. One that can't, because its newest version was deleted
        or destroyed or never written, has a marker of that state: it changes when the state does.

        Raises: NotListable; and Unavailable where a retry can help.
        """
        ...

    def forget(self, path: str) -> None:
        """Drop what is kept of a path that no definition uses any more; it may be one that is not known."""
        ...

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what keeps the store usable (a valid token) until cancelled; started at once, also when it is down."""
        ...
