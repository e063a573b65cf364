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
from typing import NamedTuple, Protocol

import msgspec
import trio

from secrets_manager.errors import SecretsManagerError


class Source(msgspec.Struct, frozen=True):
    """What one read addresses: a path as the user wrote it, and a version or None for the newest.

    No tuple, for it stands in one queue with keys of objects, which are, and must never be equal to one of them.
    """

    path: str
    version: str | None = None

    def __str__(self) -> str:
        return self.path if self.version is None else f"{self.path} (version {self.version})"


class Place(NamedTuple):
    """Where a listing shows a source: in which folder, and under which name there."""

    folder: str
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


class BackendError(SecretsManagerError):
    """A read of the secret store did not bring a document."""


class Unavailable(BackendError):
    """The store as a whole can't be used now; every other read would fail as well. A retry can help.

    `retry_after` is in seconds, where the store gave one.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


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
    """There is nothing at this source. It helps to write it, or to mend the path."""


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

    def place(self, source: Source) -> Place | None:
        """Where a listing would tell of this source; None where no listing can."""
        ...

    async def markers(self, folder: str) -> Mapping[str, str]:
        """The marker of all that is in one folder now, by name. What is not in it can't be read at this moment.

        Raises: NotListable; and Unavailable where a retry can help.
        """
        ...

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what keeps the store usable (a valid token) until cancelled; started at once, also when it is down."""
        ...
