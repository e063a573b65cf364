"""Find the API server as kubectl does, and keep its credentials fresh.

Loading blocks, so it runs in a thread. The loaded token serves the next request, the TLS context the next connection.
Tokens and certificates rotate, so they are reloaded each minute, and refreshed when the server responds with 401.
"""

import logging
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from secrets_manager.config import KubeConfig
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.restconfig import ConfigLoader, RestConfig, kubeconfig_files
from secrets_manager.kube.serviceaccount import SERVICE_ACCOUNT, ServiceAccount, in_cluster
from secrets_manager.net.client import Authorization
from secrets_manager.net.proxy import proxy_for
from secrets_manager.net.tls import Tls

RELOAD_INTERVAL = 60.0
"""Seconds. A service account token may live for ten minutes only, and is rotated well before it expires."""
MIN_REFRESH_INTERVAL = 10.0
"""Seconds between two refreshes, however many requests are unauthorized: each may run a credential plugin."""
LOAD_TIMEOUT = 60.0
"""Seconds. A credential plugin, or a file of a network, that hangs is abandoned in its thread."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """An API server, and what a client needs to connect. `namespace` is that of this process."""

    url: str
    namespace: str
    tls: Tls
    auth: Authorization | None = None
    proxy: str = ""
    impersonation: tuple[tuple[str, str], ...] = ()
    """Impersonation headers, sent with each request."""

    def __repr__(self) -> str:
        return f"Cluster({self.url!r})"


async def find_cluster(
    config: KubeConfig, *, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT
) -> Cluster:
    """Choose the credentials and load them. The variable POD_NAMESPACE wins over the namespace of the context.

    Raises:
        CredentialsError: There are no usable credentials.
    """

    def first_load() -> tuple[ConfigLoader, RestConfig]:
        chosen = choose_loader(config, environ=environ, service_account=service_account)
        return chosen, chosen.load(refresh=True)

    loader, found = await _in_thread(first_load, trio.CapacityLimiter(1))
    tls = Tls(found.context, server_name=found.server_name)
    return Cluster(
        url=found.url,
        namespace=environ.get("POD_NAMESPACE") or found.namespace,
        tls=tls,
        auth=KubeAuthorization(loader, config=found, tls=tls),
        proxy=found.proxy or proxy_for(found.url, environ=environ),
        impersonation=found.impersonation,
    )


def choose_loader(
    config: KubeConfig, *, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT
) -> ConfigLoader:
    """Choose by precedence: the flag, KUBECONFIG, the service account of the pod, ~/.kube/config.

    Raises:
        CredentialsError: None of them exists.
    """
    named = config.kubeconfig or environ.get("KUBECONFIG", "")
    if not named and not config.context and in_cluster(environ, folder=service_account):
        return ServiceAccount(environ, folder=service_account)
    paths = named or f"{environ.get('HOME', '~')}/.kube/config"
    if not any(map(os.path.lexists, kubeconfig_files(paths))):
        raise CredentialsError(
            f"no credentials for Kubernetes: no kubeconfig at {paths}, and no service account of a pod at "
            f"{service_account}; name a kubeconfig by --kubeconfig or KUBECONFIG"
        )
    from secrets_manager.kube.kubeconfig import Kubeconfig  # noqa: PLC0415 - with YAML, of no use in a pod

    return Kubeconfig(paths, context=config.context)


class KubeAuthorization(Authorization):
    """Authorizes requests with the current token, and reloads it when it is old or rejected."""

    def __init__(self, loader: ConfigLoader, *, config: RestConfig, tls: Tls) -> None:
        self._loader = loader
        self._config = config
        self._tls = tls
        self._lock = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)
        self._loaded_at = trio.current_time()
        self._refreshed_at = -math.inf

    async def present(self) -> str:
        await self._reload_if_old()
        return self._config.authorization

    async def renewed(self, refused: str) -> str:
        async with self._lock:
            if (
                self._config.authorization == refused
                and trio.current_time() - self._refreshed_at >= MIN_REFRESH_INTERVAL
            ):
                self._loaded_at = self._refreshed_at = trio.current_time()
                self._set(await self._load(refresh=True))
        return self._config.authorization

    async def _reload_if_old(self) -> None:
        """Reload the credentials; concurrent requests use the current ones meanwhile."""
        if trio.current_time() - self._loaded_at < RELOAD_INTERVAL:
            return
        self._loaded_at = trio.current_time()
        async with self._lock:
            try:
                self._set(await self._load(refresh=False))
            except CredentialsError as error:  # the current ones may still be valid
                log.warning("failed to reload credentials", extra={"fields": {"error": str(error)}})

    async def _load(self, *, refresh: bool) -> RestConfig:
        return await _in_thread(partial(self._loader.load, refresh=refresh), self._limiter)

    def _set(self, config: RestConfig) -> None:
        self._config = config
        self._tls.current = config.context


async def _in_thread(load: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    """Load in a thread. One that hangs is abandoned; `limiter` keeps it the only one.

    Raises:
        CredentialsError: It failed, or took too long.
    """
    with trio.move_on_after(LOAD_TIMEOUT):
        return await trio.to_thread.run_sync(load, abandon_on_cancel=True, limiter=limiter)
    raise CredentialsError(f"loading the Kubernetes credentials took longer than {LOAD_TIMEOUT:g} s")
