"""Leader election on a Lease, by the algorithm of client-go's leaderelection.go.

Other machines' clocks are not trusted: a lease is judged by the time, on our own monotonic clock, since its record last
changed. There is no fencing: two writers are kept apart by time, and by the resourceVersion that every write carries.

    we ask to renew ──┬── the record changes ────────────── others see it change
    term starts anew  │                                     their wait starts anew
                      └─ renew_deadline ─> the term ends      └─ duration ─> they take it

So the term is counted from before the request, and it is a cancel scope around the work: when the clock says so, the
work ends, whatever the renewal waits for. A process that was stopped meanwhile finds that out before its next step.
The lease is released after the work has ended, since the work runs inside of `run`.
"""

import logging
import math
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec
import trio
from trio.abc import Instrument

from secrets_manager.config import JITTER, LeaseConfig
from secrets_manager.errors import SecretsManagerError
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire, micro_time
from secrets_manager.kube.resources import Resource

log = logging.getLogger(__name__)


class LeadershipLost(SecretsManagerError):
    """The lease could not be renewed in time; the work was cancelled, and the process must end."""


class LeaseSpec(Wire, frozen=True):
    """The record that candidates read; times are MicroTime, for people only."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0


class Lease(Wire, frozen=True):
    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: LeaseSpec = LeaseSpec()


LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", msgspec.json.Decoder(Lease).decode)


class Elector(Protocol):
    """Decides when the work may run."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work while in office.

        Raises: LeadershipLost, and what the work raises; possibly in an ExceptionGroup.
        """
        ...


class Unopposed:
    """The elector of a process that has no rivals."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        await work()


class LeaderElector:
    """One candidate for one lease. `clock` gives the wall time for the record."""

    def __init__(
        self,
        client: KubeClient,
        key: ObjectKey,
        config: LeaseConfig,
        *,
        identity: str,
        random: random.Random,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._key = key
        self._config = config
        self._identity = identity
        self._random = random
        self._clock = clock
        self._observed = LeaseSpec()
        self._observed_at = -math.inf
        self._renewed_at = -math.inf
        self._told_of = ""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, work while it is held, release it when the work has ended."""
        await self._acquire()
        log.info("acquired the lease", extra={"fields": self._fields()})
        with _term(self._term_end) as term:
            try:
                async with trio.open_nursery() as leading:
                    leading.start_soon(self._renew, term)
                    await work()
                    leading.cancel_scope.cancel("the work is done")
            finally:
                with trio.move_on_after(self._config.renew_deadline / 2, shield=True):
                    await self._release()
        if term.cancelled_caught:
            raise LeadershipLost(f"the lease {self._key} could not be renewed in {self._config.renew_deadline:g} s")

    async def _acquire(self) -> None:
        log.info("waiting for the lease", extra={"fields": self._fields()})
        while not await self._attempt():
            now, pause = trio.current_time(), self._config.retry_period * self._random.uniform(1, JITTER)
            await trio.sleep_until(self._free_at if now < self._free_at < now + pause else now + pause)

    async def _renew(self, term: trio.CancelScope) -> None:
        while True:
            await trio.sleep(self._config.retry_period)
            if await self._attempt():
                term.deadline = self._term_end
            elif self._observed.holder_identity not in ("", self._identity):
                raise LeadershipLost(f"the lease {self._key} was taken by {self._observed.holder_identity}")

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease; an answer that does not come in time is a no."""
        began = trio.current_time()
        with trio.move_on_after(self._config.renew_deadline / 2):
            try:
                if await self._take_or_renew():
                    self._renewed_at = began
                    return True
            except KubeError as error:
                log.warning("the lease can't be reached", extra={"fields": {**self._fields(), "error": str(error)}})
        return False

    async def _take_or_renew(self) -> bool:
        try:
            lease = await self._client.get(LEASES, self._key)
            self._observe(lease)
            if not self._may_take(lease.spec):
                return False
            self._observe(await self._client.patch(LEASES, self._key, self._claim(lease)))
        except NotFound:
            self._observe(await self._client.create(LEASES, self._key.namespace, self._new()))
        except (Conflict, AlreadyExists):
            return False
        return True

    def _observe(self, lease: Lease) -> None:
        if self._observed != lease.spec:
            self._observed, self._observed_at = lease.spec, trio.current_time()
        holder, known = lease.spec.holder_identity, self._told_of
        self._told_of = holder
        if holder not in ("", known, self._identity):
            log.info("the lease is held", extra={"fields": {**self._fields(), "holder": holder}})

    @property
    def _free_at(self) -> float:
        """When the lease may be taken from whoever holds it, unless its record changes before."""
        return self._observed_at + self._observed.lease_duration_seconds

    @property
    def _term_end(self) -> float:
        return self._renewed_at + self._config.renew_deadline

    def _may_take(self, spec: LeaseSpec) -> bool:
        return spec.holder_identity in ("", self._identity) or trio.current_time() >= self._free_at

    def _record(self, before: LeaseSpec) -> LeaseSpec:
        now = micro_time(self._clock())
        ours = before.holder_identity == self._identity
        return LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=math.ceil(self._config.duration),
            acquire_time=before.acquire_time if ours else now,
            renew_time=now,
            lease_transitions=before.lease_transitions + (0 if ours else 1),
        )

    def _claim(self, lease: Lease) -> dict[str, object]:
        return {
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": self._record(lease.spec),
        }

    def _new(self) -> Lease:
        return Lease(
            api_version="coordination.k8s.io/v1",
            kind="Lease",
            metadata=ObjectMeta(name=self._key.name, namespace=self._key.namespace),
            spec=msgspec.structs.replace(self._record(LeaseSpec()), lease_transitions=0),
        )

    async def _release(self) -> None:
        """Give the lease up, but only if the record still names us: the last renewal may have been cut short."""
        try:
            lease = await self._client.get(LEASES, self._key)
            if lease.spec.holder_identity != self._identity:
                return
            await self._client.patch(LEASES, self._key, self._waiver(lease))
        except KubeError as error:
            log.warning("the lease was not released", extra={"fields": {**self._fields(), "error": str(error)}})
        else:
            log.info("released the lease", extra={"fields": self._fields()})

    def _waiver(self, lease: Lease) -> dict[str, object]:
        return {
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(self._clock())},
        }

    def _fields(self) -> dict[str, str]:
        return {"lease": str(self._key), "identity": self._identity}


@contextmanager
def _term(end: float) -> Iterator[trio.CancelScope]:
    """One term of office: what runs in the block is cancelled at the scope's deadline."""
    with trio.CancelScope(deadline=end) as term:
        watchman = _Watchman(term)
        trio.lowlevel.add_instrument(watchman)
        try:
            yield term
        finally:
            trio.lowlevel.remove_instrument(watchman)


class _Watchman(Instrument):
    """Looks at the clock before each step of any task.

    Trio itself does so only before each batch of steps. A process that is stopped in the middle of a batch goes on with
    the rest of it, and one of those steps could be a write. Costs half a microsecond a step.
    """

    def __init__(self, term: trio.CancelScope) -> None:
        self._term = term
        self._now = trio.lowlevel.current_clock().current_time

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._now() >= self._term.deadline:
            self._term.cancel(f"the term ended before a step of {task.name}")


def identity() -> str:
    """A name that no other process bears: host name and a random part, as client-go's users make it."""
    return f"{socket.gethostname()}_{secrets.token_hex(8)}"
