"""The supervision tree, and nothing else. Nesting is the shutdown order: what is inside stops first.

    process             lives longest
    ├── server          /metrics, /healthz, /readyz
    ├── backend         keeps its token valid
    ├── watch           a reflector for each namespace and kind keeps the stores equal to the cluster
    └── term            one term of office
        ├── signals     SIGTERM or SIGINT ends the term
        └── elector     waits for the lease, works while it is held, releases it
            └── work
                ├── sources    a timer, pollers, listers and a prober of the secret store
                ├── queue      its timer
                ├── events     their sender
                └── workers

A standby has all but the work: taking over costs no login and no list.
"""

import logging
import random
import signal
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import trio
from prometheus_client import CollectorRegistry

from secrets_manager.backends.opening import open_backend
from secrets_manager.config import Config
from secrets_manager.controller.controller import Controller
from secrets_manager.controller.leadership import elector, lease_name
from secrets_manager.kube.client import open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.lease import identity
from secrets_manager.liveness import Liveness
from secrets_manager.metrics import BackendMetrics, ControllerMetrics, KubeMetrics, StoreMetrics, describe_process
from secrets_manager.server import listen, serve

log = logging.getLogger(__name__)


async def run(config: Config) -> None:
    """Run until a signal, or until something ends the process.

    Raises: UsageError, StartError, and whatever made the process end; possibly in an ExceptionGroup.
    """
    registry = CollectorRegistry()
    describe_process(registry, version=version("secrets-manager"))
    me, chance = identity(), random.Random()  # noqa: S311 - spreads load, keeps no secret
    cluster = await find_cluster(config.kube)
    kube = KubeMetrics(registry, url=cluster.url)
    with listen(config.metrics_addr) as listener:
        async with (
            open_client(cluster, count=kube.request) as client,
            open_backend(config, StoreMetrics(registry, config)) as backend,
        ):
            leader = elector(config, client, namespace=cluster.namespace, identity=me, random=chance, clock=utc_now)
            kube.election(lease_name(config.controller.name), leads=lambda: leader.is_leader)
            controller = Controller(
                client,
                backend,
                config.controller,
                ControllerMetrics(registry),
                BackendMetrics(registry),
                identity=me,
                random=chance,
                clock=utc_now,
            )
            liveness = Liveness(leader.check)
            async with trio.open_nursery() as process:
                await process.start(serve, listener, registry, liveness, controller.watches)
                process.start_soon(liveness.supervise, "the upkeep of the backend", backend.maintain)
                process.start_soon(liveness.supervise, "the watch", controller.watches.run)
                async with trio.open_nursery() as term:
                    await term.start(cancel_on_signal, term.cancel_scope)
                    await leader.run(partial(liveness.supervise, "the work", controller.work))
                    term.cancel_scope.cancel("the controller returned")
                log.info("the workers have stopped")
                process.cancel_scope.cancel("the term is over")
    log.info("the server has stopped")


def utc_now() -> datetime:
    return datetime.now(UTC)


async def cancel_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """End the scope at the first SIGTERM or SIGINT; a second one then meets the default handler and kills."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for signum in signals:
            name = signal.Signals(signum).name
            log.info("stopping", extra={"fields": {"signal": name}})
            scope.cancel(f"received {name}")
            return
