"""Leader election on a Lease, by the algorithm of client-go's leaderelection.go.

Clocks of other machines are not trusted: a lease expires by the local monotonic clock, since its record was last
observed to change. There is no fencing: two leaders are kept apart by time, and by the resourceVersion of every write.

    leader sends renewal ──┬── record changes ────────────────── candidate observes it
                           └─ renew_deadline ─> leader stops       └─ duration ─> candidate acquires

So the deadline counts from before the request that renews, and it cancels the controller (kube/deadline.py), which runs
inside `run`. The lease is released after the controller has stopped.

The leader renews with one write at the version of its last write. If that fails, it reads the lease and writes again.
Each write has half of `renew_deadline`, and so has the leader's read; a candidate's read has `duration`. A request that
times out loses its connection, so a candidate on a slow network needs time to connect and to read in one request.
"""

import logging
import math
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec
import trio

from secrets_manager.config import JITTER_FACTOR, LeaseConfig
from secrets_manager.errors import SecretsManagerError
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.deadline import strict_deadline
from secrets_manager.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, Unreachable
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire, micro_time
from secrets_manager.kube.resources import Resource

log = logging.getLogger(__name__)

RELEASE_RETRY_INTERVAL = 0.1
"""Seconds between two attempts to release the lease."""
MAX_REPORTED_ERRORS = 10
"""Different errors that are logged once only."""


class LeadershipLost(SecretsManagerError):
    """The lease was not renewed in time. The controller was cancelled, and the process must exit."""


class LeaseSpec(Wire, frozen=True):
    """The record of the leader. The times are MicroTime, and are not used for decisions."""

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
"""Stands for a Lease that does not exist: an empty record without a version."""


class Elector(Protocol):
    """Decides when the controller runs."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` while this process is the leader.

        Raises:
            LeadershipLost: The lease was not renewed. This, and what `work` raises, may come in an ExceptionGroup.
        """
        ...

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader."""
        ...

    def check(self) -> str:
        """Return an error if the lease has expired while `work` still runs, else an empty text; client-go's Check."""
        ...


class AlwaysLeader:
    """The elector without leader election."""

    def __init__(self) -> None:
        self._leading = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        self._leading = True
        try:
            await work()
        finally:
            self._leading = False

    @property
    def is_leader(self) -> bool:
        return self._leading

    def check(self) -> str:
        return ""


