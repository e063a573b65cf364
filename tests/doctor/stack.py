"""An installation on doubles in virtual time, with nothing wrong until a test plants a fault."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.utils import format_datetime

import httpx
import msgspec
import trio

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Object, mapping, parse, text
from secrets_manager.config import Config, ControllerConfig, LeaseConfig, Setting, VaultConfig
from secrets_manager.doctor import configuration, kubernetes, vault
from secrets_manager.doctor.checkup import Checkup
from secrets_manager.doctor.finding import Finding, State
from secrets_manager.kube.client import open_client
from secrets_manager.kube.objects import micro_time
from tests.definitions import CRD
from tests.doubles.faults import Faults, on_path
from tests.doubles.kube_transport import DOUBLE, KubeTransport, administrator, virtual_time
from tests.doubles.vault import VaultState, VaultTransport

HOME = "secrets-manager"
NAMESPACES = ("shop", "bank")
LEASE = "5ac9a181.secrets-manager.tuenti.io"
ROLE = "doctor"
URL = "https://vault.test:8200"
VALUE = "canary-value-91c2"

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Dated(httpx.AsyncBaseTransport):
    """Adds the header Date, of a clock that is ahead of this machine's."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.ahead = timedelta()
        self.date = ""
        """In place of the clock's."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        response.headers["Date"] = self.date or format_datetime(virtual_time() + self.ahead, usegmt=True)
        return response


class Stack:
    """The servers, and the configuration of a controller that uses them."""

    def __init__(self) -> None:
        self.cluster = Cluster(now=virtual_time, crds=(CRD,))
        self.user = administrator(self.cluster)
        self.denied: set[tuple[str, str]] = set()
        """Namespace and right, such as `patch secrets`."""
        self.kube_faults = Faults(KubeTransport(self.cluster))
        self.kube = Dated(self.kube_faults)
        self.kube_faults.always(self._review, when=on_path(ends="/selfsubjectaccessreviews"))
        self.vault = VaultState()
        self.vault_faults = Faults(VaultTransport(self.vault))
        self.network = Dated(self.vault_faults)
        self.allow("secret/data/shop/*", "secret/detailed-metadata/shop/*")
        credentials = self.vault.approle(ROLE, policies=(ROLE,))
        self.config = Config(
            vault=VaultConfig(
                url="https://vault.test:8200", role_id=credentials.role_id, secret_id=credentials.secret_id
            ),
            controller=ControllerConfig(watch_namespaces=NAMESPACES),
            lease=LeaseConfig(enabled=True),
        )
        self.settings: list[Setting] = []
        self.may_log_in = True
        self.progress: list[str] = []
        for name in (HOME, *NAMESPACES):
            self.user.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.define("db", "secret/data/shop/db")
        self.hold_lease("pod-1_abc")

    def configure(self, **changes: object) -> None:
        """Change the configuration of Vault."""
        self.config = msgspec.structs.replace(self.config, vault=msgspec.structs.replace(self.config.vault, **changes))

    def allow(self, *paths: str) -> None:
        """Give the role a policy for these paths, in place of the one it has."""
        self.vault.policy(ROLE, *paths)

    def define(self, name: str, path: str, **spec: object) -> None:
        """Make a definition in the namespace shop, and its secret."""
        self.vault.write_kv(path, {"password": VALUE})
        body = {
            "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
            "kind": "SecretDefinition",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"name": name, "keysMap": {"password": {"path": path, "key": "password"}}, **spec},
        }
        self.user.create(parse(msgspec.json.encode(body)))

    def hold_lease(self, holder: str, *, seconds_ago: float = 1.0) -> None:
        """Write the Lease as a replica does."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"
        if self.user.find(f"{path}/{LEASE}"):
            self.user.delete(f"{path}/{LEASE}")
        renewed = micro_time(virtual_time() - timedelta(seconds=seconds_ago))
        record: Object = {
            "holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": renewed, "renewTime": renewed
        }  # fmt: skip
        metadata: Object = {"name": LEASE, "namespace": HOME}
        lease: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": record}
        self.user.create(lease)

    async def examine(self) -> list[Finding]:
        """Make all checks. Nothing may be written to the cluster."""
        checkup = Checkup(self.progress.append)
        checkup.add(*configuration.judge(self.config, self.settings))
        async with open_client(DOUBLE, transport=self.kube) as client:
            definitions = await kubernetes.examine(checkup, client, self.config, namespace=HOME, now=virtual_time)
        await vault.examine(
            checkup, self.config.vault, definitions, may_log_in=self.may_log_in, now=virtual_time, network=self.network
        )
        asked = {path.rpartition("/")[2] for method, path in self.kube_faults.calls if method != "GET"}
        assert asked <= {"selfsubjectaccessreviews", "selfsubjectreviews"}, "the cluster is only read"
        return checkup.findings

    async def _review(self, request: httpx.Request, _: Send) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        asked = mapping(parse(await request.aread()), "spec", "resourceAttributes")
        subresource = text(asked, "subresource")
        resource = f"{text(asked, 'resource')}{f'/{subresource}' if subresource else ''}"
        allowed = (text(asked, "namespace"), f"{text(asked, 'verb')} {resource}") not in self.denied
        answer = {"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}}
        return httpx.Response(201, content=msgspec.json.encode(answer))


def faults_of(findings: list[Finding]) -> dict[str, Finding]:
    """Return the failures and warnings by the name of their check; the last one of each."""
    return {each.check: each for each in findings if each.state in (State.FAILURE, State.WARNING)}
