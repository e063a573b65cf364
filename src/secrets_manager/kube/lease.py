"""Leader election on a Lease, by the algorithm of client-go's leaderelection.go.

Other machines' clocks are not trusted: a lease is judged by the time, on our own monotonic clock, since its record last
changed. There is no fencing: two writers are kept apart by time, and by the resourceVersion that every write carries.

    we ask to renew ──┬── the record changes ────────────── others see it change
    term starts anew  │                                     their wait starts anew
                      └─ renew_deadline ─> the term ends      └─ duration ─> they take it

So the term is counted from before the request that renews, and it is a cancel scope around the work (kube/term.py). The
lease is released after the work has ended, since the work runs inside of `run`.

The leader renews by one write at the version that its last one left. Where that fails, it reads the lease, and writes
again. Each write has half of `renew_deadline`, and so has the leader's read; a candidate's read has all of `duration`.
A request that is given up takes its connection with it, and the next one has to connect first. So on a slow road a
candidate needs the time to connect and to read at once; from then on the connection is there.
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

from secrets_manager.config import JITTER, LeaseConfig
from secrets_manager.errors import SecretsManagerError
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, Unreachable
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire, micro_time
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.term import term_until

log = logging.getLogger(__name__)

RELEASE_PAUSE = 0.1
"""Seconds between two tries to release the lease."""


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
NO_LEASE = Lease(api_version=LEASES.api_version, kind=LEASES.kind, metadata=ObjectMeta())
"""What a read finds where there is none: an empty record, and no version."""


class Elector(Protocol):
    """Decides when the work may run."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work while in office.

        Raises: LeadershipLost, and what the work raises; possibly in an ExceptionGroup.
        """
        ...

    @property
    def leads(self) -> bool:
        """Whether the work goes on."""
        ...

    @property
    def expired(self) -> str:
        """Why /healthz must fail: the lease has expired, and the work goes on; else empty. client-go's `Check`."""
        ...


