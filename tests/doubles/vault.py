"""An in-memory Vault for virtual time: a state machine, and a transport that stands in for the network.

It answers as `tests/contracts/test_vault.py` has seen the real one answer, and nothing more. What it can't say with
state, a fault says, which sees each request first and may raise, or answer in Vault's stead; or a delay, in seconds.
"""

import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

import httpx
import msgspec
import trio

from fake_kubernetes.documents import Json, Object, at, items, mapping, parse, text
from tests.doubles.vault_kv import VERSIONED, Kv1, Kv2, Mount, Read
from tests.doubles.vault_tokens import Credentials, Grant, TokenRecord, Tokens
from tests.doubles.vault_wrapping import Wrappings

DENIED = "permission denied"
FORBIDDEN = "1 error occurred:\n\t* permission denied\n\n"
CAPABILITIES_SELF = "sys/capabilities-self"
DEFAULT_POLICY = ("auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self")


NEVER = "0001-01-01T00:00:00Z"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""The time of day when the clock is at 0."""


class Request(NamedTuple):
    """What Vault gets to see. `path` is decoded, without /v1/."""

    method: str
    path: str
    token: str = ""
    params: Mapping[str, str] = {}
    body: Object = {}  # noqa: RUF012 - a default that is never changed


class Response(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


Fault = Callable[[Request], Response | None]
Delay = Callable[[Request], float]


class _AppRole(NamedTuple):
    name: str
    secret_ids: set[str]
    grant: Grant
    default_policy: bool


class _Limits(NamedTuple):
    """Of a secret_id: the uses that are left, 0 for any number, and when it expires, as RFC 3339."""

    uses: int
    expires: str


class VaultState:
    """All that a Vault knows. The methods that a test calls have the same names as those of the real one's helper."""

    url = "http://vault.test"

    def __init__(self, *, clock: Callable[[], float] = trio.current_time) -> None:
        self.tokens = Tokens(clock)
        self.lists = True
        """Whether it is an OpenBao, which lists versions; HashiCorp Vault does not."""
        self.requests: list[Request] = []
        self.fault: Fault | None = None
        self.delay: Delay = lambda _: 0.0
        """Seconds that a request is on its way, and below, those of its answer."""
        self.delay_of_answer: Delay = lambda _: 0.0
        self.watch: Callable[[Request], None] = lambda _: None
        self._clock = clock
        self._sealed = False
        self.standby = False
        """Whether this node is a standby, which forwards what it is asked for."""
        self._limits: dict[str, _Limits] = {}
        self._mounts: dict[str, Mount] = {"secret": Kv2()}
        self._policies: dict[str, tuple[str, ...]] = {"default": (*DEFAULT_POLICY, CAPABILITIES_SELF)}
        self._approles: dict[str, _AppRole] = {}
        self._kubernetes_roles: dict[str, Grant] = {}
        self._jwts: set[str] = set()
        self._wrappings = Wrappings()
        self._names = count(1)

    def fresh(self, prefix: str = "test") -> str:
        """A name not used before."""
        return f"{prefix}-{next(self._names)}"

    def mount_kv1(self, name: str) -> None:
        self._mounts[name] = Kv1()

    def write_kv(self, path: str, data: Object | None) -> None:
        mount, rest = self._routed(path)
        mount.write(rest, data)

    def delete_kv(self, path: str) -> None:
        mount, rest = self._versioned(path)
        mount.delete(rest)

    def undelete_kv(self, path: str) -> None:
        mount, rest = self._versioned(path)
        mount.undelete(rest)

    def delete_later(self, path: str) -> None:
        mount, rest = self._versioned(path)
        mount.delete_later(rest)

    def destroy_kv(self, path: str) -> None:
        mount, rest = self._versioned(path)
        mount.destroy(rest)

    def forget_kv(self, path: str) -> None:
        mount, rest = self._versioned(path)
        mount.forget(rest)

    def policy(self, name: str, *paths: str) -> None:
        """Allows reading and listing these paths; a * at the end stands for whatever follows."""
        self._policies[name] = paths

    def approle(
        self,
        name: str,
        *,
        policies: tuple[str, ...] = (),
        token_ttl: int = 3600,
        token_max_ttl: int = 0,
        token_period: int = 0,
        token_num_uses: int = 0,
        token_type: str = "service",
        default_policy: bool = True,
    ) -> Credentials:
        grant = Grant(
            policies=policies,
            ttl=token_ttl,
            max_ttl=token_max_ttl,
            period=token_period,
            num_uses=token_num_uses,
            type=token_type,
        )
        role_id, secret_id = f"canary-role-{name}", f"canary-secret-{uuid.uuid4()}"
        self._approles[role_id] = _AppRole(name, {secret_id}, grant, default_policy)
        return Credentials(role_id, secret_id)

    def reader(self, *paths: str, default_policy: bool = True) -> Credentials:
        """A role that may read these paths and maintain its token, and nothing else."""
        name = self.fresh("reader")
        self.policy(name, *paths, *(() if default_policy else DEFAULT_POLICY))
        return self.approle(name, policies=(name,), default_policy=default_policy)

    def wrapped_secret_id(self, name: str) -> str:
        """A wrapping token with a new secret_id of the role in it."""
        secret_id = f"canary-secret-{uuid.uuid4()}"
        self._approles[f"canary-role-{name}"].secret_ids.add(secret_id)
        return self._wrappings.wrap(secret_id, creation_path=f"auth/approle/role/{name}/secret-id")

    def limited_secret_id(self, name: str, *, uses: int = 0, ttl: int = 0) -> str:
        """A new secret_id of the role for so many logins, and so many seconds; 0 for no limit."""
        secret_id = f"canary-secret-{uuid.uuid4()}"
        self._approles[f"canary-role-{name}"].secret_ids.add(secret_id)
        expires = f"{datetime.fromtimestamp(BEGINNING + self._clock() + ttl, UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._limits[secret_id] = _Limits(uses, expires if ttl else NEVER)
        return secret_id

    def wrapped_wrongly(self) -> str:
        """A wrapping token of something else."""
        return self._wrappings.wrap("canary", creation_path="sys/wrapping/wrap")

    def change_policies(self, name: str, *policies: str) -> None:
        """For the logins to come; tokens keep what they have."""
        role = self._approles[f"canary-role-{name}"]
        self._approles[f"canary-role-{name}"] = role._replace(grant=replace(role.grant, policies=policies))

    def change_token_ttl(self, credentials: Credentials, seconds: int) -> None:
        """For the logins to come."""
        role = self._approles[credentials.role_id]
        self._approles[credentials.role_id] = role._replace(grant=replace(role.grant, ttl=seconds))

    def revoke_secret_id(self, credentials: Credentials) -> None:
        self._approles[credentials.role_id].secret_ids.discard(credentials.secret_id)

    def allow_secret_id(self, credentials: Credentials) -> None:
        self._approles[credentials.role_id].secret_ids.add(credentials.secret_id)

    def kubernetes_role(self, name: str, *, policies: tuple[str, ...] = (), token_ttl: int = 3600) -> None:
        self._kubernetes_roles[name] = Grant(policies=policies, ttl=token_ttl)

    def accept_jwt(self, jwt: str) -> None:
        """From now on this one and no other."""
        self._jwts = {jwt}

    def revoke_token(self, secret: str) -> None:
        self.tokens.revoke(secret)

    @contextmanager
    def sealed(self) -> Generator[None]:
        self._sealed = True
        try:
            yield
        finally:
            self._sealed = False

    def count(self, method: str, path: str) -> int:
        """How often this was asked for."""
        return sum(1 for request in self.requests if (request.method, request.path) == (method, path))

    def see(self, request: Request) -> None:
        """Notes a request, whatever a fault then makes of it."""
        self.requests.append(request)
        self.watch(request)

    def handle(self, request: Request) -> Response:
        if request.path == "sys/health":
            return self._health()
        if self._sealed:
            return _errors(503, "Vault is sealed")
        if request.path.startswith("auth/") and request.path.endswith("/login"):
            return self._login(request)
        if request.path.startswith("sys/wrapping/"):
            return self._wrapped(request)
        return self._handle_with_token(request)

    def _handle_with_token(self, request: Request) -> Response:
        token = self.tokens.use(request.token)
        if token is None:
            return _errors(403, DENIED)
        if not self._allows(token, request.path):
            return _errors(403, FORBIDDEN)
        if request.path.startswith("auth/token/"):
            return self._about_itself(request, token)
        if request.path == CAPABILITIES_SELF:
            return self._capabilities(request, token)
        if request.path.endswith("/secret-id/lookup"):
            return self._secret_id(request)
        return self._read(request)

    def _wrapped(self, request: Request) -> Response:
        if request.path == "sys/wrapping/lookup":
            creation_path = self._wrappings.creation_path(text(request.body, "token"))
            found: Object | None = {"creation_path": creation_path} if creation_path else None
        else:
            secret_id = self._wrappings.unwrap(request.token)
            found = {"secret_id": secret_id} if secret_id else None
        return _envelope(200, found) if found else _errors(400, "wrapping token is not valid or does not exist")

    def _capabilities(self, request: Request, token: TokenRecord) -> Response:
        paths = [str(path) for path in items(request.body, "paths")]
        return _envelope(200, {path: self._capabilities_of(token, path) for path in paths})

    def _capabilities_of(self, token: TokenRecord, path: str) -> Json:
        return ["list", "read"] if self._allows(token, path) else ["deny"]

    def _secret_id(self, request: Request) -> Response:
        secret_id = text(request.body, "secret_id")
        role = self._approles.get(f"canary-role-{request.path.split('/')[3]}")
        if role is None or secret_id not in role.secret_ids:
            return Response(204)
        limits = self._limits.get(secret_id, _Limits(0, NEVER))
        return _envelope(200, {"secret_id_num_uses": limits.uses, "expiration_time": limits.expires})

    def _spend(self, role: _AppRole, secret_id: str) -> None:
        """Take a use off a secret_id; the last one removes it."""
        limits = self._limits.get(secret_id)
        if limits is not None and limits.uses > 0:
            self._limits[secret_id] = limits._replace(uses=limits.uses - 1)
            if limits.uses == 1:
                role.secret_ids.discard(secret_id)

    def _health(self) -> Response:
        facts: Object = {"initialized": True, "sealed": self._sealed, "standby": self._sealed, "version": "2.7.2"}
        if self._sealed:
            return _json(503, facts)
        if self.standby:
            facts |= {"standby": True}
        return _json(
            429 if self.standby else 200, facts | {"cluster_name": "cluster-of-the-double", "cluster_id": "1d"}
        )

    def _login(self, request: Request) -> Response:
        match request.path.split("/")[1]:
            case "approle":
                role = self._approles.get(text(request.body, "role_id"))
                if role is None or text(request.body, "secret_id") not in role.secret_ids:
                    return _errors(400, "invalid role or secret ID")
                self._spend(role, text(request.body, "secret_id"))
                return self._granted(role.grant, default_policy=role.default_policy, role=role.name)
            case "kubernetes":
                name = text(request.body, "role")
                if name not in self._kubernetes_roles:
                    return _errors(400, f'invalid role name "{name}"')
                if text(request.body, "jwt") not in self._jwts:
                    return _errors(403, DENIED)
                return self._granted(self._kubernetes_roles[name], default_policy=True)
            case _:
                return _errors(403, DENIED)

    def _granted(self, grant: Grant, *, default_policy: bool, role: str = "") -> Response:
        record, ttl = self.tokens.issue(grant, default_policy=default_policy, role=role)
        return _envelope(200, auth=record.auth(ttl))

    def _about_itself(self, request: Request, token: TokenRecord) -> Response:
        match request.method, request.path.removeprefix("auth/token/"):
            case "GET", "lookup-self":
                return _envelope(200, token.lookup(self._clock()))
            case "POST", "renew-self" if not token.grant.renewable:
                return _errors(400, "batch tokens cannot be renewed")
            case "POST", "renew-self":
                increment = at(request.body, "increment")
                granted = self.tokens.renew(token, increment if isinstance(increment, int) else 0)
                return _envelope(200, auth=token.auth(granted))
            case "POST", "revoke-self":
                self.tokens.revoke(token.secret)
                return Response(204)
            case _:
                return _errors(405, "unsupported operation")

    def _read(self, request: Request) -> Response:
        if request.path.partition("/")[0] not in self._mounts:
            return _errors(404, f'no handler for route "{request.path}". route entry not found.')
        mount, rest = self._routed(request.path)
        if request.params.get("list") == "true":
            return self._listing(request, mount, rest)
        version = request.params.get("version", "0")
        if not version.isdigit():
            return _errors(400, "Field validation failed: error converting input for field version")
        found: Read = mount.read(rest, int(version))
        if found.data is None and not found.warnings:
            return _errors(found.status)
        return _envelope(
            found.status, found.data, warnings=list(found.warnings) or None, lease_duration=found.lease_duration
        )

    def _listing(self, request: Request, mount: Mount, rest: str) -> Response:
        if not self.lists or not isinstance(mount, Kv2):
            return _errors(404) if isinstance(mount, Kv1) else _envelope(404, None, warnings=[VERSIONED])
        found = mount.listing(rest, after=request.params.get("after", ""), limit=int(request.params["limit"]))
        return _errors(found.status) if found.data is None else _envelope(found.status, found.data)

    def _allows(self, token: TokenRecord, path: str) -> bool:
        patterns = [pattern for name in token.policies for pattern in self._policies.get(name, ())]
        return any(path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern for pattern in patterns)

    def _routed(self, path: str) -> tuple[Mount, str]:
        name, _, rest = path.partition("/")
        return self._mounts[name], rest

    def _versioned(self, path: str) -> tuple[Kv2, str]:
        mount, rest = self._routed(path)
        assert isinstance(mount, Kv2)
        return mount, rest


