"""Run one replica: the whole program as supervisor.py composes it, without sockets, signals and the file system.

It is started again each time that it ends, as Kubernetes does.
"""

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING
from unittest.mock import patch

import msgspec
import trio
from prometheus_client import CollectorRegistry

from secrets_manager.backends import Backend
from secrets_manager.backends.vault.auth.factory import create_auth_method
from secrets_manager.backends.vault.backend import REQUESTS_PER_READ, VaultBackend
from secrets_manager.backends.vault.client import open_vault_client, vault_certificates
from secrets_manager.backends.vault.engine import create_engine
from secrets_manager.backends.vault.token_manager import TokenManager
from secrets_manager.config import Config, ControllerConfig, VaultConfig
from secrets_manager.controller.controller import Controller, _read_policy
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.kube.client import open_client
from secrets_manager.kube.lease import AlwaysLeader, Elector, LeadershipLost
from secrets_manager.liveness import Liveness
from secrets_manager.metrics import BackendMetrics, ControllerMetrics, KubeMetrics, VaultMetrics
from secrets_manager.supervisor import lease_name, new_elector
from tests.doubles.kube_transport import DOUBLE, virtual_time
from tests.simulation.network import Link
from tests.simulation.pausing import REPLICA
from tests.simulation.properties import Property
from tests.simulation.servers import COMMON, NAMESPACES

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

log = logging.getLogger(__name__)


class Replica:
    """Restarts for ever. Its identity is that of its present process."""

    def __init__(self, simulation: "Simulation", number: int) -> None:
        self.number = number
        self.identity = ""
        self.clock_skew = 0.0
        self.registry = CollectorRegistry()
        self.liveness = Liveness(lambda: "")
        self.leader: Elector = AlwaysLeader()
        self.controller: Controller | None = None
        self.ending = True
        """Whether the process ends or has ended."""
        self._simulation = simulation
        self._starts = 0
        self._balancer = Random(f"{simulation.plan.seed} connections of {number}")
        self._scope = trio.CancelScope()
        self._term = trio.CancelScope()
        self._partitioned_until = 0.0

    async def run(self) -> None:
        """Run process after process."""
        while True:
            await self._run_once()
            await trio.sleep(self._simulation.plan.settings.restart)

    def kill(self) -> None:
        """End the process at once: nothing more of it reaches a server."""
        self.ending = True
        self._simulation.history.note(self.identity, "is killed")
        self.identity = ""
        self._scope.cancel()

    def stop(self) -> None:
        """Ask the process to end."""
        self.ending = True
        self._term.cancel()

    def partition(self, seconds: float) -> None:
        self._partitioned_until = max(self._partitioned_until, trio.current_time() + seconds)

    @property
    def is_partitioned(self) -> bool:
        return trio.current_time() < self._partitioned_until

    async def connected(self) -> None:
        while self.is_partitioned:  # noqa: ASYNC110 - the partition may be prolonged meanwhile
            await trio.sleep_until(self._partitioned_until)

    def samples(self, family: str) -> dict[tuple[str, ...], float]:
        """Return the samples of a metric, by the values of their labels."""
        collected = self.registry._names_to_collectors[family].collect()
        samples = [sample for metric in collected for sample in metric.samples if sample.name == family]
        return {tuple(sample.labels.values()): sample.value for sample in samples}

    def any_server(self) -> int:
        """Return the number of the API server that a request goes to."""
        return self._balancer.randrange(len(self._simulation.plan.settings.api_servers))

    def is_gone(self, life: str) -> bool:
        return life != self.identity

    async def _run_once(self) -> None:
        self._starts += 1
        self.identity = f"replica-{self.number}-{self._starts}"
        REPLICA.set(self.identity)
        self._scope, self._term = trio.CancelScope(), trio.CancelScope()
        self.registry = CollectorRegistry()
        self.ending = False
        self._simulation.history.note(self.identity, "begins")
        try:
            with self._scope:
                await self._process()
        except* LeadershipLost as group:
            self._simulation.on_lost_leadership(self, str(group.exceptions[0]))
        except* Exception as group:
            log.error("the process has ended", exc_info=group)  # noqa: TRY400 - it is one
            self._simulation.fail(Property.NO_EXIT, f"{group.exceptions!r}")
        self.ending = True
        if self.identity:
            self._simulation.history.note(self.identity, "ends")
        self.identity = ""

    async def _process(self) -> None:
        config = configuration(self._simulation)
        random = Random(f"{self._simulation.plan.seed} {self.identity}")
        kube = KubeMetrics(self.registry, url=DOUBLE.url)
        async with (
            open_client(DOUBLE, transport=Link(self._simulation, self, to_vault=False), count=kube.request) as client,
            self._backend(config.vault, random) as backend,
        ):
            self.leader = new_elector(
                config, client, namespace="default", identity=self.identity, random=random, clock=self._clock
            )
            self.controller = controller = Controller(
                client,
                backend,
                config.controller,
                ControllerMetrics(self.registry),
                BackendMetrics(self.registry),
                identity=self.identity,
                random=random,
                clock=self._clock,
            )
            leader = self.leader
            kube.election(lease_name(config.controller.name), leads=lambda: leader.is_leader)
            self.liveness = liveness = Liveness(leader.check)
            async with trio.open_nursery() as process:
                process.start_soon(liveness.supervise, "backend maintenance", backend.maintain)
                process.start_soon(liveness.supervise, "watch", controller.watches.run)
                with self._term:
                    await leader.run(partial(liveness.supervise, "controller", controller.run))
                process.cancel_scope.cancel()

    @asynccontextmanager
    async def _backend(self, config: VaultConfig, random: Random) -> AsyncGenerator[Backend]:
        metrics = VaultMetrics(self.registry, config)
        async with open_vault_client(
            config, transport=Link(self._simulation, self, to_vault=True), record=metrics.request
        ) as client:
            token_manager = TokenManager(client, create_auth_method(config), config, metrics, random=random)
            deadline = REQUESTS_PER_READ * config.timeout
            yield VaultBackend(
                client,
                token_manager,
                create_engine(config.engine),
                metrics,
                vault_certificates(config),
                deadline=deadline,
            )

    def _clock(self) -> datetime:
        return virtual_time() + timedelta(seconds=self.clock_skew)


def configuration(simulation: "Simulation") -> Config:
    settings, credentials = simulation.plan.settings, simulation.vault.credentials
    allowed = ("secret/data/{namespace}/*", f"secret/data/{COMMON}/*") if settings.restricted else ()
    return Config(
        lease=settings.lease,
        vault=VaultConfig(
            url=simulation.vault.state.url,
            role_id=credentials.role_id,
            secret_id=credentials.secret_id,
            token_polling_period=settings.token_polling_period,
        ),
        controller=ControllerConfig(
            reconcile_period=settings.period,
            list_period=settings.list_period,
            workers=settings.workers,
            backend_concurrency=settings.backend_concurrency,
            allowed_paths=allowed,
            watch_namespaces=NAMESPACES if settings.by_namespace else (),
        ),
    )


@contextmanager
def turns(list_batch: int) -> Generator[None]:
    """Let the program list so few folders in a period that they have to take turns."""

    def read_policy(config: ControllerConfig) -> ReadPolicy:
        return msgspec.structs.replace(_read_policy(config), list_batch=list_batch)

    with patch("secrets_manager.controller.controller._read_policy", read_policy):
        yield
