"""From the path in a definition to the path in a URL, or to the reason why there is no such secret.

Anybody who may write a definition chooses the path, and the controller reads it with a token of its own. So a path is
judged before a request is built: neither httpx nor Vault nor a proxy between them gets something to fold, decode or
cut. What passes names the same place for all of them.
"""

from urllib.parse import quote

from secrets_manager.backends.base import SourceMalformed

MAX_LENGTH = 2048
SHOWN = 200

RESERVED = frozenset({"auth", "cubbyhole", "identity", "sys"})
"""Mounts that every Vault has and that hold no user's secrets; auth/token/lookup-self even tells the token itself."""


def url_path(path: str) -> str:
    """The path as it stands in a URL after /v1/, every segment percent-encoded, a literal % too.

    One slash at either end is dropped, since the Go original's client did so.

    Raises: SourceMalformed, with the path and what to mend.
    """
    trimmed = path.removeprefix("/").removesuffix("/")
    segments = trimmed.split("/")
    flaw = _flaw(trimmed, segments)
    if flaw:
        raise SourceMalformed(f"path {shown(path)} {flaw}")
    return "/".join(quote(segment, safe="") for segment in segments)


def shown(path: str) -> str:
    """The path for a message: in quotes, bounded, and nothing in it that could break a line of a log."""
    return repr(path if len(path) <= SHOWN else f"{path[:SHOWN]}...")


def with_data(path: str) -> str:
    """The same secret's path in the API of KV version 2, if the mount's name is a single segment, as most are."""
    mount, _, rest = path.removeprefix("/").partition("/")
    return f"{mount}/data/{rest}"


def _flaw(path: str, segments: list[str]) -> str:
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
