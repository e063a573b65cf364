"""How fast, how quiet and how small: N definitions between the real OpenBao and the real control plane.

    .venv/bin/python -m benchmarks.main_job --definitions 1000
    .venv/bin/python -m benchmarks.main_job --definitions 10000 --namespaces 100
    .venv/bin/python -m benchmarks.main_job --definitions 1000 "secrets-manager" "/path/to/another/secrets-manager"
    .venv/bin/python -m benchmarks.main_job --in-pod

By default the program gets a kubeconfig; with --in-pod it finds what a container finds in its pod, which costs less.

Any command with the flags of `secrets-manager` can be measured; several are, one after the other, each with servers of
its own. Everything shares this machine's cores, so compare figures of one run only. Requests are counted by the servers
themselves. The lag is the time from a write to OpenBao until the API server shows the Secret that came of it.
"""

import argparse
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import msgspec

from secrets_manager.controller import crd
from secrets_manager.demo.api.documents import Object, parse, text
from tests.real.cluster import ControlPlane, assets, running_cluster
from tests.real.openbao import OpenBao, running_openbao
from tests.real.pod import account_in, entering, variables
from tests.real.program import free_port

API_VERSION = "secrets-manager.tuenti.io/v1alpha1"
KINDS = ("secrets", "secretdefinitions", "events", "leases")
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 600.0
SETTLES_WITHIN, QUIET = 120.0, 15.0
"""Seconds in which Kubernetes must be asked nothing any more, and for which nothing is asked then."""


class Load(argparse.Namespace):
    """What the program is given to do, and how long it is looked at."""

    definitions: int
    keys: int
    folders: int
    namespaces: int
    named: bool
    period: float
    rest: float
    samples: int
    listing: bool
    default_policy: bool
    in_pod: bool
    commands: list[str]

    def name(self, number: int) -> str:
        return f"app-{number}"

    @property
    def homes(self) -> list[str]:
        """The namespaces."""
        return [f"bench-{number}" for number in range(self.namespaces)]

    def path(self, number: int) -> str:
        return f"secret/data/bench/folder-{number % self.folders}/{self.name(number)}"

    def values(self, word: str) -> Object:
        return {f"key-{key}": f"{word}-{key}" for key in range(self.keys)}

    def definition(self, number: int) -> Object:
        keys_map: Object = {f"key-{key}": {"path": self.path(number), "key": f"key-{key}"} for key in range(self.keys)}
        return {
            "apiVersion": API_VERSION,
            "kind": "SecretDefinition",
            "metadata": {"name": self.name(number), "namespace": self.homes[number % self.namespaces]},
            "spec": {"name": self.name(number), "keysMap": keys_map},
        }


class Written:
    """Counts how often the API server has shown each Secret anew, by a watch in a thread of its own."""

    def __init__(self, cluster: ControlPlane) -> None:
        self._client = cluster.client_for(cluster.admin_token)
        self._news = threading.Condition()
        self._times: Counter[str] = Counter()
        threading.Thread(target=self._watch, daemon=True).start()

    def __len__(self) -> int:
        return len(self._times)

    def times(self, name: str) -> int:
        return self._times[name]

    def wait(self, so: Callable[[], bool]) -> None:
        """Raises: TimeoutError."""
        with self._news:
            if not self._news.wait_for(so, timeout=PATIENCE):
                raise TimeoutError(f"{len(self)} Secrets were written, and no more")

    def _watch(self) -> None:
        path, query, patience = "/api/v1/secrets", {"watch": "1"}, httpx.Timeout(10, read=None)
        # The server's end ends it.
        with suppress(httpx.HTTPError), self._client.stream("GET", path, params=query, timeout=patience) as lines:
            for line in lines.iter_lines():
                name = text(parse(line.encode()), "object", "metadata", "name")
                if name.startswith("app-"):
                    with self._news:
                        self._times[name] += 1
                        self._news.notify_all()


class Usage:
    """What the program has used up to now, as the kernel and the servers count it."""

    def __init__(self, process: subprocess.Popen[bytes], cluster: ControlPlane, bao: OpenBao) -> None:
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        self.at = time.monotonic()
        self.cpu = (int(stat[11]) + int(stat[12])) / TICKS
        self.reads = bao.counted("read")
        self.listings = bao.counted("list")
        self.requests = sum(count for (_, kind), count in cluster.request_counts().items() if kind in KINDS)


def main() -> None:
    load = parser().parse_args(namespace=Load())
    if load.samples < 2:  # noqa: PLR2004 - of less, there is no distribution
        parser().error("--samples: two at least")
    for command in load.commands or [f"{sys.executable} -m secrets_manager"]:
        show(f"\n{command}")
        try_out(shlex.split(command), load)


