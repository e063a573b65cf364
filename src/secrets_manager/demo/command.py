"""`secrets-manager demo`: ten seconds that show what the program does, on real parts, for someone who has none.

demo
├── OpenBao           the real server
├── Kubernetes API    in memory, unless a cluster of the user's own is named
├── controller        the real program, a process of its own
└── play              writes on either side, and watches what comes of it
"""

import logging
import sys
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from fake_kubernetes.asgi import serve_cluster
from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import parse
from secrets_manager import logs
from secrets_manager.config import KubeConfig, LogConfig
from secrets_manager.controller import crd
from secrets_manager.demo.controller import access_in_memory, run_controller
from secrets_manager.demo.namespace import prepared_namespace
from secrets_manager.demo.openbao import OpenBao, run_openbao
from secrets_manager.demo.play import Play
from secrets_manager.kube.client import open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.supervisor import cancel_on_signal


def run_demo(*, keep: bool, context: str) -> int:
    """Run the demo. `keep` stays up afterwards; `context` names a cluster of the user's own.

    Raises: SecretsManagerError, in a group, where a part can't be started or does not do what it should.
    """
    logs.configure(LogConfig(level=logging.WARNING), sys.stderr)
    with tempfile.TemporaryDirectory(prefix="secrets-manager-demo-") as folder:
        trio.run(_demo, Console(highlight=False), Path(folder), keep, context)
    return 0


async def _demo(console: Console, folder: Path, keep: bool, context: str) -> None:  # noqa: FBT001 - trio.run has no keywords
    async with trio.open_nursery() as servers:
        with console.status("starting OpenBao"):
            bao = await servers.start(run_openbao, folder)
            approle = await bao.allow_approle()
        kube = KubeConfig(context=context) if context else await _cluster_in_memory(servers, folder)
        async with (
            open_client(await find_cluster(kube)) as client,
            prepared_namespace(client, context) as home,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(cancel_on_signal, nursery.cancel_scope)
            with console.status("starting the controller"):
                page: str = await nursery.start(partial(run_controller, kube, home, bao.url, approle, folder=folder))
            console.print(f"OpenBao, {context or 'a Kubernetes API in memory'} and the controller are up")
            play = Play(console, client, bao, home)
            await play.run()
            if keep:
                await play.define()
                _tell_how_to_go_on(console, kube, bao, home, page)
                await trio.sleep_forever()
            nursery.cancel_scope.cancel("the play is over")
        servers.cancel_scope.cancel("the demo is over")


async def _cluster_in_memory(servers: trio.Nursery, folder: Path) -> KubeConfig:
    cluster = Cluster(crds=[parse(msgspec.json.encode(crd.definition()))])
    return access_in_memory(await servers.start(serve_cluster, cluster), folder)


def _tell_how_to_go_on(console: Console, kube: KubeConfig, bao: OpenBao, namespace: str, page: str) -> None:
    access = f"export KUBECONFIG={kube.kubeconfig}" if kube.kubeconfig else f"kubectl config use-context {kube.context}"
    console.print(
        f"\nStill up, until Ctrl-C. The status page is at {page}\n"
        f"In another terminal:\n"
        f"  {access}\n"
        f"  export VAULT_ADDR={bao.url} VAULT_TOKEN={bao.token}\n"
        f"  kubectl get secretdefinitions,secrets -o wide --namespace {namespace}\n"
        f"  bao kv put secret/demo/database username=app password=new",
        soft_wrap=True,
    )
