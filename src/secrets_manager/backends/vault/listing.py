"""List the versions of all secrets in a folder, at the cost of a few reads.

OpenBao lists them at `<mount>/detailed-metadata/<folder>`, in pages. HashiCorp Vault has no such endpoint, and a policy
may allow reads only: then the folder's secrets are read one by one.

Each secret has a marker of the state of its newest version:

    live         equal to that of its Document
    deleted      or its deletion_time, which may be set long before, has passed; it can be undeleted
    destroyed    for good
    unwritten    there is metadata, but no version
    unclear      the entry can't be parsed; a digest shows when it changes

A name that is only in `keys` is a folder, or was deleted with all its versions while the page was made.
"""

import hashlib
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

import msgspec

from secrets_manager.backends.base import BackendError, NotListable, quoted
from secrets_manager.backends.vault import marker
from secrets_manager.backends.vault.engine import is_time
from secrets_manager.backends.vault.path import VaultPath, encode
from secrets_manager.backends.vault.responses import NOT_FOUND, OK, REFUSALS, Response, decode, unavailable

PAGE_SIZE = 1500
"""Secrets in one page: about 600 kB, which a server produces in 40 ms."""

MAX_SECRETS = 100_000
"""Secrets in one folder. Listing more takes too long to be useful."""


T = TypeVar("T")


class Page(NamedTuple):
    """A page of a listing: markers by name, the number of names, and the `after` of the next page, if any."""

    markers: dict[str, str]
    names: int
    after: str


class _Version(msgspec.Struct, frozen=True):
    created_time: str
    deletion_time: str = ""
    destroyed: bool = False


class _Secret(msgspec.Struct, frozen=True):
    """An entry of `key_info`. Those of folders are empty."""

    current_version: int = 0
    versions: dict[str, _Version] = {}


class _Listing(msgspec.Struct, Generic[T], frozen=True):
    keys: list[str]
    key_info: dict[str, T]


class _Listed(msgspec.Struct, Generic[T], frozen=True):
    data: _Listing[T]


def listing_url(folder: VaultPath) -> str:
    """Return the percent-encoded path that lists a folder such as secret/data/shop.

    Raises:
        NotListable: the folder is not in KV version 2.
    """
    parts = folder.kv_v2
    if parts is None:
        raise NotListable(f"folder {quoted(str(folder))} is not in KV version 2")
    return encode((*parts.mount, "detailed-metadata", *parts.below)) + "/"


def listing_query(after: str) -> dict[str, str]:
    """Return the query parameters for a GET: not every proxy passes Vault's method LIST."""
    query = {"list": "true", "limit": str(PAGE_SIZE)}
    return query | {"after": after} if after else query


def parse_page(response: Response, folder: VaultPath, *, after: str = "", now: datetime) -> Page:
    """Parse the page that begins after this name.

    Raises:
        NotListable: the folder can't be listed.
        Unavailable: a retry can help.
    """
    if response.status == NOT_FOUND and after:  # the page before was full, and the last one
        return Page({}, 0, "")
    if response.status != OK:
        raise _listing_error(response, folder)
    listed = decode(response.body, _Listed[_Secret]) or decode(response.body, _Listed[msgspec.Raw])
    if listed is None:
        raise NotListable(f"folder {quoted(str(folder))}: Vault's response is not a listing")
    keys, entries = listed.data.keys, listed.data.key_info
    markers = {name: _marker(entry, now) for name, entry in entries.items() if not name.endswith("/")}
    if len(keys) < PAGE_SIZE:
        return Page(markers, len(keys), "")
    if keys[-1] <= after:
        raise NotListable(f"folder {quoted(str(folder))}: the pages of its listing do not go on")
    return Page(markers, len(keys), keys[-1])


def _listing_error(response: Response, folder: VaultPath) -> BackendError:
    """A 404 may mean an empty folder or no such endpoint. Either way nothing is known of its secrets."""
    if response.status in REFUSALS:
        return NotListable(f"folder {quoted(str(folder))} can't be listed ({response.status})")
    return unavailable(response)


def _marker(entry: _Secret | msgspec.Raw, now: datetime) -> str:
    """Return the marker of an entry, which is Raw if it or another entry of its page could not be parsed."""
    if isinstance(entry, _Secret):
        secret = entry
    elif (decoded := decode(entry, _Secret)) is not None:
        secret = decoded
    else:
        return _unclear(entry)
    return _state(secret, now) or _unclear(msgspec.json.encode(secret))


def _unclear(entry: bytes) -> str:
    return f"unclear {hashlib.blake2b(entry, digest_size=16).hexdigest()}"


def _state(secret: _Secret, now: datetime) -> str | None:
    """Return the marker; None if the entry is inconsistent."""
    version = secret.versions.get(str(secret.current_version))
    if version is None:
        return "unwritten" if secret.current_version == 0 and not secret.versions else None
    newest = (secret.current_version, version.created_time)
    if version.destroyed:
        return marker.destroyed(*newest)
    if not version.deletion_time:
        return marker.live(*newest)
    end = _parse_time(version.deletion_time)
    if end is None:
        return None
    return marker.deleted(*newest) if end <= now else marker.live(*newest)


def _parse_time(time: str) -> datetime | None:
    """Parse one of Vault's timestamps; None if it is not one."""
    try:
        return datetime.fromisoformat(time) if is_time(time) else None
    except ValueError:
        return None


def utc_now() -> datetime:
    return datetime.now(UTC)
