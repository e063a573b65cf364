"""Find the API server as kubectl does, and keep its credentials fresh.

Loading blocks, so it runs in a thread. The loaded token serves the next request, the TLS context the next connection.
Tokens and certificates rotate, so they are reloaded each minute, and refreshed when the server responds with 401.
"""

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
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
"""Seconds from the end of a refresh to the next, however many requests are unauthorized: each may run a plugin."""
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


class _Load:
    """A load under way. It goes on when those who wait for it give up."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._error: Exception | None = None

    def end(self, error: Exception | None) -> None:
        self._error = error
        self._done.set()

    async def wait(self) -> None:
        """Raises: CredentialsError."""
        await self._done.wait()
        if self._error is not None:
            raise self._error


class KubeAuthorization(Authorization):
    """Authorizes requests with the current token, and reloads it when it is old or rejected.

    One load runs at a time. It outlives the request that started it, whose deadline may be shorter than a credential
    plugin takes: the next requests wait for it, or use its result.
    """

    def __init__(self, loader: ConfigLoader, *, config: RestConfig, tls: Tls) -> None:
        self._loader = loader
        self._config = config
        self._tls = tls
        self._limiter = trio.CapacityLimiter(1)
        self._loading: _Load | None = None
        self._loaded_at = trio.current_time()
        self._refreshed_at = -math.inf

    async def present(self) -> str:
        await self._reload_if_old()
        return self._config.authorization

    async def renewed(self, refused: str) -> str:
        while self._config.authorization == refused and (loading := self._loading or self._start_refresh()):
            await loading.wait()
        return self._config.authorization

    async def _reload_if_old(self) -> None:
        """Reload the credentials; concurrent requests use the current ones meanwhile, which may still be valid."""
        if trio.current_time() - self._loaded_at < RELOAD_INTERVAL:
            return
        self._loaded_at = trio.current_time()
        with suppress(CredentialsError):
            await (self._loading or self._start(refresh=False)).wait()

    def _start_refresh(self) -> _Load | None:
        """Start a refresh, unless the last one was a short while ago."""
        if trio.current_time() - self._refreshed_at < MIN_REFRESH_INTERVAL:
            return None
        self._loaded_at = trio.current_time()
        return self._start(refresh=True)

    def _start(self, *, refresh: bool) -> _Load:
        self._loading = _Load()
        trio.lowlevel.spawn_system_task(self._load, self._loading, refresh)
        return self._loading

    async def _load(self, loading: _Load, refresh: bool) -> None:  # noqa: FBT001 - a task has no keyword arguments
        try:
            self._set(await _in_thread(partial(self._loader.load, refresh=refresh), self._limiter))
        except CredentialsError as error:
            if not refresh:
                log.warning("failed to reload credentials", extra={"fields": {"error": str(error)}})
            loading.end(error)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            loading.end(error)
        else:
            loading.end(None)
        finally:
            self._loading = None
            if refresh:
                self._refreshed_at = trio.current_time()  # a plugin may take longer than the interval

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
