"""Check what concerns Kubernetes, in an order in which each check has what it needs."""

from datetime import datetime, timedelta
from functools import partial

from secrets_manager.config import Config
from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.doctor import access, clock, leader, rights, schema
from secrets_manager.doctor.checkup import Checkup, Result
from secrets_manager.doctor.clock import Clock
from secrets_manager.doctor.finding import ok
from secrets_manager.inputs.lists import list_all
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.supervisor import lease_name

CLOCK = "kubernetes-clock"
DEFINITIONS = "definitions"
NEEDS_API_SERVER = (CLOCK, schema.CHECK, DEFINITIONS, rights.RIGHTS, rights.LEASE_RIGHTS, leader.CHECK)
LIST_FIX = "see the check rights"
NO_API_SERVER = "the API server can't be used"

Definitions = list[SecretDefinition]


async def examine(
    checkup: Checkup, client: KubeClient, config: Config, *, namespace: str, now: Clock
) -> Definitions | None:
    """Make all checks. Return the definitions that are watched; None if they can't be listed.

    Args:
        checkup: Takes the findings.
        client: Of the API server.
        config: That of the controller.
        namespace: That of the process.
        now: This machine's clock.
    """
    server = await checkup.run(access.CHECK, partial(access.check, client, now), fix=access.FIX)
    if server is None:
        checkup.skip(NEEDS_API_SERVER, NO_API_SERVER)
        return None
    checkup.add(clock.judge(CLOCK, "the API server", server.skew))
    installed = await checkup.run(schema.CHECK, partial(schema.check, client), fix=access.FIX)
    if installed is False:
        checkup.skip((DEFINITIONS,), "the CRD is not installed")
        definitions = None
    else:
        definitions = await _definitions(checkup, client, config)
    for watched in config.controller.watch_namespaces or ("",):
        await checkup.run(rights.RIGHTS, partial(rights.check_watched, client, watched), fix=access.FIX)
    if definitions:
        await checkup.run(rights.RESTART_RIGHTS, partial(rights.check_restarts, client, definitions), fix=access.FIX)
    if config.server.auth:
        await checkup.run(rights.REVIEW_RIGHTS, partial(rights.check_reviews, client), fix=access.FIX)
    await _leader(checkup, client, config, namespace=namespace, time=now() + (server.skew or timedelta()))
    return definitions


async def _definitions(checkup: Checkup, client: KubeClient, config: Config) -> Definitions | None:
    """Return the definitions in all namespaces that can be listed; None if there is no such namespace."""
    found: Definitions = []
    listed = False
    for watched in config.controller.watch_namespaces or ("",):
        some = await checkup.run(
            DEFINITIONS, partial(_list, client, watched, config.controller.exclude_namespaces), fix=LIST_FIX
        )
        listed |= some is not None
        found += some or []
    return found if listed else None


async def _list(client: KubeClient, namespace: str, excluded: frozenset[str]) -> Result[Definitions]:
    listed = await list_all(client, SECRET_DEFINITIONS, namespace)
    definitions = [each for each in listed if each.key.namespace not in excluded]
    where = f"namespace {namespace}" if namespace else "all namespaces"
    return Result([ok(DEFINITIONS, f"{where}: {len(definitions)}")], definitions)


async def _leader(checkup: Checkup, client: KubeClient, config: Config, *, namespace: str, time: datetime) -> None:
    if not config.lease.enabled:
        checkup.skip(
            (rights.LEASE_RIGHTS, leader.CHECK),
            "leader election is off: add --enable-leader-election if the controller has it",
        )
        return
    key = ObjectKey(config.lease.namespace or namespace, lease_name(config.controller.name))
    await checkup.run(rights.LEASE_RIGHTS, partial(rights.check_lease, client, key.namespace), fix=access.FIX)
    await checkup.run(leader.CHECK, partial(leader.check, client, key, now=time), fix="see the check lease-rights")