class VaultTransport(httpx.AsyncBaseTransport):
    """Leads to the double where httpx would open a connection. Each request takes a checkpoint."""

    def __init__(self, state: VaultState) -> None:
        self._state = state

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seen = Request(
            method=request.method,
            path=request.url.path.removeprefix("/v1/"),
            token=request.headers.get("X-Vault-Token", ""),
            params=dict(request.url.params),
            body=mapping(parse(content)) if (content := await request.aread()) else {},
        )
        self._state.see(seen)
        await trio.sleep(self._state.delay(seen))
        answer = self._state.fault(seen) if self._state.fault else None
        response = answer or self._state.handle(seen)
        await trio.sleep(self._state.delay_of_answer(seen))
        return httpx.Response(response.status, content=response.body, headers=dict(response.headers))


def _json(status: int, document: Object) -> Response:
    return Response(status, msgspec.json.encode(document, order="sorted"), {"Content-Type": "application/json"})


def _errors(status: int, *errors: str) -> Response:
    return _json(status, {"errors": list(errors)})


def _envelope(
    status: int, data: Json = None, *, auth: Json = None, warnings: Json = None, lease_duration: int = 0
) -> Response:
    return _json(
        status,
        {
            "request_id": str(uuid.uuid4()),
            "lease_id": "",
            "renewable": False,
            "lease_duration": lease_duration,
            "data": data,
            "wrap_info": None,
            "warnings": warnings,
            "auth": auth,
        },
    )
