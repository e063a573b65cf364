"""The real program through every way in which a real OpenBao can be away.

The Secrets stay as they are, the conditions and the metrics tell what is wrong, and all is in sync soon afterwards.
"""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao_stored import StoredOpenBao, running_stored_openbao
from tests.real.tcp_proxy import Road, TcpProxy, tcp_proxy

NAMES = [f"app-{number}" for number in range(5)]
TOLD_WITHIN = 20.0
SYNCED_WITHIN = 20.0
"""Seconds: a period, and what is left of the longest backoffs, those of the reads and of the logins."""


class Stand:
    """What an outage is made with."""

    def __init__(self, bao: StoredOpenBao, proxy: TcpProxy) -> None:
        self.bao = bao
        self.proxy = proxy


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredOpenBao]:
    with running_stored_openbao(tmp_path_factory.mktemp("openbao")) as bao:
        yield bao


@pytest.fixture
def stand(bao: StoredOpenBao) -> Iterator[Stand]:
    with tcp_proxy(int(bao.url.rpartition(":")[2])) as proxy:
        yield Stand(bao, proxy)


@contextmanager
def stopped(stand: Stand) -> Generator[None]:
    stand.bao.program.terminate()
    yield
    stand.bao.start()


@contextmanager
def killed(stand: Stand) -> Generator[None]:
    stand.bao.program.kill()
    yield
    stand.bao.start()


@contextmanager
def restarted_with_all_tokens_gone(stand: Stand) -> Generator[None]:
    stand.bao.program.kill()
    yield
    stand.bao.start()
    stand.bao.revoke_tokens_of_approle()


@contextmanager
def paused(stand: Stand) -> Generator[None]:
    stand.bao.program.pause()
    yield
    stand.bao.program.resume()
    stand.bao.program.wait_until(stand.bao.serves, seconds=20)


@contextmanager
def sealed(stand: Stand) -> Generator[None]:
    with stand.bao.sealed():
        yield


@contextmanager
def limited(stand: Stand) -> Generator[None]:
    """By a quota of one request in a thousand seconds, which root's own requests don't need."""
    quota = f"sys/quotas/rate-limit/{stand.bao.fresh()}"
    stand.bao.request("POST", quota, {"rate": 0.001, "interval": "1s", "path": "secret/"})
    yield
    stand.bao.request("DELETE", quota)


def on(road: Road) -> Callable[[Stand], AbstractContextManager[None]]:
    @contextmanager
    def bad_road(stand: Stand) -> Generator[None]:
        stand.proxy.road = road
        yield
        stand.proxy.road = Road.GOOD

    return bad_road


class Outage(NamedTuple):
    """How it is made, and how it is reported: in metrics by the name of an error, in conditions by words."""

    happens: Callable[[Stand], AbstractContextManager[None]]
    error: str
    words: str


GONE = "closed the connection before its response was complete|can't be reached"
LATE = "did not answer in time"
OUTAGES = {
    "stopped": Outage(stopped, "Unreachable", GONE),
    "killed": Outage(killed, "Unreachable", GONE),
    "restarted with all tokens gone": Outage(restarted_with_all_tokens_gone, "Unreachable", GONE),
    "paused": Outage(paused, "TimedOut", LATE),
    # What is under way when it is sealed may wait for its end.
    "sealed": Outage(sealed, "Sealed", rf"Vault is sealed or can't serve requests now \(503\)|{LATE}"),
    "rate limited": Outage(limited, "RateLimited", r"is overloaded or limits the rate of requests \(429\)"),
    "slow": Outage(on(Road.SLOW), "TimedOut", LATE),
    "half-open": Outage(on(Road.SILENT), "TimedOut", LATE),
    "cut short": Outage(on(Road.CUT), "Unreachable", GONE),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_secrets_stay_as_they_are_and_follow_once_vault_is_back(
    control_plane: ControlPlane,
    stand: Stand,
    tmp_path: Path,
    outage: Outage,
) -> None:
    flags = ("-config.backend-timeout=1s", "-vault.token-polling-period=1s")
    with world(control_plane, stand.bao, tmp_path, *flags, url=stand.proxy.url) as here:
        for name in NAMES:
            here.define(name, {"k": here.write(name, k="before") + "#k"})
        here.program.started()
        for name in NAMES:
            here.wait_for(name, {"k": "before"})
            here.wait_for_reason(name, "Synced")
        since = here.version(here.path_of_secret())
        untouched = {name: here.version(here.path_of_secret(name)) for name in NAMES}

        with outage.happens(stand):
            for name in NAMES:
                wait_until(partial(has_reason, here, name, "BackendUnavailable"), seconds=TOLD_WITHIN)
                assert re.search(outage.words, here.message(name)), here.message(name)
            wait_until(lambda: "secrets_manager_backend_up 0.0" in metrics(here), seconds=TOLD_WITHIN)
            wait_until(lambda: counts_reads_that_failed_by(outage.error, metrics(here)), seconds=TOLD_WITHIN)
            assert here.program.answer("/readyz").startswith("ok")
            assert {name: here.version(here.path_of_secret(name)) for name in NAMES} == untouched

        for name in NAMES:
            here.write(name, k="after")
        for name in NAMES:
            wait_until(partial(has_value, here, name, "after"), seconds=SYNCED_WITHIN)
            wait_until(partial(has_reason, here, name, "Synced"), seconds=SYNCED_WITHIN)
        assert "secrets_manager_backend_up 1.0" in metrics(here)
        changes = [change for change in here.changes_of_secrets(since=since) if change[1] in NAMES]
        assert {kind for kind, _ in changes} == {"MODIFIED"}


def has_reason(here: World, name: str, reason: str) -> bool:
    return here.reason(name) == reason


def has_value(here: World, name: str, value: str) -> bool:
    return here.values(name) == {"k": value}


def metrics(here: World) -> str:
    return here.program.answer("/metrics")


def counts_reads_that_failed_by(error: str, text: str) -> bool:
    return re.search(rf'vault_read_secret_errors_total\{{[^}}]*error="{error}"', text) is not None