class LeaderElector:
    """A candidate for a lease. `clock` returns the wall clock time for the record."""

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
        self._observed_record = LeaseSpec()
        self._observed_time = -math.inf
        self._last_written: Lease | None = None
        """The response to our last write; None while its outcome is unknown."""
        self._renewed_at = -math.inf
        self._leading = False
        self._reported_leader = ""
        self._reported_errors: set[str] = set()
        """Since the lease was last written, or found to be held by another."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Acquire the lease, run `work` and renew the lease, then release it."""
        await self._acquire()
        log.info("successfully acquired lease", extra={"fields": self._fields()})
        with strict_deadline(self._renew_by) as leadership:
            try:
                self._leading = True
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._renew, leadership)
                    await work()
                    nursery.cancel_scope.cancel("work returned")
            finally:
                self._leading = False
                with trio.move_on_after(self._config.renew_deadline / 2, shield=True) as releasing:
                    await self._release()
                if releasing.cancelled_caught:
                    log.warning("failed to release lease", extra={"fields": self._fields()})
        if leadership.cancelled_caught:
            raise LeadershipLost(
                f"leader election lost: failed to renew lease {self._key} within {self._config.renew_deadline:g} s"
            )

    @property
    def is_leader(self) -> bool:
        return self._leading

    def check(self) -> str:
        if self._leading and trio.current_time() >= self._renewed_at + self._config.duration:
            return f"lease {self._key} expired, but the controller still runs"
        return ""

    async def _acquire(self) -> None:
        log.info("attempting to acquire leader lease", extra={"fields": self._fields()})
        while not await self._try_acquire_or_renew(self._config.duration):
            now, pause = trio.current_time(), self._config.retry_period * self._random.uniform(1, JITTER_FACTOR)
            await trio.sleep_until(self._lease_expiry if now < self._lease_expiry < now + pause else now + pause)

    async def _renew(self, leadership: trio.CancelScope) -> None:
        """Renew every retry period, or as soon as a longer request has ended."""
        started = self._renewed_at
        while True:
            await trio.sleep_until(started + self._config.retry_period)
            started = trio.current_time()
            if await self._try_acquire_or_renew(self._config.renew_deadline / 2):
                leadership.deadline = self._renew_by
            elif self._observed_record.holder_identity not in ("", self._identity):
                raise LeadershipLost(
                    f"leader election lost: lease {self._key} was taken by {self._observed_record.holder_identity}"
                )

    async def _try_acquire_or_renew(self, read_timeout: float) -> bool:
        """Acquire or renew the lease: at the version of our last write or else at the one that is read.

        `read_timeout` is in seconds.
        """
        if self._last_written is not None and await self._update(self._last_written):
            return True
        lease = await self._read(read_timeout)
        return lease is not None and self._can_acquire(lease.spec) and await self._update(lease)

    async def _read(self, read_timeout: float) -> Lease | None:
        """Get the lease: NO_LEASE if it does not exist, None if the request failed."""
        try:
            with _request_timeout(read_timeout):
                lease = await self._client.get(LEASES, self._key)
        except NotFound:
            return NO_LEASE
        except KubeError as error:
            self._log_error(error)
            return None
        self._observe(lease)
        if not self._can_acquire(lease.spec):
            self._reported_errors.clear()
        return lease

    async def _update(self, lease: Lease) -> bool:
        """Write our record. The deadline counts from before the request."""
        started = trio.current_time()
        if not await self._write(lease, self._next_record(lease)):
            return False
        self._renewed_at = started
        return True

    async def _write(self, lease: Lease, record: LeaseSpec | dict[str, object]) -> bool:
        """Write a record if the lease is still at this version. Returns whether that succeeded."""
        self._last_written = None
        try:
            with _request_timeout(self._config.renew_deadline / 2):
                self._last_written = await self._patch_or_create(lease.metadata.resource_version, record)
        except (AlreadyExists, Conflict):
            return False
        except KubeError as error:
            is_new = not lease.metadata.resource_version
            if is_new or not isinstance(error, NotFound):  # for a new lease it is the namespace that is not there
                self._log_error(error)
            return False
        self._observe(self._last_written)
        self._reported_errors.clear()
        return True

    async def _patch_or_create(self, version: str, record: LeaseSpec | dict[str, object]) -> Lease:
        """Send one request. A merge patch keeps unknown fields, and does not recreate a deleted lease."""
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
        if self._observed_record != lease.spec:
            self._observed_record, self._observed_time = lease.spec, trio.current_time()
        holder, known = lease.spec.holder_identity, self._reported_leader
        self._reported_leader = holder
        if holder not in ("", known, self._identity):
            log.info("new leader elected", extra={"fields": {**self._fields(), "holder": holder}})

    @property
    def _lease_expiry(self) -> float:
        """When the lease expires, unless its record changes before."""
        return self._observed_time + self._observed_record.lease_duration_seconds

    @property
    def _renew_by(self) -> float:
        return self._renewed_at + self._config.renew_deadline

    def _can_acquire(self, spec: LeaseSpec) -> bool:
        return spec.holder_identity in ("", self._identity) or trio.current_time() >= self._lease_expiry

    def _next_record(self, lease: Lease) -> LeaseSpec:
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
        """Release the lease, and retry while its record names us: a cancelled renewal may still arrive.

        A lease that can't be read is left to expire.
        """
        lease = self._last_written or await self._read(math.inf)
        while lease is not None and lease.spec.holder_identity == self._identity:
            if await self._write(lease, self._released_record()):
                log.info("released lease", extra={"fields": self._fields()})
                return
            await trio.sleep(RELEASE_RETRY_INTERVAL)
            lease = await self._read(math.inf)

    def _released_record(self) -> dict[str, object]:
        """Return the record that client-go leaves. A struct would omit the empty holder."""
        return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(self._clock())}

    def _log_error(self, error: KubeError) -> None:
        """Log each error once until the lease is well again."""
        text = str(error)
        if text in self._reported_errors:
            return
        log.warning("failed to acquire or renew lease", extra={"fields": {**self._fields(), "error": text}})
        if len(self._reported_errors) == MAX_REPORTED_ERRORS:
            self._reported_errors.clear()
        self._reported_errors.add(text)

    def _fields(self) -> dict[str, str]:
        return {"lease": str(self._key), "identity": self._identity}


def identity() -> str:
    """Return a unique identity: host name and a random part, as users of client-go make it."""
    return f"{socket.gethostname()}_{secrets.token_hex(8)}"


@contextmanager
def _request_timeout(seconds: float) -> Generator[None]:
    """Raises: Unreachable on timeout."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise Unreachable(f"no response within {seconds:g} s")
