"""A watch of a real API server whose connection has gone silent, while new connections work."""

from pathlib import Path
from random import Random

import msgspec
import trio

from secrets_manager.config import KubeConfig
from secrets_manager.kube.client import open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire
from secrets_manager.kube.reflector import Reflector
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.store import Store
from secrets_manager.kube.watcher import Watcher
from tests.contracts.widgets import secret
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.tcp_proxy import tcp_proxy

SILENCE = 3.0
"""Seconds: less than the time between two bookmarks, so a quiet watch is renewed, too."""


class Named(Wire, frozen=True):
    metadata: ObjectMeta

    @property
    def key(self) -> ObjectKey:
        return self.metadata.key


SECRETS = Resource("", "v1", "secrets", "Secret", msgspec.json.Decoder(Named).decode)


async def test_what_happens_while_a_watch_is_silent_is_seen_by_the_next_one(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    seen: list[str] = []
    port = int(control_plane.url.rpartition(":")[2])
    with tcp_proxy(port) as road:
        file = kubeconfig(
            tmp_path / "kubeconfig",
            url=f"https://{road.address}",
            ca_file=control_plane.ca_file,
            token=control_plane.admin_token,
        )
        cluster = await find_cluster(KubeConfig(kubeconfig=str(file)))
        async with open_client(cluster, read_timeout=SILENCE) as client, trio.open_nursery() as nursery:
            watcher = Watcher(client, SECRETS, random=Random(0), namespace=namespace)
            reflector = Reflector(
                watcher, store=Store[Named](), on_change=lambda _, new: seen.append(new.metadata.name if new else "")
            )
            await nursery.start(reflector.run)
            await made_and_seen(control_plane, namespace, "before", seen)

            assert road.silence() > 0
            await made_and_seen(control_plane, namespace, "meanwhile", seen)

            assert watcher.problem == ""
            nursery.cancel_scope.cancel()


async def made_and_seen(cluster: ControlPlane, namespace: str, name: str, seen: list[str]) -> None:
    document = secret(name)
    cluster.create({**document, "metadata": {"name": name, "namespace": namespace}})
    with trio.fail_after(60):
        while name not in seen:  # noqa: ASYNC110 - another process does it
            await trio.sleep(0.05)
