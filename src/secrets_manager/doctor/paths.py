"""Check what Vault's policies allow: reading each path that definitions use, and listing their folders.

Asks sys/capabilities-self, many paths at a time. Where the policy does not allow that, a path is read as the controller
reads it, and what comes is thrown away.
"""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

import msgspec

from secrets_manager.backends import Source
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.engine import Engine
from secrets_manager.backends.vault.health import Health
from secrets_manager.backends.vault.listing import listing_url
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import FORBIDDEN, OK, REFUSALS, SERVER_ERRORS, decode, unavailable
from secrets_manager.backends.vault.token import Token
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, failure, ok, skipped, warning
from secrets_manager.doctor.sources import bounded
from secrets_manager.kube.objects import ObjectKey

PATHS = "vault-paths"
LISTING = "vault-listing"

BATCH = 100
"""Paths in one request for capabilities."""
MAX_PATHS = 2000
"""Paths that are asked for at all."""
MAX_TRIED = 50
"""Paths that are read where the policy does not allow to ask for capabilities."""
ROOT = "root"


class _Capabilities(msgspec.Struct, frozen=True):
    data: dict[str, tuple[str, ...]]


async def check_reads(client: VaultClient, token: Token, sources: Mapping[Source, ObjectKey]) -> Result[None]:
    """Check that the token may read each path.

    Raises:
        BackendError: The request failed.
    """
    users = {str(parse_path(source.path)): key for source, key in sources.items()}
    allowed = await _allowed(client, token, "read", {path: (parse_path(path).url, {}) for path in users})
    findings: list[Finding] = [
        failure(
            PATHS,
            f"{users[path]} needs {path}, which the policies of the role do not allow to read",
            fix=_rule(path, "read"),
        )
        for path, may in allowed.items()
        if not may
    ]
    return Result(bounded(findings) or [ok(PATHS, _count(len(allowed), len(users), "path", "may be read"))])


async def check_listings(
    client: VaultClient, token: Token, engine: Engine, sources: Iterable[Source], health: Health
) -> Result[None]:
    """Check that the token may list the versions in each folder.

    Raises:
        BackendError: The request failed.
    """
    if health.is_hashicorp:
        return Result([skipped(LISTING, "HashiCorp Vault can't list versions: each path is read once per period")])
    places = (engine.place(parse_path(each.path), identity="") for each in sources if each.version is None)
    urls = {listing_url(parse_path(place.folder.path)) for place in places if place is not None}
    query = {"list": "true", "limit": "1"}
    allowed = await _allowed(client, token, "list", {unquote(url): (url, query) for url in sorted(urls)})
    findings: list[Finding] = [
        warning(
            LISTING,
            f"folder {path} may not be listed, so each path in it is read once per period",
            fix=f"{_rule(path + '*', 'list')}, or set --vault.list-period=0",
        )
        for path, may in allowed.items()
        if not may
    ]
    return Result(bounded(findings) or [ok(LISTING, _count(len(allowed), len(urls), "folder", "may be listed"))])


async def _allowed(
    client: VaultClient, token: Token, capability: str, wanted: Mapping[str, tuple[str, Mapping[str, str]]]
) -> dict[str, bool]:
    """Return whether the token has the capability, for as many paths as can be asked for.

    Args:
        client: Of Vault.
        token: That of the login.
        capability: read or list.
        wanted: The URL and the query of a request that takes it, by path.
    """
    paths = sorted(wanted)[:MAX_PATHS]
    granted = await _capabilities(client, token, paths)
    if granted is not None:
        return {path: not {capability, ROOT}.isdisjoint(granted.get(path, ())) for path in paths}
    allowed: dict[str, bool] = {}
    for path in paths[:MAX_TRIED]:
        url, query = wanted[path]
        response = await client.request("GET", url, operation=capability, token=token.secret, params=query)
        if response.status in SERVER_ERRORS:
            raise unavailable(response)
        allowed[path] = response.status != FORBIDDEN
    return allowed


async def _capabilities(client: VaultClient, token: Token, paths: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """Return the capabilities of each path; None if the policy does not allow to ask for them."""
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(paths), BATCH):
        response = await client.request(
            "POST",
            "sys/capabilities-self",
            operation="capabilities",
            token=token.secret,
            body={"paths": list(paths[start : start + BATCH])},
        )
        if response.status in REFUSALS:
            return None
        granted = decode(response.body, _Capabilities) if response.status == OK else None
        if granted is None:
            raise unavailable(response)
        found |= granted.data
    return found


def _rule(path: str, capability: str) -> str:
    return f'add to the policy: path "{path}" {{ capabilities = ["{capability}"] }}'


def _count(checked: int, all_: int, what: str, may: str) -> str:
    if not all_:
        return f"no definition uses a {what} that is to be checked"
    return f"{checked} {what}{'' if checked == 1 else 's'} {may}{f', of {all_}' if checked < all_ else ''}"