class Unopposed:
    """The elector of a process that has no rivals."""

    def __init__(self) -> None:
        self._working = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        self._working = True
        try:
            await work()
        finally:
            self._working = False

    @property
    def leads(self) -> bool:
        return self._working

    @property
    def expired(self) -> str:
        return ""


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
        self._known: Lease | None = None
        """The lease as our last write left it; None while that is uncertain."""
        self._renewed_at = -math.inf
        self._working = False
        self._told_of = ""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, work while it is held, release it when the work has ended."""
        await self._acquire()
        log.info("acquired the lease", extra={"fields": self._fields()})
        with term_until(self._term_end) as term:
            try:
                self._working = True
                async with trio.open_nursery() as leading:
                    leading.start_soon(self._renew, term)
                    await work()
                    leading.cancel_scope.cancel("the work is done")
            finally:
                self._working = False
                with trio.move_on_after(self._config.renew_deadline / 2, shield=True) as releasing:
                    await self._release()
                if releasing.cancelled_caught:
                    log.warning("the lease was not released", extra={"fields": self._fields()})
        if term.cancelled_caught:
            raise LeadershipLost(f"the lease {self._key} could not be renewed in {self._config.renew_deadline:g} s")

    @property
    def leads(self) -> bool:
        return self._working

    @property
    def expired(self) -> str:
        if self._working and trio.current_time() >= self._renewed_at + self._config.duration:
            return f"the lease {self._key} has expired, and the work goes on"
        return ""

    async def _acquire(self) -> None:
        log.info("waiting for the lease", extra={"fields": self._fields()})
        while not await self._attempt(self._config.duration):
            now, pause = trio.current_time(), self._config.retry_period * self._random.uniform(1, JITTER)
            await trio.sleep_until(self._free_at if now < self._free_at < now + pause else now + pause)

    async def _renew(self, term: trio.CancelScope) -> None:
        """Write every retry period; where a request takes longer than that, as soon as it is answered."""
        began = self._renewed_at
        while True:
            await trio.sleep_until(began + self._config.retry_period)
            began = trio.current_time()
            if await self._attempt(self._config.renew_deadline / 2):
                term.deadline = self._term_end
            elif self._observed.holder_identity not in ("", self._identity):
                raise LeadershipLost(f"the lease {self._key} was taken by {self._observed.holder_identity}")

    async def _attempt(self, patience: float) -> bool:
        """Take or renew the lease: at the version that is known or, failing that, at the one that is read.

        `patience` is the time that the read has.
        """
        if self._known is not None and await self._claim(self._known):
            return True
        lease = await self._read(patience)
        return lease is not None and self._may_take(lease.spec) and await self._claim(lease)

    async def _read(self, patience: float) -> Lease | None:
        """The lease as it is, without a version if there is none. None: that can't be learnt now."""
        try:
            with _answered_within(patience):
                lease = await self._client.get(LEASES, self._key)
        except NotFound:
            return NO_LEASE
        except KubeError as error:
            self._warn(error)
            return None
        self._observe(lease)
        return lease

    async def _claim(self, lease: Lease) -> bool:
        """Write our record. The term is counted from before the request."""
        began = trio.current_time()
        if not await self._write(lease, self._record(lease)):
            return False
        self._renewed_at = began
        return True

    async def _write(self, lease: Lease, record: LeaseSpec | dict[str, object]) -> bool:
        """Write a record into the lease if it is still at this version."""
        self._known = None
        try:
            with _answered_within(self._config.renew_deadline / 2):
                self._known = await self._put(lease.metadata.resource_version, record)
        except (AlreadyExists, Conflict, NotFound):
            return False
        except KubeError as error:
            self._warn(error)
            return False
        self._observe(self._known)
        return True

    async def _put(self, version: str, record: LeaseSpec | dict[str, object]) -> Lease:
        """One request. A merge patch keeps fields that we don't know, and never makes a lease that is gone."""
        if version:
            patch = {"metadata": {"resourceVersion": version}, "spec": record}
            return await self._client.patch(LEASES, self._key, patch)
        new = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "spec": record,
        }
        return await self._client.create(LEASES, self._key.namespace, new)

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

    def _record(self, lease: Lease) -> LeaseSpec:
        before, now = lease.spec, micro_time(self._clock())
        ours, new = before.holder_identity == self._identity, not lease.metadata.resource_version
        return LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=math.ceil(self._config.duration),
            acquire_time=before.acquire_time if ours else now,
            renew_time=now,
            lease_transitions=before.lease_transitions + (0 if ours or new else 1),
        )

    async def _release(self) -> None:
        """Give the lease up while its record names us: again, where a renewal that was cut off landed meanwhile.

        A lease that can't be read is left to expire.
        """
        lease = self._known or await self._read(math.inf)
        while lease is not None and lease.spec.holder_identity == self._identity:
            if await self._write(lease, self._vacancy()):
                log.info("released the lease", extra={"fields": self._fields()})
                return
            await trio.sleep(RELEASE_PAUSE)
            lease = await self._read(math.inf)

    def _vacancy(self) -> dict[str, object]:
        """The record that client-go leaves: with an empty holder, which a struct would leave out."""
        return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(self._clock())}

    def _warn(self, error: KubeError) -> None:
        log.warning("the lease can't be reached", extra={"fields": {**self._fields(), "error": str(error)}})

    def _fields(self) -> dict[str, str]:
        return {"lease": str(self._key), "identity": self._identity}


def identity() -> str:
    """A name that no other process bears: host name and a random part, as client-go's users make it."""
    return f"{socket.gethostname()}_{secrets.token_hex(8)}"


@contextmanager
def _answered_within(seconds: float) -> Iterator[None]:
    """Raises: Unreachable."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise Unreachable(f"no answer within {seconds:g} s")
