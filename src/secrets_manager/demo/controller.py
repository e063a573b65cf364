"""The controller of the demo: the real program, as a process of its own."""

import os
import sys
from functools import partial
from pathlib import Path

import httpx
import trio
import yaml

from secrets_manager.config import KubeConfig
from secrets_manager.demo.openbao import AppRole
from secrets_manager.demo.program import free_port, run_program

PERIOD = "1s"


def access_in_memory(url: str, folder: Path) -> KubeConfig:
    """Write a kubeconfig for the API in memory, which asks for no login."""
    document: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "demo",
        "clusters": [{"name": "demo", "cluster": {"server": url}}],
        "users": [{"name": "demo", "user": {}}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo", "namespace": "default"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    return KubeConfig(kubeconfig=str(file))


async def run_controller(
    kube: KubeConfig,
    namespace: str,
    vault_url: str,
    approle: AppRole,
    *,
    folder: Path,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the program itself until cancelled; started, with the URL of its status page, once it is ready.

    Raises: StartError, in a group, where it does not come up.
    """
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "secrets_manager"),
        f"-kubeconfig={kube.kubeconfig}",
        f"-kube-context={kube.context}",
        f"-watch-namespaces={namespace}",
        f"-reconcile-period={PERIOD}",
        f"-metrics-addr={address}",
    ]
    environment = {
        **os.environ,
        "VAULT_ADDR": vault_url,
        "VAULT_ROLE_ID": approle.role_id,
        "VAULT_SECRET_ID": approle.secret_id,
    }
    ready = partial(_answers, f"http://{address}/readyz")
    log = folder / "secrets-manager.log"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run_program, command, environment=environment, log=log, ready=ready))
        task_status.started(f"http://{address}/")


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(url)).is_success
    except httpx.HTTPError:
        return False
