"""One replica: the whole program, as supervisor.py composes it, short of sockets, signals and the file system.

Kubernetes starts it again each time that it ends.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import httpx
import trio
from prometheus_client import CollectorRegistry

from secrets_manager.backends.base import Backend
from secrets_manager.backends.vault.address import address_of
from secrets_manager.backends.vault.auth.choice import auth_method
from secrets_manager.backends.vault.backend import REQUESTS_OF_A_READ, VaultBackend
from secrets_manager.backends.vault.client import VaultClient, certificates_of
from secrets_manager.backends.vault.engine import engine_of
from secrets_manager.backends.vault.keeper import TokenKeeper
from secrets_manager.backends.vault.node import MAX_BODY
from secrets_manager.config import Config, ControllerConfig, VaultConfig
from secrets_manager.controller.controller import Controller
from secrets_manager.controller.leadership import elector
from secrets_manager.kube.client import JSON, USER_AGENT, KubeClient
from secrets_manager.kube.lease import Elector, LeadershipLost, Unopposed
from secrets_manager.liveness import Liveness
from secrets_manager.metrics import BackendMetrics, ControllerMetrics, VaultMetrics
from secrets_manager.net.transport import Caller, Spread
from tests.doubles.kube_transport import virtual_time
from tests.simulation.pausing import REPLICA
from tests.simulation.promises import Promise
from tests.simulation.road import Road, WatchRoad
from tests.simulation.servers import COMMON, NAMESPACES

if TYPE_CHECKING:
    from tests.simulation.world import World

log = logging.getLogger(__name__)

KUBERNETES = "http://kube"
CALL_TIMEOUT = 10.0


class Replica:
    """Lives again and again. Its identity is that of its present life."""

    def __init__(self, world: "World", number: int) -> None:
        self.number = number
        self.identity = ""
        self.clock_off = 0.0
        self.registry = CollectorRegistry()
        self.liveness = Liveness(lambda: "")
        self.leader: Elector = Unopposed()
        self.controller: Controller | None = None
        self.ending = True
        """Whether it is about to end, and nothing can be asked of it any more."""
        self._world = world
        self._lives = 0
        self._life = trio.CancelScope()
        self._term = trio.CancelScope()
        self._cut_until = 0.0

    async def run(self) -> None:
        """Live for ever."""
        while True:
            await self._live()
            await trio.sleep(self._world.plan.settings.restart)

    # What befalls it

    def kill(self) -> None:
        """End it here and now: nothing more of it reaches anybody."""
        self.ending = True
        self._world.history.note(f"{self.identity} is killed")
        self.identity = ""
        self._life.cancel()

    def stop(self) -> None:
        """Ask it to end."""
        self.ending = True
        self._term.cancel()

    def cut_off(self, seconds: float) -> None:
        self._cut_until = max(self._cut_until, trio.current_time() + seconds)

    @property
    def is_cut_off(self) -> bool:
        return trio.current_time() < self._cut_until

    async def connected(self) -> None:
        while self.is_cut_off:  # noqa: ASYNC110 - it may be prolonged meanwhile
            await trio.sleep_until(self._cut_until)

    def samples(self, family: str) -> dict[tuple[str, ...], float]:
        """Those of a metric, by the texts of their labels."""
        collected = self.registry._names_to_collectors[family].collect()
        samples = [sample for metric in collected for sample in metric.samples if sample.name == family]
        return {tuple(sample.labels.values()): sample.value for sample in samples}

    def is_dead(self, life: str) -> bool:
        return life != self.identity

    # Its life

    async def _live(self) -> None:
        self._lives += 1
        self.identity = f"replica-{self.number}-{self._lives}"
        REPLICA.set(self.identity)
        self._life, self._term = trio.CancelScope(), trio.CancelScope()
        self.registry = CollectorRegistry()
        self.ending = False
        self._world.history.note(f"{self.identity} begins")
        try:
            with self._life:
                await self._process()
        except* LeadershipLost as group:
            self._world.lost_leadership(self, str(group.exceptions[0]))
        except* Exception as group:
            log.error("the process has ended", exc_info=group)  # noqa: TRY400 - it is one
            self._world.fail(Promise.LIFE, f"{group.exceptions!r}")
        self.ending = True
        if self.identity:
            self._world.history.note(f"{self.identity} ends")
        self.identity = ""

    async def _process(self) -> None:
        config = configuration(self._world)
        chance = Random(f"{self._world.plan.seed} {self.identity}")
        async with self._client() as client, self._backend(config.vault, chance) as backend:
            self.leader = elector(
                config, client, namespace="default", identity=self.identity, random=chance, clock=self._clock
            )
            self.controller = controller = Controller(
                client,
                backend,
                config.controller,
                ControllerMetrics(self.registry),
                BackendMetrics(self.registry),
                identity=self.identity,
                random=chance,
                clock=self._clock,
            )
            leader = self.leader
            self.liveness = liveness = Liveness(lambda: leader.expired)
            async with trio.open_nursery() as process:
                process.start_soon(liveness.supervise, "the upkeep of the backend", backend.maintain)
                process.start_soon(liveness.supervise, "the watch", controller.watches.run)
                with self._term:
                    await leader.run(partial(liveness.supervise, "the work", controller.work))
                process.cancel_scope.cancel()

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[KubeClient]:
        headers = [("Accept", JSON), ("User-Agent", USER_AGENT)]
        async with (
            aclosing(Spread(lambda: Road(self._world, self, to_vault=False))) as spread,
            httpx.AsyncClient(
                transport=WatchRoad(self._world, self), base_url=KUBERNETES, timeout=CALL_TIMEOUT, trust_env=False
            ) as watches,
        ):
            yield KubeClient(Caller(spread, base_url=KUBERNETES, headers=headers, timeout=CALL_TIMEOUT), watches)

    @asynccontextmanager
    async def _backend(self, config: VaultConfig, chance: Random) -> AsyncIterator[Backend]:
        metrics = VaultMetrics(self.registry, config)

        def roads(_: object) -> Spread:
            return Spread(lambda: Road(self._world, self, to_vault=True), within=config.timeout, max_body=MAX_BODY)

        async with aclosing(VaultClient(address_of(config.url), roads, count=metrics.request)) as client:
            keeper = TokenKeeper(client, auth_method(config), config, metrics, random=chance)
            within = REQUESTS_OF_A_READ * config.timeout
            yield VaultBackend(
                client, keeper, engine_of(config.engine), metrics, certificates_of(config), within=within
            )

    def _clock(self) -> datetime:
        return virtual_time() + timedelta(seconds=self.clock_off)


def configuration(world: "World") -> Config:
    settings, credentials = world.plan.settings, world.vault.credentials
    allowed = ("secret/data/{namespace}/*", f"secret/data/{COMMON}/*") if settings.restricted else ()
    return Config(
        lease=settings.lease,
        vault=VaultConfig(url=world.vault.state.url, role_id=credentials.role_id, secret_id=credentials.secret_id),
        controller=ControllerConfig(
            reconcile_period=settings.period,
            list_period=settings.list_period,
            workers=settings.workers,
            allowed_paths=allowed,
            watch_namespaces=NAMESPACES if settings.by_namespace else (),
        ),
    )
