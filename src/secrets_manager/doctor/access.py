"""Check that the API server can be reached, and who this client is to it."""

from datetime import timedelta
from typing import NamedTuple

from secrets_manager.cut import cut
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.clock import Clock, skew_of
from secrets_manager.doctor.finding import MAX_NAME, failure, ok
from secrets_manager.kube.authorization import user_name
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.discovery import server_version
from secrets_manager.kube.errors import ApiError, Unauthorized

CHECK = "kubernetes"
FIX = (
    "check --kubeconfig, --kube-context and KUBECONFIG, the server's address in it, and that network policies allow it"
)
LOGIN_FIX = "renew the credentials in the kubeconfig, or the ServiceAccount's token of the pod"


class ApiServer(NamedTuple):
    """An API server that answers, and by how much its clock is ahead."""

    skew: timedelta | None


async def check(client: KubeClient, clock: Clock) -> Result[ApiServer]:
    """Ask for the version, and for this client's user.

    Raises:
        KubeError: the server can't be reached.
    """
    try:
        server = await server_version(client)
    except Unauthorized as error:
        return Result([failure(CHECK, f"the API server refused the login: {error}", fix=LOGIN_FIX)])
    skew = skew_of(server.date, clock())
    user = await _user(client)
    return Result(
        [ok(CHECK, f"Kubernetes {cut(server.version, MAX_NAME)}{f', as {cut(user, MAX_NAME)}' if user else ''}")],
        ApiServer(skew),
    )


async def _user(client: KubeClient) -> str:
    try:
        return await user_name(client)
    except ApiError:  # before 1.28, or without a login
        return ""
