"""Vault's responses, and the errors that follow from their statuses.

A message names the path and the next step. It repeats nothing of the response but Vault's own `errors`, of statuses
that never come with a secret: bounded, printable, on one line.
"""

from collections.abc import Collection
from typing import TypeVar

import msgspec

from secrets_manager.backends.base import (
    BackendError,
    LoginRefused,
    RateLimited,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    Unavailable,
    VersionDeleted,
    VersionDestroyed,
    quoted,
)
from secrets_manager.backends.vault import marker
from secrets_manager.backends.vault.path import DATA, parse_path

OK = 200
FORBIDDEN = 403
NOT_FOUND = 404
REFUSALS = frozenset({400, 403, 404, 405})
"""Statuses of Vault for a login, a token or a path that it does not accept. A retry does not help."""
SERVER_ERRORS = frozenset({429, *range(500, 600)})
"""Statuses whose error messages say more than the status."""
UPGRADING = "Upgrading from non-versioned to versioned data"
"""What a mount answers with 400 while it becomes one of KV version 2."""
NO_NAMESPACE = "Vault has no such namespace: correct vault.namespace"
MAX_DETAILS = 200
"""Characters."""

T = TypeVar("T")


class Sealed(Unavailable):
    """Vault is sealed, or no node of the cluster is active. It helps to unseal it."""


class Standby(Unavailable):
    """This node is a standby, and the active node was not found."""


class Response(msgspec.Struct, frozen=True):
    """A complete response. Its repr does not show the body.

    `retry_after` is in seconds. `location` is the target of a redirect.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    location: str = ""

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


class _Metadata(msgspec.Struct, frozen=True):
    version: int
    destroyed: bool
    created_time: str = ""


class _MissingVersion(msgspec.Struct, frozen=True):
    metadata: _Metadata


class _MissingVersionResponse(msgspec.Struct, frozen=True):
    """The 404 of KV version 2 for a version that was deleted or destroyed."""

    data: _MissingVersion


class _ErrorResponse(msgspec.Struct, frozen=True):
    errors: tuple[str, ...] | None = None
    warnings: tuple[str, ...] | None = None


def decode(body: bytes, shape: type[T]) -> T | None:
    """Decode the body; None if it has another shape.

    No exception leaves this: msgspec's may quote the body, and a UnicodeDecodeError contains all of it.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def redacted(response: Response, secrets: Collection[str]) -> Response:
    """Return the response, without its body if an error message repeats a secret of the request."""
    leaked = any(secret and secret in error for error in _errors(response) for secret in secrets)
    return msgspec.structs.replace(response, body=b'{"errors":[]}') if leaked else response


def is_refusal(response: Response) -> bool:
    """Return whether Vault refuses the request, and not a proxy or another server at its address."""
    return response.status in REFUSALS and _parsed(response) != _ErrorResponse()


def _lacks_namespace(response: Response) -> bool:
    """Return whether Vault refuses the request because its namespace does not exist."""
    return any("namespace not found" in error for error in _errors(response))


def details(response: Response) -> str:
    """Return Vault's error messages, in parentheses after a space; empty if there are none."""
    text = " ".join("; ".join(_errors(response)).split())
    if not text:
        return ""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return f" ({printable[:MAX_DETAILS]})"


def forbidden_by_policy(response: Response) -> bool:
    """Guess from the error messages of a 403 whether a policy is the reason, not the token.

    Messages about policies say "error occurred". Newer versions of HashiCorp Vault say so of tokens, too, but add
    "invalid token".
    """
    return any("error occurred" in error and "invalid token" not in error for error in _errors(response))


def read_error(response: Response, source: Source) -> BackendError:
    """Return the error for the response to a read, whose status is not 200."""
    where, is_vaults = f"path {quoted(source.path)}", is_refusal(response)
    match response.status:
        case 400 if is_vaults:
            return _malformed(where, response)
        case 403 if is_vaults:
            return SourceForbidden(
                f"{where} is forbidden by Vault's policies: allow reading it to the controller's role"
            )
        case 404:
            return _not_found(response, source)
        case 405 if is_vaults:
            return SourceMalformed(f"{where} is not a secret that Vault can read{details(response)}: correct the path")
        case 413 | 414 | 431:
            return SourceMalformed(f"{where} is too long for Vault: correct the path")
        case _:
            return unavailable(response)