def try_out(command: list[str], load: Load) -> None:
    binaries = assets()
    assert binaries, "no control plane: get it by `just envtest`"
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        running_cluster(binaries) as cluster,
        running_openbao(Path(folder), audited=False) as bao,
    ):
        cluster.install(crd_as_json())
        show(f"writing {load.definitions} paths and definitions")
        for name in load.homes:
            cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for number in range(load.definitions):
            bao.write_kv(load.path(number), load.values("first"))
            cluster.create(load.definition(number))
        written = Written(cluster)
        began = time.monotonic()
        with running(command, load, cluster, bao, Path(folder)) as process:
            written.wait(lambda: len(written) == load.definitions)
            took, used = time.monotonic() - began, Usage(process, cluster, bao)
            show(f"first sync   {took:.2f} s, CPU {used.cpu:.2f} s, RSS {resident(process):.0f} MB")
            settle(began, process, cluster, bao)
            measure(load, process, cluster, bao, written)


def settle(began: float, process: subprocess.Popen[bytes], cluster: ControlPlane, bao: OpenBao) -> None:
    """Wait until statuses and Events too are written, if ever the program stops asking Kubernetes for something."""
    last, given_up = Usage(process, cluster, bao), time.monotonic() + SETTLES_WITHIN
    while (now := Usage(process, cluster, bao)).at < last.at + QUIET:
        if now.requests > last.requests:
            last = now
        if now.at > given_up:
            show(f"not settled  after {now.at - began:.0f} s")
            return
        time.sleep(1.0)
    show(f"settled      {last.at - began:.0f} s")


def measure(
    load: Load, process: subprocess.Popen[bytes], cluster: ControlPlane, bao: OpenBao, written: Written
) -> None:
    before = Usage(process, cluster, bao)
    time.sleep(load.rest)
    after = Usage(process, cluster, bao)
    span = after.at - before.at
    show(
        f"at rest      {(after.reads - before.reads) / span:.1f} reads/s, "
        f"{(after.listings - before.listings) / span:.2f} listings/s, "
        f"{(after.requests - before.requests) / span:.1f} Kubernetes requests/s, "
        f"CPU {(after.cpu - before.cpu) / span:.3f} cores, RSS {resident(process):.0f} MB"
    )

    lags = [lag(load, bao, written, sample) for sample in range(load.samples)]
    p50, p99 = statistics.median(lags), statistics.quantiles(lags, n=100, method="inclusive")[98]
    show(f"lag          p50 {p50:.2f} s, p99 {p99:.2f} s, of {load.samples} changes")


def lag(load: Load, bao: OpenBao, written: Written, sample: int) -> float:
    """Seconds from the write of one path to its Secret."""
    number = random.randrange(load.definitions)
    time.sleep(random.uniform(0, load.period))  # no change may keep step with the polls
    seen = written.times(load.name(number))
    bao.write_kv(load.path(number), load.values(f"change-{sample}"))
    began = time.monotonic()
    written.wait(lambda: written.times(load.name(number)) > seen)
    return time.monotonic() - began


@contextmanager
def running(
    command: list[str], load: Load, cluster: ControlPlane, bao: OpenBao, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    paths = ["secret/data/*", *(["secret/detailed-metadata/*"] if load.listing else [])]
    credentials = bao.reader(*paths, default_policy=load.default_policy)
    environment = {
        **os.environ,
        **variables(cluster),
        "VAULT_ADDR": bao.url,
        "VAULT_ROLE_ID": credentials.role_id,
        "VAULT_SECRET_ID": credentials.secret_id,
    }
    if load.in_pod:
        account = account_in(folder, cluster, token=cluster.admin_token, namespace=load.homes[0])
        command = entering(account, command)
    flags = [
        *([] if load.in_pod else [f"-kubeconfig={cluster.kubeconfig}"]),
        f"-reconcile-period={load.period:g}s",
        f"-metrics-addr=127.0.0.1:{free_port()}",
        *([f"-watch-namespaces={','.join(load.homes)}"] if load.named else []),
    ]
    with subprocess.Popen([*command, *flags], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def crd_as_json() -> Object:
    return parse(msgspec.json.encode(crd.definition()))


def resident(process: subprocess.Popen[bytes]) -> float:
    """MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def show(line: str) -> None:
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.main_job", description=__doc__)
    made.add_argument("--definitions", type=int, default=1000)
    made.add_argument("--keys", type=int, default=4, help="of each Secret, all of one path")
    made.add_argument("--folders", type=int, default=1, help="over which the paths are spread")
    made.add_argument("--namespaces", type=int, default=1, help="over which the definitions are spread")
    made.add_argument("--named", action="store_true", help="watch each namespace by itself, not all by one watch")
    made.add_argument("--period", type=float, default=5.0, help="seconds between two polls of a path")
    made.add_argument("--rest", type=float, default=20.0, help="seconds of rest that are measured")
    made.add_argument("--samples", type=int, default=60, help="changes of which the lag is measured")
    made.add_argument("--no-listing", dest="listing", action="store_false", help="grant no right to list folders")
    made.add_argument("--default-policy", action="store_true", help="let the role have it, which costs OpenBao more")
    made.add_argument("--in-pod", action="store_true", help="start the program as in its container")
    made.add_argument("commands", nargs="*", help="each a program to measure; this one by default")
    return made


if __name__ == "__main__":
    main()
