"""`secrets-manager doctor`: checks the installation that these flags and this environment describe."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import trio

from secrets_manager.config import Config, Setting
from secrets_manager.doctor import access, configuration, files, json, key_vault, kubernetes, vault
from secrets_manager.doctor.checkup import Checkup, Result
from secrets_manager.doctor.finding import Finding, has_failed
from secrets_manager.doctor.kubernetes import Definitions
from secrets_manager.doctor.text import table
from secrets_manager.inputs.progress import Progress
from secrets_manager.kube.client import open_client
from secrets_manager.kube.credentials import Cluster, find_cluster


class Output(NamedTuple):
    """The output."""

    text: str
    has_failures: bool


def run_doctor(
    config: Config, settings: Sequence[Setting], *, may_log_in: bool, output: str, progress: Progress
) -> Output:
    """Check an installation.

    Args:
        config: That of the controller.
        settings: Those that were given.
        may_log_in: Whether to log in to Vault.
        output: text or json.
        progress: Called with a line about a check that takes longer than a second.
    """
    findings = trio.run(partial(_run, config, settings, may_log_in=may_log_in, progress=progress))
    return Output(json.encoded(findings) if output == "json" else table(findings), has_failed(findings))


async def _run(config: Config, settings: Sequence[Setting], *, may_log_in: bool, progress: Progress) -> list[Finding]:
    checkup = Checkup(progress)
    checkup.add(*configuration.judge(config, settings))
    await checkup.run(files.CHECK, partial(files.check, files.named(config, os.environ)), fix=files.FIX)
    await checkup.run(files.CERTIFICATE, partial(files.check_certificate, config.server), fix=files.CERTIFICATE_FIX)
    definitions = await examine_kubernetes(checkup, config)
    if config.backend == "azure-kv":
        await key_vault.examine(checkup, config, definitions)
    else:
        await vault.examine(checkup, config.vault, definitions, may_log_in=may_log_in, now=_utc_now)
    return checkup.findings


async def examine_kubernetes(checkup: Checkup, config: Config) -> Definitions | None:
    """Find the cluster, and make all checks there. Return the definitions; None if they can't be listed."""
    cluster = await checkup.run(access.CHECK, partial(_find, config), fix=access.FIX)
    if cluster is None:
        checkup.skip(kubernetes.NEEDS_API_SERVER, kubernetes.NO_API_SERVER)
        return None
    async with open_client(cluster) as client:
        return await kubernetes.examine(checkup, client, config, namespace=cluster.namespace, now=_utc_now)


async def _find(config: Config) -> Result[Cluster]:
    return Result([], await find_cluster(config.kube))


def _utc_now() -> datetime:
    return datetime.now(UTC)
