"""What every secret store offers to the controller, and the errors that it raises.

BackendError              a read failed; the message says where, never what was read
├── Unavailable           5xx and other failures of the store as a whole; a retry can help
│   ├── Unreachable       no connection, or it broke
│   ├── TimedOut          no complete response in time
│   ├── TlsFailed         the TLS handshake failed
│   ├── RateLimited       too many requests
│   ├── LoginRefused      the credentials are not accepted
│   └── others of each store
├── SourceNotFound        no such path
│   ├── VersionDeleted    it can be undeleted
│   └── VersionDestroyed  it is gone for good
├── SourceForbidden       logged in, but not allowed to read this path
├── SourceMalformed       the response is not a secret, or the path is not valid
│   └── SourceTooLarge    the response is larger than any secret
└── NotListable           the folder can't be listed: its sources are read one by one

The names of the classes are values of a metric label. The controller distinguishes those directly below BackendError.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

import msgspec
import trio

from secrets_manager.errors import SecretsManagerError


class Source(msgspec.Struct, frozen=True):
    """What a read addresses: a path as the user wrote it, and a version or None for the newest.

    `identity` names the login that it is read with: a path may be allowed to one and forbidden to another.
    """

    path: str
    version: str | None = None
    identity: str = ""

    def __str__(self) -> str:
        return self.path if self.version is None else f"{self.path} (version {self.version})"


class Folder(msgspec.Struct, frozen=True):
    """What a listing addresses, and the identity that it is listed with."""

    path: str
    identity: str = ""


class Place(NamedTuple):
    """Where a listing shows a source: the folder, and the name in it."""

    folder: Folder
    name: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a source at one moment.

    Attributes:
        values: The text of each key. A value that is not a string is its JSON text, null is None.
        marker: Differs whenever the content does.
        version: The store's name for the version; None if it has none.
        listed: The marker in listings, if they show less than reads; empty if it is the same.
        keyless: There is one value, under the empty key, and any key means it.
        changed: When this version was written or last changed, as RFC 3339; empty if the store does not say.
    """

    values: Mapping[str, str | None]
    marker: str
    version: int | str | None = None
    listed: str = ""
    keyless: bool = False
    changed: str = ""

    def key(self, wanted: str) -> str:
        """Return the key in `values` for a key of a definition."""
        return "" if self.keyless else wanted

    def __repr__(self) -> str:
        return f"Document(version={self.version}, {len(self.values)} values)"


def text_of(value: msgspec.Raw) -> str | None:
    """Return a JSON value as a Document has it: a string as its text, null as None, others as they are written.

    So 1.10 stays 1.10: numbers don't pass through a float.

    Raises:
        msgspec.DecodeError: it is not JSON. The message may quote the value.
        UnicodeDecodeError: it is not UTF-8. It contains the value.
    """
    raw = bytes(value)
    if raw.startswith(b'"'):
        return msgspec.json.decode(raw, type=str)
    return None if raw == b"null" else raw.decode()


def quoted(text: str) -> str:
    """Quote a path, or another text of a user, for a message: bounded, and printable on one line."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


MAX_QUOTED = 200
"""Characters."""
UNKNOWN_PROBLEM = "the secret store can't be used now"
"""The public message of a failure without a message about the store as a whole."""


class BackendError(SecretsManagerError):
    """A read or a listing failed."""


class Unavailable(BackendError):
    """The store as a whole can't be used now: other reads would fail as well. A retry can help.

    The message is about the failed request, and may contain its path and the server's messages. `store` is about the
    store alone, so all may see it; it is empty if nothing is known about the store. `retry_after` is in seconds, if the
    store sent one.
    """

    def __init__(self, message: str, *, store: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.store = store
        self.retry_after = retry_after

    @classmethod
    def of_store(cls, text: str, *, retry_after: float | None = None) -> Self:
        """Create a failure whose message is about the store alone."""
        return cls(text, store=text, retry_after=retry_after)

    def for_others(self) -> Self:
        """Return the failure as other requests may see it, without the details of this one."""
        return type(self).of_store(self.store or UNKNOWN_PROBLEM, retry_after=self.retry_after)

    def copy(self) -> Self:
        """Return a copy, to raise it once more for the same request."""
        return type(self)(str(self), store=self.store, retry_after=self.retry_after)


class Unreachable(Unavailable):
    """There was no connection, or it broke before the response was complete."""


class TimedOut(Unavailable):
    """There was no complete response in time."""


class TlsFailed(Unavailable):
    """A certificate is not trusted, or the handshake failed otherwise."""


class RateLimited(Unavailable):
    """There were too many requests."""


class LoginRefused(Unavailable):
    """The store does not accept the credentials, or they can't be read. It helps to correct them."""


class SourceNotFound(BackendError):
    """There is nothing at this source. It helps to write it, or to correct the path.

    `listed` is the marker in listings; None if there is none.
    """

    def __init__(self, message: str, *, listed: str | None = None) -> None:
        super().__init__(message)
        self.listed = listed


class VersionDeleted(SourceNotFound):
    """The version at this source was deleted. It helps to undelete it, or to write a new one."""


class VersionDestroyed(SourceNotFound):
    """The version at this source was destroyed. It helps to write a new one, or to name another."""


class SourceForbidden(BackendError):
    """A policy forbids this source. It helps to allow it."""


class SourceMalformed(BackendError):
    """This source can't be read as keys and values. It helps to correct the path, or the setting of the engine."""


class SourceTooLarge(SourceMalformed):
    """The response is larger than any secret."""


class Login(NamedTuple):
    """The login that is in use. `expires_at` is by Trio's clock; infinite if it does not expire."""

    valid: bool
    expires_at: float


class NotListable(BackendError):
    """This folder can't be listed, is forbidden or is empty."""


class Reader(Protocol):
    """The part of a secret store that reads."""

    async def read(self, source: Source) -> Document:
        """Read a source once.

        Raises:
            BackendError: the read failed. Nothing else is raised.
        """
        ...


class Backend(Reader, Protocol):
    """A secret store. One instance serves the whole process."""

    def segments(self, path: str) -> tuple[str, ...]:
        """Split a path. Path policies, listings and reads use the same segments.

        Raises:
            SourceMalformed: the path is not valid. A read makes no request for it.
        """
        ...

    def place(self, source: Source) -> Place | None:
        """Return where listings show this source; None if none does, or if the path is not valid."""
        ...

    async def markers(self, folder: Folder) -> Mapping[str, str]:
        """List a folder. Return the marker of each secret by name; other names don't exist.

        A secret that can be read has the marker of its Document. If its newest version was deleted, destroyed or never
        written, it has a marker that changes with that state.

        Raises:
            NotListable: the folder can't be listed.
            Unavailable: a retry can help.
        """
        ...

    @property
    def login(self) -> Login | None:
        """The login in use; None if the store's library keeps it to itself."""
        ...

    def forget(self, path: str) -> None:
        """Remove the metrics of a path that no definition uses any more. The path may be unknown."""
        ...

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the store usable (a valid token) until cancelled. Started at once, even if the store is down."""
        ...
