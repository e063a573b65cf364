"""The versions of all secrets of a folder in one answer, for what a handful of reads would cost.

OpenBao lists them at `<mount>/detailed-metadata/<folder>`, in pages. HashiCorp Vault has no such endpoint, and a policy
may grant reads alone: then the folder's secrets are read one by one.
"""

from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from secrets_manager.backends.base import BackendError, NotListable
from secrets_manager.backends.vault.engine import marker
from secrets_manager.backends.vault.path import shown
from secrets_manager.backends.vault.replies import NOT_FOUND, OK, REFUSALS, Reply, decode, trouble

LIMIT = 1500
"""Secrets in one page: some 600 kB, which a server makes in 40 ms."""


LONGEST = 100_000
"""Secrets of one folder. To list more takes longer than it can be worth."""


class Page(NamedTuple):
    """The markers of the secrets that can be read, by name, and where the next page begins; empty on the last one."""

    markers: dict[str, str]
    after: str


class _Version(msgspec.Struct, frozen=True):
    created_time: str
    deletion_time: str = ""
    destroyed: bool = False


class _Secret(msgspec.Struct, frozen=True):
    """A folder within the folder has none of this."""

    current_version: int = 0
    versions: dict[str, _Version] = {}


class _Listing(msgspec.Struct, frozen=True):
    keys: list[str]
    key_info: dict[str, _Secret]


class _Listed(msgspec.Struct, frozen=True):
    data: _Listing


def listing_path(folder: str) -> str:
    """The path in a URL for a folder such as secret/data/shop, whose mount is what stands before the first data/."""
    mount, *segments = folder.split("/")
    at = segments.index("data")
    segments[at] = "detailed-metadata"
    return "".join(f"{quote(segment, safe='')}/" for segment in (mount, *segments))


def listing_query(after: str) -> dict[str, str]:
    """What to ask for, by GET: not every proxy knows Vault's own method LIST."""
    query = {"list": "true", "limit": str(LIMIT)}
    return query | {"after": after} if after else query


def page_of(reply: Reply, folder: str, *, after: str = "", now: datetime) -> Page:
    """Read one page, which begins after this name. Raises: NotListable, Unavailable."""
    if reply.status == NOT_FOUND and after:  # the page before was full, and the last one
        return Page({}, "")
    if reply.status != OK:
        raise _refusal(reply, folder)
    listed = decode(reply.body, _Listed)
    if listed is None:
        raise NotListable(f"folder {shown(folder)}: Vault's answer is no listing")
    keys, secrets = listed.data.keys, listed.data.key_info
    markers = {name: told for name, secret in secrets.items() if (told := _marker(secret, now)) is not None}
    return Page(markers, keys[-1] if len(keys) >= LIMIT else "")


def _refusal(reply: Reply, folder: str) -> BackendError:
    """A 404 may mean an empty folder, or no such endpoint: either way nothing is known of the secrets there."""
    if reply.status in REFUSALS:
        return NotListable(f"folder {shown(folder)} can't be listed ({reply.status})")
    return trouble(reply)


def _marker(secret: _Secret, now: datetime) -> str | None:
    """That of the newest version, unless it is deleted or destroyed by now."""
    version = secret.versions.get(str(secret.current_version))
    if version is None or version.destroyed or _has_passed(version.deletion_time, now):
        return None
    return marker(secret.current_version, version.created_time)


def _has_passed(time: str, now: datetime) -> bool:
    """A secret may be written with the time of its deletion."""
    try:
        return bool(time) and datetime.fromisoformat(time) <= now
    except ValueError:
        return True


def utc_now() -> datetime:
    return datetime.now(UTC)
