"""A real process and the lease, where the requests for the lease alone are slow or are cut off on their way."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from fake_kubernetes.documents import parse, text
from secrets_manager.config import ControllerConfig, LeaseConfig
from secrets_manager.supervisor import lease_name
from tests.process.running import SecretsManager, World, world
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.kube_api import wait_until
from tests.real.network import Link, Passed, network
from tests.real.openbao import OpenBao

LEASE = LeaseConfig(duration=6.0, renew_deadline=4.0, retry_period=0.5)
SLOW = 1.1
"""Seconds that a request for the lease takes, of the two that each has: a read and a write together take longer."""


async def slowly(request: Passed, whole: bytes) -> None:
    if "/leases" in request.target:
        await trio.sleep(SLOW)


class CutOff:
    """Holds a renewal until the write that releases the lease comes by, and lets it go first."""

    def __init__(self, cluster: ControlPlane, path: str) -> None:
        self.began = False
        self.landed = False
        self._cluster = cluster
        self._path = path
        self._renewal = b""

    async def hold(self, request: Passed, whole: bytes) -> None:
        if request.method != "PATCH" or not request.target.startswith(self._path):
            return
        if not self.began:
            self.began = True
            self._renewal = whole.partition(b"\r\n\r\n")[2]
            await trio.sleep_forever()
        if not self.landed:
            self.landed = True
            self._cluster.patch(self._path, parse(self._renewal))


class Standing(NamedTuple):
    """One process, its way to the API server, and the world that it works on."""

    here: World
    link: Link
    program: SecretsManager
    lease: str

    @property
    def holder(self) -> str:
        lease = self.here.cluster.find(self.lease)
        return text(lease, "spec", "holderIdentity") if lease else ""

    def works(self, value: str) -> None:
        self.here.write("app", k=value)
        self.here.wait_for("app", {"k": value})


@contextmanager
def standing(cluster: ControlPlane, bao: OpenBao, folder: Path) -> Generator[Standing]:
    """A process that is not started yet."""
    seen: list[Passed] = []
    with world(cluster, bao, folder) as here, network(cluster, "us", see=seen.append) as links:
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        file = kubeconfig(folder / "kubeconfig", url=links["us"].url, token=cluster.admin_token)
        flags = (
            f"-watch-namespaces={here.namespace}",
            "-reconcile-period=200ms",
            "-enable-leader-election",
            f"-leader-election-namespace={here.namespace}",
            f"-leader-election-lease-duration={LEASE.duration:g}s",
            f"-leader-election-renew-deadline={LEASE.renew_deadline:g}s",
            f"-leader-election-retry-period={LEASE.retry_period:g}s",
        )
        name = lease_name(ControllerConfig().name)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{here.namespace}/leases/{name}"
        with SecretsManager(folder, flags=flags, environment={**here.environment, "KUBECONFIG": str(file)}) as program:
            yield Standing(here, links["us"], program, path)


def test_a_candidate_whose_lease_requests_are_slow_gets_the_lease_and_keeps_it(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with standing(control_plane, openbao, tmp_path) as us:
        us.link.hold = slowly
        us.program.started()
        us.works("second")
        holder = us.holder
        time.sleep(1.5 * LEASE.renew_deadline)
        us.works("third")
        assert (us.program.running, us.holder) == (True, holder)


def test_a_leader_whose_lease_requests_become_slow_stays_leader(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with standing(control_plane, openbao, tmp_path) as us:
        us.program.started()
        us.works("second")
        holder = us.holder
        us.link.hold = slowly
        time.sleep(1.5 * LEASE.renew_deadline)
        us.works("third")
        assert (us.program.running, us.holder) == (True, holder)


def test_a_renewal_that_was_cut_off_and_lands_before_the_release_does_not_keep_the_lease(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with standing(control_plane, openbao, tmp_path) as us:
        us.program.started()
        us.works("second")
        cut_off = CutOff(control_plane, us.lease)
        us.link.hold = cut_off.hold
        wait_until(lambda: cut_off.began)

        assert us.program.terminate() == 0

        assert (cut_off.landed, us.holder) == (True, "")
