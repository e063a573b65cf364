"""Finds the Kubernetes API as kubectl does, and keeps a client logged in there.

Looking at credentials blocks, so it happens in a thread. What a look brought is used from then on: its token for the
next request, its TLS context for the next connection. Tokens and certificates rotate, so there is another look each
minute, and a thorough one when the server answers 401.
"""

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio

from secrets_manager.config import KubeConfig
from secrets_manager.kube.access import Access, Source, kubeconfig_files
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.serviceaccount import SERVICE_ACCOUNT, ServiceAccount, in_pod
from secrets_manager.net.client import Authorization
from secrets_manager.net.proxy import proxy_for
from secrets_manager.net.tls import Tls

LOOK_AGAIN_AFTER = 60.0
"""Seconds. A service account's token may live for as little as ten minutes, and is replaced well before its end."""
THOROUGH_AFTER = 10.0
"""Seconds between two thorough looks, however many requests are refused: each may run a login plugin."""
LOOK_WITHIN = 60.0
"""Seconds for one look. A login plugin that hangs is left behind in its thread."""

log = logging.getLogger(__name__)


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """An API server, and what a client needs to talk to it. `namespace` is the process's own."""

    url: str
    namespace: str
    tls: Tls
    auth: Authorization | None = None
    proxy: str = ""
    impersonation: tuple[tuple[str, str], ...] = ()
    """Headers that go with each request, and ask the API server to take us for somebody else."""

    def __repr__(self) -> str:
        return f"Cluster({self.url!r})"


async def find_cluster(
    config: KubeConfig, *, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT
) -> Cluster:
    """Choose the credentials, and take the first look at them.

    The namespace is that of the variable POD_NAMESPACE, or else the login's own.
    Raises: CredentialsError.
    """
    source = choose(config, environ=environ, service_account=service_account)
    access = await _look(source, thorough=True)
    tls = Tls(access.context, server_name=access.server_name)
    return Cluster(
        url=access.url,
        namespace=environ.get("POD_NAMESPACE") or access.namespace,
        tls=tls,
        auth=Login(source, access=access, tls=tls),
        proxy=access.proxy or proxy_for(access.url, environ=environ),
        impersonation=access.impersonation,
    )


def choose(config: KubeConfig, *, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Source:
    """A flag wins over KUBECONFIG, this over a pod's service account, and this over ~/.kube/config.

    What reads a kubeconfig is imported only for one: it is of no use in a pod.
    Raises: CredentialsError where none of them is there.
    """
    named = config.kubeconfig or environ.get("KUBECONFIG", "")
    if not named and not config.context and in_pod(environ, folder=service_account):
        return ServiceAccount(environ, folder=service_account)
    paths = named or f"{environ.get('HOME', '~')}/.kube/config"
    if not any(map(os.path.lexists, kubeconfig_files(paths))):
        raise CredentialsError(
            f"no credentials for Kubernetes: no kubeconfig at {paths}, and no service account of a pod at "
            f"{service_account}; name a kubeconfig by --kubeconfig or KUBECONFIG"
        )
    from secrets_manager.kube.kubeconfig import Kubeconfig  # noqa: PLC0415 - with YAML, for one alone

    return Kubeconfig(paths, context=config.context)


class Login(Authorization):
    """Puts the present token on each request, and looks for another one when it is old or refused."""

    def __init__(self, source: Source, *, access: Access, tls: Tls) -> None:
        self._source = source
        self._access = access
        self._tls = tls
        self._lock = trio.Lock()
        self._looked_at = trio.current_time()
        self._thorough_at = -math.inf

    async def present(self) -> str:
        await self._renew_if_old()
        return self._access.authorization

    async def renewed(self, refused: str) -> str:
        async with self._lock:
            if self._access.authorization == refused and trio.current_time() - self._thorough_at >= THOROUGH_AFTER:
                self._looked_at = self._thorough_at = trio.current_time()
                self._use(await _look(self._source, thorough=True))
        return self._access.authorization

    async def _renew_if_old(self) -> None:
        """Other requests go on with what is known meanwhile."""
        if trio.current_time() - self._looked_at < LOOK_AGAIN_AFTER:
            return
        self._looked_at = trio.current_time()
        async with self._lock:
            try:
                self._use(await _look(self._source, thorough=False))
            except CredentialsError as error:  # what is known may do for a while: the server is to judge
                log.warning("credentials can't be renewed", extra={"fields": {"error": str(error)}})

    def _use(self, access: Access) -> None:
        self._access = access
        self._tls.current = access.context


async def _look(source: Source, *, thorough: bool) -> Access:
    with trio.move_on_after(LOOK_WITHIN):
        return await trio.to_thread.run_sync(lambda: source.look(thorough=thorough), abandon_on_cancel=True)
    raise CredentialsError(f"the login to Kubernetes takes longer than {LOOK_WITHIN:g} s")
