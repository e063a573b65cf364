"""Check that a replica leads: the Lease has a holder who renews it."""

from datetime import datetime, timedelta

from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, failure, ok
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import NotFound
from secrets_manager.kube.lease import LEASES, LeaseSpec
from secrets_manager.kube.objects import ObjectKey

CHECK = "leader"
FIX = "look at the pods of the Deployment and their logs; check --controller-name and --leader-election-namespace"


async def check(client: KubeClient, key: ObjectKey, *, now: datetime) -> Result[None]:
    """Get the Lease. `now` is the time of the machines that renew it.

    Raises:
        KubeError: it can't be read.
    """
    try:
        lease = await client.get(LEASES, key)
    except NotFound:
        return Result([failure(CHECK, f"there is no Lease {key}: no replica has ever led", fix=FIX)])
    return Result([judge(key, lease.spec, now)])


def judge(key: ObjectKey, record: LeaseSpec, now: datetime) -> Finding:
    """Return the finding about a Lease."""
    holder = record.holder_identity
    if not holder:
        return failure(CHECK, f"no replica leads: Lease {key} was released", fix=FIX)
    age = _age(record.renew_time, now)
    if age is None:
        return failure(CHECK, f"no replica leads: Lease {key} was never renewed", fix=FIX)
    if age > timedelta(seconds=record.lease_duration_seconds):
        return failure(CHECK, f"no replica leads: {holder} renewed Lease {key} last {_seconds(age)} s ago", fix=FIX)
    since = _age(record.acquire_time, now)
    for_ = "" if since is None else f" for {_seconds(since)} s"
    return ok(CHECK, f"{holder} leads{for_}, and renewed Lease {key} {_seconds(age)} s ago")


def _age(time: str | None, now: datetime) -> timedelta | None:
    try:
        return now - datetime.fromisoformat(time or "")
    except (ValueError, TypeError):
        return None


def _seconds(age: timedelta) -> str:
    return f"{max(0.0, age.total_seconds()):.0f}"
