"""What happens to the servers: Vault sealed, slowed, cut off and limited, the API server restarted, again and again."""

import random
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.program import API_VERSION
from benchmarks.soak.users import Reach, Users
from tests.real.cluster import READY_WITHIN, ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.tcp_proxy import Road, TcpProxy

RATE = 5
"""Requests a second that a quota allows."""


Happenings = dict[str, Callable[[], AbstractContextManager[Reach]]]
"""Each lasts for the length of a block, and tells what users can still reach."""


class Faults:
    """During churn they come in rounds, each of which has all of them once, in an order by chance."""

    def __init__(self, happenings: Happenings, users: Users, chance: random.Random) -> None:
        self.present = ""
        self._happenings = happenings
        self._users = users
        self._chance = chance
        self._round: list[str] = []

    @contextmanager
    def next(self) -> Generator[Reach]:
        """The next fault, for the length of the block: what users can still reach."""
        if not self._round:
            self._round = self._chance.sample(list(self._happenings), len(self._happenings))
        with self._happening(self._round.pop()) as reach:
            yield reach

    @contextmanager
    def before_rest(self, number: int) -> Generator[None]:
        """One by one in their order, with the number of the rest. No user asks for anything any more."""
        with self._happening(list(self._happenings)[number % len(self._happenings)]):
            yield

    @contextmanager
    def _happening(self, name: str) -> Generator[Reach]:
        """It begins when many secrets have changed of which the program does not know yet; many are forced in it."""
        self.present = name
        self._users.rotate_many()
        with self._happenings[name]() as reach:
            if reach.kubernetes:
                self._users.force_many()
            yield reach
        self.present = ""


def on_real_parts(cluster: ControlPlane, bao: OpenBao, road: TcpProxy) -> Happenings:
    return {
        "Vault limited": lambda: _limited(bao),
        "Vault sealed": lambda: _sealed(bao),
        "Vault slow": lambda: _on(road, Road.SLOW),
        "Vault silent": lambda: _on(road, Road.SILENT),
        "replies of Vault cut short": lambda: _on(road, Road.CUT),
        "API server down": lambda: _restarted(cluster),
    }


@contextmanager
def _sealed(bao: OpenBao) -> Generator[Reach]:
    with bao.sealed():
        yield Reach(vault=False)


@contextmanager
def _limited(bao: OpenBao) -> Generator[Reach]:
    """The users' own writes would be limited, too."""
    quota = "sys/quotas/rate-limit/soak"
    bao.request("POST", quota, {"rate": RATE, "interval": "1s", "path": "secret/"})
    yield Reach(vault=False)
    bao.request("DELETE", quota)


@contextmanager
def _on(proxy: TcpProxy, road: Road) -> Generator[Reach]:
    proxy.road = road
    yield Reach()
    proxy.road = Road.GOOD


@contextmanager
def _restarted(cluster: ControlPlane) -> Generator[Reach]:
    """With the controllers, so that the garbage collector starts again, too.

    One that goes on and has to list again takes an object that was made again under its old name for the same one,
    and leaves what the first one owned.
    """
    cluster.controllers.kill()
    cluster.apiserver.kill()
    yield Reach(kubernetes=False)
    cluster.start_apiserver()
    # The storage of a custom kind comes a moment after all else.
    wait_until(lambda: cluster.serves(f"/apis/{API_VERSION}/secretdefinitions"), seconds=READY_WITHIN)
    cluster.controllers.start()
