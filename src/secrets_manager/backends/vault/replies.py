"""What Vault answered, and what its refusals mean for whoever reads the condition of a definition.

A text here names the path and the next step. Of the reply it repeats nothing but Vault's own `errors`, and these only
from statuses that come in place of a secret, never with one: bounded, on one line, with nothing unprintable.
"""

from collections.abc import Collection
from typing import TypeVar

import msgspec

from secrets_manager.backends.base import (
    BackendError,
    RateLimited,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    Unavailable,
    VersionDeleted,
    VersionDestroyed,
)
from secrets_manager.backends.vault import marker
from secrets_manager.backends.vault.path import DATA, parse_path, shown

OK = 200
FORBIDDEN = 403
NOT_FOUND = 404
REFUSALS = frozenset({400, 403, 404, 405})
"""What Vault says to a login, or about a token, that it won't have: asking again brings the same."""
TROUBLES = frozenset({429, *range(500, 600)})
"""With these Vault's words say more than the status."""
WORDS = 200
STRANGER = "not Vault answered, but something else (404): does vault.url name a Vault?"

T = TypeVar("T")


class Sealed(Unavailable):
    """Vault's storage is locked, or no node of the cluster leads. It helps to unseal it."""


class Standby(Unavailable):
    """This node does not serve requests, and the active one was not found."""


class Reply(msgspec.Struct, frozen=True):
    """One answer of Vault, whole. Its repr tells nothing of the body.

    `retry_after` is in seconds, `location` where a redirect leads to.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    location: str = ""

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


class _Metadata(msgspec.Struct, frozen=True):
    version: int
    destroyed: bool
    created_time: str = ""


class _GoneVersion(msgspec.Struct, frozen=True):
    metadata: _Metadata


class _Gone(msgspec.Struct, frozen=True):
    """The 404 of KV version 2 for a version that was, and is no more."""

    data: _GoneVersion


class _Refusal(msgspec.Struct, frozen=True):
    errors: tuple[str, ...] | None = None
    warnings: tuple[str, ...] | None = None


def decode(body: bytes, shape: type[T]) -> T | None:
    """The body in the given shape, or None for what has another one.

    msgspec may name what it could not read, and Python's UnicodeDecodeError carries all of it: neither gets out.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def censored(reply: Reply, secrets: Collection[str]) -> Reply:
    """The reply, without a body if Vault's words in it repeat one of the secrets that it was sent."""
    refusal = decode(reply.body, _Refusal)
    told = [error for error in (refusal and refusal.errors) or () for secret in secrets if secret and secret in error]
    return msgspec.structs.replace(reply, body=b"{}") if told else reply


def words(reply: Reply) -> str:
    """Vault's own words of a refusal, in brackets after a space, or nothing."""
    refusal = decode(reply.body, _Refusal)
    text = " ".join("; ".join((refusal and refusal.errors) or ()).split())
    if not text:
        return ""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return f" ({printable[:WORDS]})"


def forbidden_by_policy(reply: Reply) -> bool:
    """Whether a 403 is of a live token, as far as Vault's words tell: it lists errors of policies, not of tokens.

    Newer ones of HashiCorp list those of tokens, too, but call them by their name.
    """
    refusal = decode(reply.body, _Refusal)
    errors = (refusal and refusal.errors) or ()
    return any("error occurred" in error and "invalid token" not in error for error in errors)


def read_failure(reply: Reply, source: Source) -> BackendError:
    """What a reply to a read means that is not a 200."""
    where = f"path {shown(source.path)}"
    match reply.status:
        case 400:
            return SourceMalformed(f"{where} was refused by Vault as malformed{words(reply)}: correct the path")
        case 403:
            return SourceForbidden(
                f"{where} is forbidden by Vault's policies: allow reading it to the controller's role"
            )
        case 404:
            return _not_found(reply, source)
        case 405:
            return SourceMalformed(f"{where} is no secret, Vault can't read it{words(reply)}: correct the path")
        case 413 | 414 | 431:
            return SourceMalformed(f"{where} is too long for Vault: correct the path")
        case _:
            return trouble(reply)


def trouble(reply: Reply) -> Unavailable:
    """What a reply means that says nothing of what was asked for, only that Vault can't answer now."""
    kind, complaint = _complaint(reply.status)
    told = words(reply) if reply.status in TROUBLES else ""
    return kind(f"Vault {complaint}{told}", store=f"Vault {complaint}", retry_after=reply.retry_after)


def _complaint(status: int) -> tuple[type[Unavailable], str]:
    match status // 100, status:
        case _, 429:
            return RateLimited, "is overloaded or limits the rate of requests (429)"
        case _, 472 | 473:
            return Standby, f"is a standby that serves no requests ({status}): vault.url should name the active node"
        case _, 503:
            return Sealed, "is sealed or can't serve requests now (503)"
        case 3, _:
            return Standby, (
                f"redirects to another address ({status}), as a standby does, and not to one that it announces as the "
                "active node's: vault.url should name the active node, by its final address"
            )
        case 5, _:
            return Unavailable, f"failed to answer ({status})"
        case _:
            return Unavailable, f"answered with the unexpected status {status}: does vault.url name a Vault?"


def _not_found(reply: Reply, source: Source) -> BackendError:
    where = f"path {shown(source.path)}"
    gone = decode(reply.body, _Gone)
    refusal = decode(reply.body, _Refusal)
    if gone is not None:
        return _gone(where, gone.data.metadata)
    if refusal is None or refusal == _Refusal():
        return Unavailable(f"{where}: {STRANGER}", store=STRANGER)
    return SourceNotFound(f"{where} {_what_is_missing(refusal, source)}")


def _gone(where: str, metadata: _Metadata) -> SourceNotFound:
    version = f"{where}: version {metadata.version}"
    newest = (metadata.version, metadata.created_time)
    if metadata.destroyed:
        text = f"{version} was destroyed: name another one, or write it anew"
        return VersionDestroyed(text, listed=marker.destroyed(*newest))
    return VersionDeleted(f"{version} was deleted: undelete it, or write it anew", listed=marker.deleted(*newest))


def _with_data(segments: tuple[str, ...]) -> str:
    """Where to put it. A mount may have several segments, so only two of them leave no doubt."""
    match segments:
        case (mount, name):
            return f"write {shown(f'{mount}/{DATA}/{name}')}"
        case _:
            return "write the mount, then data/, then the rest, as in secret/data/app"


def _what_is_missing(refusal: _Refusal, source: Source) -> str:
    if any("versioned K/V" in warning for warning in refusal.warnings or ()):
        return f"lacks data/, which KV version 2 has after the mount: {_with_data(parse_path(source.path).segments)}"
    if any("no handler for route" in error for error in refusal.errors or ()):
        return "is under no secrets engine: correct the path, or mount one there"
    if any("namespace not found" in error for error in refusal.errors or ()):
        return "is in a namespace that is not there: correct vault.namespace"
    if source.version is not None:
        return f"has no version {source.version}: write it, or correct the version"
    return "does not exist in Vault: write it, or correct the path"
