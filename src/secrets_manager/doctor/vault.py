"""Check what concerns Vault, in an order in which each check has what it needs."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import trio

from secrets_manager.backends import Source
from secrets_manager.backends.vault.auth.factory import secret_id_of
from secrets_manager.backends.vault.client import VaultClient, open_vault_client
from secrets_manager.backends.vault.engine import create_engine
from secrets_manager.backends.vault.health import Health
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.probe import Network
from secrets_manager.backends.vault.token import Token
from secrets_manager.config import VaultConfig
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.doctor import clock, connection, login, paths, secret_id, sources, token
from secrets_manager.doctor.checkup import Checkup
from secrets_manager.doctor.clock import Clock
from secrets_manager.kube.objects import ObjectKey

CLOCK = "vault-clock"
BY_TOKEN = (token.CHECK, secret_id.CHECK, paths.PATHS, paths.LISTING)
NO_DEFINITIONS = "the definitions can't be listed"
RETRY_FIX = "see the message, and try again"
REVOCATION = 2.0
"""Seconds to revoke the token, also where the program is interrupted."""


async def examine(
    checkup: Checkup,
    config: VaultConfig,
    definitions: Sequence[SecretDefinition] | None,
    *,
    may_log_in: bool,
    now: Clock,
    network: Network = None,
) -> None:
    """Make all checks. `network` replaces the network."""
    used = None
    if definitions is not None:
        used = sources.used(definitions, config.allowed_paths, _segments, flag="vault.allowed-paths")
        checkup.add(*used.findings)
    vault = await checkup.run(
        connection.CONNECTION,
        partial(connection.check, config, now, transport=network),
        fix=connection.FILES_FIX,
    )
    if vault is None:
        checkup.skip((connection.SERVER, CLOCK, login.CHECK, *BY_TOKEN), "Vault can't be reached")
        return
    checkup.add(clock.judge(CLOCK, "Vault", vault.skew))
    if vault.health is None:
        checkup.skip((login.CHECK, *BY_TOKEN), "Vault serves no requests")
        return
    async with open_vault_client(config, transport=network) as client:
        granted = await checkup.run(
            login.CHECK, partial(login.check, client, config, allowed=may_log_in), fix=RETRY_FIX
        )
        if granted is None:
            checkup.skip(BY_TOKEN, "there is no token of a login")
            return
        try:
            await _credentials(checkup, client, config, granted, now() + (vault.skew or timedelta()))
            await _policies(checkup, client, config, granted=granted, used=used and used.sources, health=vault.health)
        finally:
            with trio.move_on_after(REVOCATION, shield=True):
                await checkup.run(token.CHECK, partial(token.revoke, client, granted), fix=RETRY_FIX)


async def _credentials(
    checkup: Checkup, client: VaultClient, config: VaultConfig, granted: Token, now: datetime
) -> None:
    """Check how long the token and the secret_id last."""
    credential = secret_id_of(config)
    facts = await checkup.run(
        token.CHECK, partial(token.check, client, granted, login_is_free=credential is None), fix=RETRY_FIX
    )
    if credential is not None:
        role = "" if facts is None else facts.role
        await checkup.run(
            secret_id.CHECK,
            partial(secret_id.check, client, granted, credential, mount=config.approle_path, role=role, now=now),
            fix=RETRY_FIX,
        )


async def _policies(
    checkup: Checkup,
    client: VaultClient,
    config: VaultConfig,
    *,
    granted: Token,
    used: Mapping[Source, ObjectKey] | None,
    health: Health,
) -> None:
    """Check what the policies of the token allow."""
    if used is None or granted.uses > 0:
        because = NO_DEFINITIONS if used is None else "the token may be used a few times only"
        checkup.skip((paths.PATHS, paths.LISTING), because)
        return
    await checkup.run(paths.PATHS, partial(paths.check_reads, client, granted, used), fix=RETRY_FIX)
    engine = create_engine(config.engine)
    if config.list_period > 0:
        await checkup.run(
            paths.LISTING, partial(paths.check_listings, client, granted, engine, used, health), fix=RETRY_FIX
        )


def _segments(path: str) -> tuple[str, ...]:
    return parse_path(path).segments
