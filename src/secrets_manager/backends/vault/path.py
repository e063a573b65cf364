"""Parse and validate a path in Vault. Path policies, listings and reads use the same segments.

Authors of definitions choose the path, and the controller reads it with its own token. So a path is validated before a
request is built: nothing in it may be normalized, decoded or cut by httpx, a proxy or Vault.
"""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from secrets_manager.backends.base import SourceMalformed, quoted

MAX_LENGTH = 2048

RESERVED = frozenset({"auth", "cubbyhole", "identity", "sys"})
"""Mounts of Vault itself, without users' secrets. auth/token/lookup-self even returns the token."""

DATA = "data"
"""The segment between the mount and the path of a secret in KV version 2."""


class KvV2Path(NamedTuple):
    """A path in KV version 2: the mount and the path below it, without data/ between them."""

    mount: tuple[str, ...]
    below: tuple[str, ...]


class VaultPath(msgspec.Struct, frozen=True):
    """A valid path of at least one segment."""

    segments: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join(self.segments)

    @property
    def url(self) -> str:
        """The percent-encoded path, which follows /v1/ in a URL."""
        return encode(self.segments)

    @property
    def kv_v2(self) -> KvV2Path | None:
        """The path in KV version 2, whose mount ends before the first data/; None without data/."""
        if DATA not in self.segments[1:]:
            return None
        at = self.segments.index(DATA, 1)
        return KvV2Path(self.segments[:at], self.segments[at + 1 :])


@lru_cache(maxsize=1024)  # a path is parsed at each poll, listing and reconcile
def parse_path(path: str) -> VaultPath:
    """Parse a definition's path. One slash at either end is dropped, as in the Go original.

    Raises:
        SourceMalformed: the path is not valid; the message says why.
    """
    trimmed = path.removeprefix("/").removesuffix("/")
    segments = tuple(trimmed.split("/"))
    flaw = _flaw(trimmed, segments)
    if flaw:
        raise SourceMalformed(f"path {quoted(path)} {flaw}")
    return VaultPath(segments)


@lru_cache(maxsize=1024)
def encode(segments: tuple[str, ...]) -> str:
    """Percent-encode the segments and join them."""
    return "/".join(quote(segment, safe="") for segment in segments)


def _flaw(path: str, segments: tuple[str, ...]) -> str:
    flaws = {
        "is empty: write the full path, such as secret/data/app": not path,
        f"is longer than {MAX_LENGTH} characters": len(path) > MAX_LENGTH,
        "holds an invisible character: write it again": not path.isprintable(),
        "holds one of ? # \\, which are not allowed in a path": any(each in path for each in "?#\\"),
        "has two slashes in a row, or more than one at an end: leave the others out": "" in segments,
        "has a segment . or ..: write the path without them": "." in segments or ".." in segments,
        f"is under {segments[0]}/, which belongs to Vault itself: correct the path": segments[0] in RESERVED,
    }
    return next((flaw for flaw, found in flaws.items() if found), "")
