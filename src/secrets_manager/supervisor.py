"""The supervision tree, and nothing else. Nesting is the shutdown order: what is inside stops first.

    process             lives longest
    ├── server          /metrics, the probes, the status page
    ├── backend         keeps its token valid
    ├── watches         a reflector for each namespace and kind
    └── election
        ├── signals     SIGTERM or SIGINT cancels the election
        └── elector     acquires the lease, renews it, releases it
            └── controller
                ├── sources    timer, pollers, retriers, listers, prober and resolver of doubts of the secret store
                ├── queue      timer of delayed keys
                ├── events     sender
                ├── restarter  of workloads whose Secrets have changed
                └── workers

A standby runs everything but the controller, so a takeover needs no login and no list.
"""

import logging
import random
import secrets
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import version

import trio

from secrets_manager.access.gate import TokenGate
from secrets_manager.access.reviews import KubeReviewer
from secrets_manager.backends.factory import open_backend
from secrets_manager.config import Config, ControllerConfig, ServerConfig
from secrets_manager.controller.controller import Controller
from secrets_manager.controller.rules import GROUP
from secrets_manager.errors import UsageError
from secrets_manager.kube.client import KubeClient, open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.lease import AlwaysLeader, Elector, LeaderElector, identity
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.liveness import Liveness
from secrets_manager.metrics import (
    BackendMetrics,
    BackendMetricsFactory,
    ControllerMetrics,
    KubeMetrics,
    Registry,
    register_process_metrics,
)
from secrets_manager.net.serving import ServingCertificate
from secrets_manager.net.tls import UnusableFile
from secrets_manager.server.connections import serve
from secrets_manager.server.listener import listen
from secrets_manager.server.metrics import metrics
from secrets_manager.server.probes import probes
from secrets_manager.server.router import Route, Router
from secrets_manager.statuspage.collect import Collector, Process
from secrets_manager.statuspage.routes import status_page

ORIGINAL_LEASE_PREFIX = "5ac9a181"
"""Prefix of the Lease of the Go original 2.x: it and this program exclude each other during a migration."""

log = logging.getLogger(__name__)


async def run(config: Config) -> None:
    """Run until a signal or a failure.

    Raises:
        UsageError, StartError: A wrong configuration.
        LeadershipLost: The lease was lost.
        ExceptionGroup: Of these, or of an unexpected error.
    """
    registry = Registry()
    register_process_metrics(registry, version=version("secrets-manager"))
    me, rng = identity(), random.Random()  # noqa: S311 - for jitter, not for secrets
    cluster = await find_cluster(config.kube)
    kube = KubeMetrics(registry, url=cluster.url)
    certificate = await load_certificate(config.server)
    with listening(config.server) as listeners:
        async with (
            open_client(cluster, count=kube.request) as client,
            open_backend(config, BackendMetricsFactory(registry, config)) as backend,
        ):
            leader = new_elector(config, client, namespace=cluster.namespace, identity=me, random=rng, clock=utc_now)
            kube.election(lease_name(config.controller.name), leads=lambda: leader.is_leader)
            controller = Controller(
                client,
                backend,
                config.controller,
                ControllerMetrics(registry, per_object=config.metrics_per_object),
                BackendMetrics(registry),
                identity=me,
                random=rng,
                clock=utc_now,
            )
            liveness = Liveness(leader.check)
            async with trio.open_nursery() as process:
                probe_routes = probes(liveness, controller.watches)
                routes = metrics(registry)
                if config.server.status_page:
                    about = Process(
                        identity=me,
                        version=version("secrets-manager"),
                        backend=config.backend,
                        is_leader=lambda: leader.is_leader,
                        login=lambda: backend.login,
                        clock=utc_now,
                    )
                    routes |= status_page(Collector(controller.view, about))
                await process.start(
                    serve_all, listeners, certificate, routes, probe_routes, new_gate(config.server, client)
                )
                process.start_soon(liveness.supervise, "backend maintenance", backend.maintain)
                process.start_soon(liveness.supervise, "watch", controller.watches.run)
                async with trio.open_nursery() as election:
                    await election.start(cancel_on_signal, election.cancel_scope)
                    await leader.run(partial(liveness.supervise, "controller", controller.run))
                    election.cancel_scope.cancel("the controller returned")
                log.info("workers stopped")
                process.cancel_scope.cancel("the election ended")
    log.info("server stopped")


Listeners = tuple[socket.socket | None, socket.socket | None]
"""Of the metrics unless they are off, and of the probes if they have an address of their own."""


@contextmanager
def listening(config: ServerConfig) -> Generator[Listeners]:
    """Listen at the addresses. Raises: StartError."""
    with (
        _listening(config.metrics_addr, flag="metrics-addr") as metrics_listener,
        _listening(config.health_probe_addr, flag="health-probe-addr") as probe_listener,
    ):
        yield metrics_listener, probe_listener


def _listening(address: str, *, flag: str) -> AbstractContextManager[socket.socket | None]:
    return listen(address, flag=flag) if address else nullcontext()


async def load_certificate(config: ServerConfig) -> ServingCertificate | None:
    """Load the certificate of the metrics, if there is one. Raises: UsageError."""
    if not config.tls_cert_file:
        return None
    certificate = ServingCertificate(config.tls_cert_file, config.tls_key_file)
    try:
        await certificate.load()
    except UnusableFile as error:
        raise UsageError(f"metrics-tls-cert-file: {error}") from None
    return certificate


def new_gate(config: ServerConfig, client: KubeClient) -> TokenGate | None:
    """Return the gate in front of the metrics and the status page, if it is configured."""
    return TokenGate(KubeReviewer(client.with_own_throttle()), key=secrets.token_bytes(64)) if config.auth else None


async def serve_all(
    listeners: Listeners,
    certificate: ServingCertificate | None,
    routes: dict[str, Route],
    probe_routes: dict[str, Route],
    gate: TokenGate | None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started when connections are accepted."""
    metrics_listener, probe_listener = listeners
    async with trio.open_nursery() as nursery:
        if probe_listener is None:
            routes = routes | probe_routes
        else:
            await nursery.start(serve, probe_listener, Router(probe_routes))
        if metrics_listener is not None:
            tls = None if certificate is None else certificate.context
            await nursery.start(partial(serve, metrics_listener, Router(routes, gate=gate), tls=tls))
        if certificate is not None:
            nursery.start_soon(certificate.keep_fresh)
        task_status.started()


def new_elector(
    config: Config,
    client: KubeClient,
    *,
    namespace: str,
    identity: str,
    random: random.Random,
    clock: Callable[[], datetime],
) -> Elector:
    """Return the elector of this process. `namespace` is the Lease's unless the configuration names another."""
    if not config.lease.enabled:
        return AlwaysLeader()
    key = ObjectKey(config.lease.namespace or namespace, lease_name(config.controller.name))
    return LeaderElector(client.with_own_throttle(), key, config.lease, identity=identity, random=random, clock=clock)


def lease_name(controller_name: str) -> str:
    """Return the name of the Lease for this `controller-name`, so that two installations don't block each other."""
    default = controller_name == ControllerConfig().name
    prefix = ORIGINAL_LEASE_PREFIX if default else sha256(controller_name.encode()).hexdigest()[:8]
    return f"{prefix}.{GROUP}"


def utc_now() -> datetime:
    return datetime.now(UTC)


async def cancel_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Cancel the scope at the first SIGTERM or SIGINT. A second one ends the process at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for signum in signals:
            name = signal.Signals(signum).name
            log.info("stopping", extra={"fields": {"signal": name}})
            scope.cancel(f"received {name}")
            return
