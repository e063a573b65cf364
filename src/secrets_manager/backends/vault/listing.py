"""The versions of all secrets of a folder in one answer, for what a handful of reads would cost.

OpenBao lists them at `<mount>/detailed-metadata/<folder>`, in pages. HashiCorp Vault has no such endpoint, and a policy
may grant reads alone: then the folder's secrets are read one by one.

Each secret has a marker, which tells in which state its newest version is:

    live         that of its Document
    deleted      also one whose deletion_time, which may be set long before, has passed; it can be undeleted
    destroyed    for good
    unwritten    there is metadata, and no version
    unclear      what is told of it can't be understood; the marker differs when that does

A name that the page has in `keys` alone is a folder, or was deleted with all its versions while the page was made.
"""

import hashlib
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

import msgspec

from secrets_manager.backends.base import BackendError, NotListable
from secrets_manager.backends.vault import marker
from secrets_manager.backends.vault.engine import is_time
from secrets_manager.backends.vault.path import VaultPath, shown, url_of
from secrets_manager.backends.vault.replies import NOT_FOUND, OK, REFUSALS, Reply, decode, trouble

LIMIT = 1500
"""Secrets in one page: some 600 kB, which a server makes in 40 ms."""

LONGEST = 100_000
"""Secrets of one folder. To list more takes longer than it can be worth."""


T = TypeVar("T")


class Page(NamedTuple):
    """The markers by name, how many names there are, and where the next page begins; empty on the last one."""

    markers: dict[str, str]
    names: int
    after: str


class _Version(msgspec.Struct, frozen=True):
    created_time: str
    deletion_time: str = ""
    destroyed: bool = False


class _Secret(msgspec.Struct, frozen=True):
    """A folder within the folder has none of this."""

    current_version: int = 0
    versions: dict[str, _Version] = {}


class _Listing(msgspec.Struct, Generic[T], frozen=True):
    keys: list[str]
    key_info: dict[str, T]


class _Listed(msgspec.Struct, Generic[T], frozen=True):
    data: _Listing[T]


def listing_url(folder: VaultPath) -> str:
    """The path in a URL for a folder such as secret/data/shop. Raises: NotListable."""
    parts = folder.versioned
    if parts is None:
        raise NotListable(f"folder {shown(str(folder))} is not in KV version 2")
    return url_of((*parts.mount, "detailed-metadata", *parts.below)) + "/"


def listing_query(after: str) -> dict[str, str]:
    """What to ask for, by GET: not every proxy knows Vault's own method LIST."""
    query = {"list": "true", "limit": str(LIMIT)}
    return query | {"after": after} if after else query


def page_of(reply: Reply, folder: VaultPath, *, after: str = "", now: datetime) -> Page:
    """Read one page, which begins after this name. Raises: NotListable, Unavailable."""
    if reply.status == NOT_FOUND and after:  # the page before was full, and the last one
        return Page({}, 0, "")
    if reply.status != OK:
        raise _refusal(reply, folder)
    listed = decode(reply.body, _Listed[_Secret]) or decode(reply.body, _Listed[msgspec.Raw])
    if listed is None:
        raise NotListable(f"folder {shown(str(folder))}: Vault's answer is no listing")
    keys, entries = listed.data.keys, listed.data.key_info
    markers = {name: _marker(entry, now) for name, entry in entries.items() if not name.endswith("/")}
    if len(keys) < LIMIT:
        return Page(markers, len(keys), "")
    if keys[-1] <= after:
        raise NotListable(f"folder {shown(str(folder))}: the pages of its listing do not go on")
    return Page(markers, len(keys), keys[-1])


def _refusal(reply: Reply, folder: VaultPath) -> BackendError:
    """A 404 may mean an empty folder, or no such endpoint: either way nothing is known of the secrets there."""
    if reply.status in REFUSALS:
        return NotListable(f"folder {shown(str(folder))} can't be listed ({reply.status})")
    return trouble(reply)


def _marker(entry: _Secret | msgspec.Raw, now: datetime) -> str:
    """All entries are decoded at once, and one by one only where that failed for some."""
    if isinstance(entry, _Secret):
        secret = entry
    elif (decoded := decode(entry, _Secret)) is not None:
        secret = decoded
    else:
        return _unclear(entry)
    return _state(secret, now) or _unclear(msgspec.json.encode(secret))


def _unclear(told: bytes) -> str:
    return f"unclear {hashlib.blake2b(told, digest_size=16).hexdigest()}"


def _state(secret: _Secret, now: datetime) -> str | None:
    """None for what can't be understood."""
    version = secret.versions.get(str(secret.current_version))
    if version is None:
        return "unwritten" if secret.current_version == 0 and not secret.versions else None
    newest = (secret.current_version, version.created_time)
    if version.destroyed:
        return marker.destroyed(*newest)
    if not version.deletion_time:
        return marker.live(*newest)
    end = _moment(version.deletion_time)
    if end is None:
        return None
    return marker.deleted(*newest) if end <= now else marker.live(*newest)


def _moment(time: str) -> datetime | None:
    """None for what has another form than Vault's, so one without a zone, and for a day that there is not."""
    try:
        return datetime.fromisoformat(time) if is_time(time) else None
    except ValueError:
        return None


def utc_now() -> datetime:
    return datetime.now(UTC)