def login_refused(response: Response, problem: str) -> LoginRefused:
    """Return the error for a login, or a part of it, that Vault refuses."""
    text = NO_NAMESPACE if _lacks_namespace(response) else problem
    return LoginRefused(f"{text}{details(response)}", store=text)


def unavailable(response: Response) -> Unavailable:
    """Return the error for a response that shows that Vault as a whole can't serve requests now."""
    kind, problem = _diagnosis(response.status)
    errors = details(response) if response.status in SERVER_ERRORS else ""
    return kind(f"Vault {problem}{errors}", store=f"Vault {problem}", retry_after=response.retry_after)


def _diagnosis(status: int) -> tuple[type[Unavailable], str]:
    match status // 100, status:
        case _, 429:
            return RateLimited, "is overloaded or limits the rate of requests (429)"
        case _, 472 | 473:
            return (
                Standby,
                f"is a standby that does not serve requests ({status}): vault.url should name the active node",
            )
        case _, 503:
            return Sealed, "is sealed or can't serve requests now (503)"
        case 3, _:
            return Standby, (
                f"redirects to another address ({status}), as a standby does, but not to the active node that the "
                "cluster reports: vault.url should be the final address of the active node"
            )
        case 5, _:
            return Unavailable, f"failed to answer ({status})"
        case _:
            return (
                Unavailable,
                f"returned the unexpected status {status}: does vault.url name a Vault, with its scheme and port?",
            )


def _errors(response: Response) -> tuple[str, ...]:
    return _parsed(response).errors or ()


def _parsed(response: Response) -> _ErrorResponse:
    return decode(response.body, _ErrorResponse) or _ErrorResponse()


def _malformed(where: str, response: Response) -> BackendError:
    if any(UPGRADING in error for error in _errors(response)):
        return Unavailable(f"{where}: its mount is being upgraded to KV version 2: wait until that has ended")
    return SourceMalformed(f"{where} was refused by Vault as malformed{details(response)}: correct the path")


def _not_found(response: Response, source: Source) -> BackendError:
    where = f"path {quoted(source.path)}"
    gone = decode(response.body, _MissingVersionResponse)
    if gone is not None:
        return _gone(where, gone.data.metadata, pinned=source.version is not None)
    if not is_refusal(response):
        return unavailable(response)
    return SourceNotFound(f"{where} {_what_is_missing(response, source)}")


def _gone(where: str, metadata: _Metadata, *, pinned: bool) -> SourceNotFound:
    """Return the error for a version that is gone. A new one helps only where none is pinned."""
    version = f"{where}: version {metadata.version}"
    newest = (metadata.version, metadata.created_time)
    if metadata.destroyed:
        step = "name another version" if pinned else "name another version, or write a new one"
        return VersionDestroyed(f"{version} was destroyed: {step}", listed=marker.destroyed(*newest))
    step = "undelete it, or name another version" if pinned else "undelete it, or write a new one"
    return VersionDeleted(f"{version} was deleted: {step}", listed=marker.deleted(*newest))


def _with_data(segments: tuple[str, ...]) -> str:
    """Say where data/ goes. A mount may have several segments, so only a path of two is unambiguous."""
    match segments:
        case (mount, name):
            return f"write {quoted(f'{mount}/{DATA}/{name}')}"
        case _:
            return "write the mount, then data/, then the rest, as in secret/data/app"


def _what_is_missing(response: Response, source: Source) -> str:
    if any("versioned K/V" in warning for warning in _parsed(response).warnings or ()):
        return f"lacks data/, which KV version 2 has after the mount: {_with_data(parse_path(source.path).segments)}"
    if any("no handler for route" in error for error in _errors(response)):
        return "is under no secrets engine: correct the path, or mount one there"
    if _lacks_namespace(response):
        return "is in a namespace that does not exist: correct vault.namespace"
    if source.version is not None:
        return f"has no version {source.version}: name a version that is there"
    return "does not exist in Vault: write it, or correct the path"
