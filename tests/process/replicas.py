"""Several real processes that want one lease, each by a way of its own to the API server, and what may befall them.

They are kept busy: values in the store change all the time, so the leader has something to write all the time.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from secrets_manager.config import LeaseConfig
from tests.process.running import SecretsManager, World, world
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.kube_api import POLL
from tests.real.network import Link, Passed, network
from tests.real.openbao import OpenBao

NAMES = ("one", "two", "three")
DEFINITIONS = 5
TIMEOUT = 60.0


class Replica:
    """One of them, in one life after the other."""

    def __init__(self, name: str, program: SecretsManager, link: Link) -> None:
        self.program = program
        self.link = link
        self._name = name
        self._lives = 0

    def start(self) -> None:
        """Let it live, under a name that tells this life from those before."""
        self._lives += 1
        self.link.client = f"{self._name} {self._lives}"
        self.link.mend()
        self.program.start()

    def ended(self) -> int:
        """Let it go on, and find that it is no longer in office. Returns the exit code."""
        self.link.mend()
        if self.program.running:
            self.program.resume()
        return self.program.ended()


class Replicas:
    """All of them. `writes` are all that reached the API server, those to the lease left out."""

    def __init__(self, here: World, lease: LeaseConfig) -> None:
        self.here = here
        self.lease = lease
        self.seen: list[Passed] = []
        self.replicas: list[Replica] = []
        self._changes = 0

    @property
    def writes(self) -> list[Passed]:
        return [each for each in self.seen if each.method != "GET" and "/leases" not in each.target]

    @property
    def leader(self) -> Replica:
        """The replica that wrote last."""
        name = self.writes[-1].client
        return next(replica for replica in self.replicas if replica.link.client == name)

    @property
    def terms(self) -> list[str]:
        """Who wrote, in order."""
        return [client for client, _ in groupby(self.writes, key=lambda write: write.client)]

    def busy_until(self, so: Callable[[], bool]) -> None:
        """Change values until it is so. Raises: TimeoutError."""
        deadline = time.monotonic() + TIMEOUT
        while not so():
            self._changes += 1
            self.here.write(f"app-{self._changes % DEFINITIONS}", value=f"value-{self._changes}")
            time.sleep(POLL)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so within {TIMEOUT} s")

    def busy_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.busy_until(lambda: time.monotonic() > end)

    def followed(self, leader: Replica, happens: Callable[[Replica], None]) -> float:
        """Let something happen to the leader. Returns the seconds until the first write of another one."""
        name, began = leader.link.client, time.monotonic()
        happens(leader)
        self.busy_until(lambda: self.writes[-1].client != name)
        return next(write.at for write in self.writes if write.at > began and write.client != name) - began


def kill(replica: Replica) -> None:
    replica.program.kill()


def stop(replica: Replica) -> None:
    replica.program.terminate()


def pause(replica: Replica) -> None:
    replica.program.pause()


def cut_off(replica: Replica) -> None:
    replica.link.cut()


@contextmanager
def running_replicas(cluster: ControlPlane, bao: OpenBao, folder: Path, lease: LeaseConfig) -> Generator[Replicas]:
    """All at work, and one of them in office."""
    with world(cluster, bao, folder) as here:
        made = Replicas(here, lease)
        with network(cluster, *NAMES, see=made.seen.append) as links:
            for number in range(DEFINITIONS):
                here.define(f"app-{number}", {"k": here.write(f"app-{number}", value="first") + "#value"})
            try:
                for name, link in links.items():
                    made.replicas.append(Replica(name, _program(here, folder / name, link, lease), link))
                    made.replicas[-1].start()
                for replica in made.replicas:
                    replica.program.ready()
                made.busy_until(lambda: bool(made.writes))
                yield made
            finally:
                for replica in made.replicas:
                    replica.program.kill()


def _program(here: World, folder: Path, link: Link, lease: LeaseConfig) -> SecretsManager:
    folder.mkdir()
    file = kubeconfig(folder / "kubeconfig", url=link.url, token=here.cluster.admin_token)
    flags = (
        f"-watch-namespaces={here.namespace}",
        "-reconcile-period=100ms",
        "-enable-leader-election",
        f"-leader-election-namespace={here.namespace}",
        f"-leader-election-lease-duration={lease.duration:g}s",
        f"-leader-election-renew-deadline={lease.renew_deadline:g}s",
        f"-leader-election-retry-period={lease.retry_period:g}s",
    )
    return SecretsManager(folder, flags=flags, environment={**here.environment, "KUBECONFIG": str(file)})
