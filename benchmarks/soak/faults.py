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


class Faults:
    """During churn they come in rounds, each of which has all of them once, in an order by chance."""

    def __init__(
        self, cluster: ControlPlane, bao: OpenBao, road: TcpProxy, users: Users, chance: random.Random
    ) -> None:
        self.present = ""
        self._cluster = cluster
        self._bao = bao
        self._road = road
        self._users = users
        self._chance = chance
        self._round: list[str] = []
        self._happens: dict[str, Callable[[], AbstractContextManager[Reach]]] = {
            "Vault limited": self._limited,
            "Vault sealed": self._sealed,
            "Vault slow": lambda: self._on(Road.SLOW),
            "Vault silent": lambda: self._on(Road.SILENT),
            "replies of Vault cut short": lambda: self._on(Road.CUT),
            "API server down": self._restarted,
        }

    @contextmanager
    def next(self) -> Generator[Reach]:
        """The next fault, for the length of the block: what users can still reach."""
        if not self._round:
            self._round = self._chance.sample(list(self._happens), len(self._happens))
        with self._happening(self._round.pop()) as reach:
            yield reach

    @contextmanager
    def before_rest(self, number: int) -> Generator[None]:
        """One by one in their order, with the number of the rest. No user asks for anything any more."""
        with self._happening(list(self._happens)[number % len(self._happens)]):
            yield

    @contextmanager
    def _happening(self, name: str) -> Generator[Reach]:
        """It begins when many secrets have changed of which the program does not know yet; many are forced in it."""
        self.present = name
        self._users.rotate_many()
        with self._happens[name]() as reach:
            if reach.kubernetes:
                self._users.force_many()
            yield reach
        self.present = ""

    @contextmanager
    def _sealed(self) -> Generator[Reach]:
        with self._bao.sealed():
            yield Reach(vault=False)

    @contextmanager
    def _limited(self) -> Generator[Reach]:
        """The users' own writes would be limited, too."""
        quota = "sys/quotas/rate-limit/soak"
        self._bao.request("POST", quota, {"rate": RATE, "interval": "1s", "path": "secret/"})
        yield Reach(vault=False)
        self._bao.request("DELETE", quota)

    @contextmanager
    def _on(self, road: Road) -> Generator[Reach]:
        self._road.road = road
        yield Reach()
        self._road.road = Road.GOOD

    @contextmanager
    def _restarted(self) -> Generator[Reach]:
        """With the controllers, so that the garbage collector starts again, too.

        One that goes on and has to list again takes an object that was made again under its old name for the same one,
        and leaves what the first one owned.
        """
        self._cluster.controllers.kill()
        self._cluster.apiserver.kill()
        yield Reach(kubernetes=False)
        self._cluster.start_apiserver()
        wait_until(self._serves_definitions, seconds=READY_WITHIN)
        self._cluster.controllers.start()

    def _serves_definitions(self) -> bool:
        """The storage of a custom kind comes a moment after all else."""
        return self._cluster.serves(f"/apis/{API_VERSION}/secretdefinitions")
