"""Check what concerns Key Vault: the login, and the rights to get and to list secrets."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

from secrets_manager.backends import (
    Backend,
    Folder,
    NotListable,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
)
from secrets_manager.backends.factory import identity, open_backend
from secrets_manager.config import Config
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.doctor import sources
from secrets_manager.doctor.checkup import Checkup, Result
from secrets_manager.doctor.finding import Finding, failure, ok, warning
from secrets_manager.errors import UsageError
from secrets_manager.inputs.documents import NoMetrics

GET = "key-vault-get"
LIST = "key-vault-list"
FIX = "check azure-kv.name, the credentials, and that firewalls and network policies allow the connection"
ROLE_FIX = "give the identity the role Key Vault Secrets User, or the permissions get and list in the access policy"
NOT_USABLE = "Key Vault can't be used"

MAX_TRIED = 20
"""Secrets that are read."""
UNUSED_NAME = "secrets-manager-doctor"
"""Stands for a secret that does not exist: a vault that may be read says so."""


async def examine(checkup: Checkup, config: Config, definitions: Sequence[SecretDefinition] | None) -> None:
    """Make all checks."""
    try:
        await _examine(checkup, config, definitions)
    except UsageError as error:
        checkup.add(failure(GET, str(error), fix=FIX))
        checkup.skip((LIST,), NOT_USABLE)


async def _examine(checkup: Checkup, config: Config, definitions: Sequence[SecretDefinition] | None) -> None:
    used: Iterable[Source] = ()
    async with open_backend(config, NoMetrics()) as backend:
        if definitions is not None:
            found = sources.used(
                definitions, config.azure.allowed_paths, backend.segments, flag="azure-kv.allowed-paths"
            )
            checkup.add(*found.findings)
            used = found.sources
        reached = await checkup.run(GET, partial(_get, backend, list(used), identity(config)), fix=FIX)
        if reached is None:
            checkup.skip((LIST,), NOT_USABLE)
        elif config.azure.list_period > 0:
            await checkup.run(LIST, partial(_list, backend), fix=FIX)


async def _get(backend: Backend, used: list[Source], as_whom: str) -> Result[bool]:
    """Read some secrets, and throw them away."""
    forbidden: list[Finding] = []
    for source in used[:MAX_TRIED] or [Source(UNUSED_NAME)]:
        try:
            with suppress(SourceNotFound, SourceMalformed):
                await backend.read(source)
        except SourceForbidden as error:
            forbidden.append(failure(GET, str(error), fix=ROLE_FIX))
    return Result(sources.bounded(forbidden) or [ok(GET, f"secrets may be read in {as_whom}")], value=True)


async def _list(backend: Backend) -> Result[None]:
    try:
        await backend.markers(Folder(""))
    except NotListable as error:
        return Result([warning(LIST, f"{error}, so each is read once per period", fix=ROLE_FIX)])
    return Result([ok(LIST, "secrets may be listed")])
