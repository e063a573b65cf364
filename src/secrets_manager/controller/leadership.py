"""Which lease makes a process the one that writes.

The default name is that of the Go original, so that old and new exclude each other during a hand-over. An installation
with a name of its own has a lease of its own, so that two of them in one namespace don't block each other.
"""

import random
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from secrets_manager.config import Config, ControllerConfig
from secrets_manager.controller.definition import GROUP
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.lease import AlwaysLeader, Elector, LeaderElector
from secrets_manager.kube.objects import ObjectKey

_NAME_OF_THE_ORIGINAL = "5ac9a181"


def lease_name(controller_name: str) -> str:
    """The name of the Lease for this `controller-name`."""
    default = controller_name == ControllerConfig().name
    prefix = _NAME_OF_THE_ORIGINAL if default else sha256(controller_name.encode()).hexdigest()[:8]
    return f"{prefix}.{GROUP}"


def elector(
    config: Config,
    client: KubeClient,
    *,
    namespace: str,
    identity: str,
    random: random.Random,
    clock: Callable[[], datetime],
) -> Elector:
    """Who decides when this process works. `namespace` is the Lease's unless the configuration names another."""
    if not config.lease.enabled:
        return AlwaysLeader()
    key = ObjectKey(config.lease.namespace or namespace, lease_name(config.controller.name))
    return LeaderElector(client.with_own_throttle(), key, config.lease, identity=identity, random=random, clock=clock)
