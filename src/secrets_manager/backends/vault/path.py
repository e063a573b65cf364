"""A path in Vault, parsed once: policies, listings and reads all use the same segments.

Anybody who may write a definition chooses the path, and the controller reads it with a token of its own. So a path is
judged before a request is built: neither httpx nor Vault nor a proxy between them gets something to fold, decode or
cut. What passes names the same place for all of them.
"""

from typing import NamedTuple
from urllib.parse import quote

import msgspec

from secrets_manager.backends.base import SourceMalformed

MAX_LENGTH = 2048
SHOWN = 200

RESERVED = frozenset({"auth", "cubbyhole", "identity", "sys"})
"""Mounts that every Vault has and that hold no user's secrets; auth/token/lookup-self even tells the token itself."""

DATA = "data"
"""What KV version 2 has between the mount and the path of a secret."""


class Versioned(NamedTuple):
    """A path of KV version 2, without the data/ between its parts."""

    mount: tuple[str, ...]
    below: tuple[str, ...]


class VaultPath(msgspec.Struct, frozen=True):
    """What parse_path() returns: one segment at least, and each of them names itself alone."""

    segments: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join(self.segments)

    @property
    def url(self) -> str:
        """The path as it stands in a URL after /v1/."""
        return url_of(self.segments)

    @property
    def versioned(self) -> Versioned | None:
        """Its parts in KV version 2, whose mount is what stands before the first data/; None where there is none."""
        if DATA not in self.segments[1:]:
            return None
        at = self.segments.index(DATA, 1)
        return Versioned(self.segments[:at], self.segments[at + 1 :])


def parse_path(path: str) -> VaultPath:
    """Take a path apart, as a definition has it. One slash at either end is dropped, as the Go original's client did.

    Raises: SourceMalformed, with the path and what to mend.
    """
    trimmed = path.removeprefix("/").removesuffix("/")
    segments = tuple(trimmed.split("/"))
    flaw = _flaw(trimmed, segments)
    if flaw:
        raise SourceMalformed(f"path {shown(path)} {flaw}")
    return VaultPath(segments)


def url_of(segments: tuple[str, ...]) -> str:
    """Percent-encode every segment, a literal % too."""
    return "/".join(quote(segment, safe="") for segment in segments)


def shown(path: str) -> str:
    """The path for a message: in quotes, bounded, and nothing in it that could break a line of a log."""
    return repr(path if len(path) <= SHOWN else f"{path[:SHOWN]}...")


def _flaw(path: str, segments: tuple[str, ...]) -> str:
    flaws = {
        "is empty: write the full path, such as secret/data/app": not path,
        f"is longer than {MAX_LENGTH} characters": len(path) > MAX_LENGTH,
        "holds an invisible character: write it anew": not path.isprintable(),
        "holds one of ? # \\, which can't stand in a path here": any(each in path for each in "?#\\"),
        "has two slashes in a row, or more than one at an end: leave the others out": "" in segments,
        "has a segment . or ..: write the path as it is without them": "." in segments or ".." in segments,
        f"is under {segments[0]}/, which belongs to Vault itself: correct the path": segments[0] in RESERVED,
    }
    return next((flaw for flaw, found in flaws.items() if found), "")
