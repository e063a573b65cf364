"""The kubelet's probes.

/healthz fails if only a restart helps. /readyz fails until the watches have synced. A namespace that can't be watched
has a line there, but /readyz does not fail while another one can be watched. Neither depends on the backend: an outage
there is no reason to restart the pod or to remove it from the Service.
"""

from collections.abc import Sequence
from typing import Protocol

from secrets_manager.server.message import Response, immediate
from secrets_manager.server.router import Route


class LivenessCheck(Protocol):
    """The source of /healthz."""

    @property
    def failures(self) -> list[str]:
        """Reasons to restart the process, a line each."""
        ...


class ReadinessCheck(Protocol):
    """The source of /readyz."""

    @property
    def unsynced(self) -> list[str]:
        """What has not synced yet, a line each."""
        ...

    @property
    def unwatched(self) -> list[str]:
        """What can't be watched now, a line each."""
        ...


def probes(liveness: LivenessCheck, readiness: ReadinessCheck) -> dict[str, Route]:
    """Return the routes of the probes. They are never guarded: the kubelet has no token for them."""
    return {
        "/healthz": Route(immediate(lambda _: health(liveness)), guarded=False),
        "/readyz": Route(immediate(lambda _: ready(readiness)), guarded=False),
    }


def health(liveness: LivenessCheck) -> Response:
    """Return the response of /healthz."""
    return _check_response(liveness.failures)


def ready(readiness: ReadinessCheck) -> Response:
    """Return the response of /readyz."""
    return _check_response(readiness.unsynced, notes=readiness.unwatched)


def _check_response(faults: list[str], *, notes: Sequence[str] = ()) -> Response:
    lines = [*(faults or ["ok"]), *notes]
    return Response(503 if faults else 200, "".join(f"{line}\n" for line in lines).encode())
