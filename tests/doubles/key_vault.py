"""An in-memory Key Vault, with the places where Azure hands out tokens: a state machine that knows no network.

It checks what the real ones check of a login and of a token, and it can say what no emulator says: throttled,
forbidden, disabled. `fault` sees each request first, and may answer in its stead; it may also wait.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from fake_kubernetes.documents import Json, Object
from secrets_manager.config import AzureConfig

TENANT = "11111111-2222-3333-4444-555555555555"
RESOURCE = "https://vault.azure.net"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PAGE = 25


class Request(NamedTuple):
    """What the server gets to see. Names of headers are in small letters."""

    method: str
    path: str
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    form: Mapping[str, str] = {}

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def is_login(self) -> bool:
        return not self.path.startswith("/secrets")


class Response(NamedTuple):
    """Status 0 ends the connection once the pieces are sent, of which there may be no end."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    pieces: Iterable[bytes] = ()


Fault = Callable[[Request], Response | None]


@dataclass
class Version:
    value: str
    created: int
    content_type: str = ""
    enabled: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class KeyVaultState:
    """All that the vault and its logins know. `token_life` is in seconds, of the tokens to come."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.fault: Fault | None = None
        self.token_life = 3600
        self.logins: list[str] = []
        """As whom each login was made."""
        self.principals: dict[str, str] = {}
        """The secret of each service principal, by its client ID."""
        self.federated: dict[str, str] = {}
        """The token of Kubernetes that is taken of each workload identity, by its client ID."""
        self.managed: set[str] = set()
        """Managed identities that this machine has, by client ID or resource ID; the system's own is empty."""
        self._offset = 0
        self._tokens: dict[str, float] = {}
        self._secrets: dict[str, list[Version]] = {}
        """By their names in small letters, which is all that counts; they are shown as they were first written."""
        self._names: dict[str, str] = {}

    @property
    def config(self) -> AzureConfig:
        return AzureConfig(url=self.url, verify_challenge_resource=False)

    def fresh(self, prefix: str = "test") -> str:
        """A name not used before."""
        return f"{prefix}-{uuid.uuid4().hex[:8]}"

    def set(self, name: str, value: str, *, content_type: str = "") -> str:
        """Write a new version. Returns its name."""
        version = Version(value, created=int(self._now()), content_type=content_type)
        self._secrets.setdefault(name.lower(), []).append(version)
        self._names.setdefault(name.lower(), name)
        return version.id

    def disable(self, name: str) -> None:
        self._secrets[name.lower()][-1].enabled = False

    def delete(self, name: str) -> None:
        del self._secrets[name.lower()]

    def advance(self, seconds: int) -> None:
        """Let time pass, for the vault and all tokens."""
        self._offset += seconds

    def refuse_tokens(self) -> None:
        """No token that was granted until now is taken any more."""
        self._tokens.clear()

    def paths(self) -> list[str]:
        """Of the requests for secrets that bore a token."""
        return [request.path for request in self.requests if not request.is_login and request.token]

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self.fault(request) if self.fault else None
        return answer or (self._log_in(request) if request.is_login else self._serve(request))

    def _now(self) -> float:
        return time.time() + self._offset

    def _serve(self, request: Request) -> Response:
        if self._tokens.get(request.token, 0.0) < self._now():
            challenge = f'Bearer authorization="{self.url}/{TENANT}", resource="{RESOURCE}"'
            return failure(401, "Unauthorized", headers={"WWW-Authenticate": challenge})
        parts = request.path.strip("/").split("/")[1:]
        return self._read(*parts) if parts else self._list(int(request.params.get("$skiptoken", "0")))

    def _read(self, name: str, wanted: str = "") -> Response:
        versions = self._secrets.get(name.lower(), [])
        version = next((each for each in reversed(versions) if wanted in {"", each.id}), None)
        if version is None:
            return failure(404, "SecretNotFound")
        if not version.enabled:
            return failure(403, "Forbidden", inner="SecretDisabled")
        about = self._about(name, version)
        return self._json({**about, "id": f"{about['id']}/{version.id}", "value": version.value})

    def _list(self, start: int) -> Response:
        names = sorted(self._secrets)
        items: list[Json] = [
            self._about(self._names[name], self._secrets[name][-1]) for name in names[start : start + PAGE]
        ]
        following = start + PAGE
        link = f"{self.url}/secrets?api-version=7.6&$skiptoken={following}" if following < len(names) else None
        return self._json({"value": items, "nextLink": link})

    def _about(self, name: str, version: Version) -> Object:
        attributes: Object = {"enabled": version.enabled, "created": version.created, "updated": version.created}
        about: Object = {"id": f"{self.url}/secrets/{name}", "attributes": attributes}
        return about | ({"contentType": version.content_type} if version.content_type else {})

    def _json(self, body: Json) -> Response:
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self._now()))
        return Response(200, msgspec.json.encode(body), {"Content-Type": "application/json", "Date": date})

    def _log_in(self, request: Request) -> Response:
        if request.path == "/metadata/identity/oauth2/token":
            return self._managed(request)
        tenant, _, rest = request.path.strip("/").partition("/")
        if tenant != TENANT:
            return _refused("AADSTS90002: Tenant not found.")
        if rest == "v2.0/.well-known/openid-configuration":
            base = f"{self.url}/{TENANT}"
            return self._json(
                {
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "issuer": f"{base}/v2.0",
                }
            )
        return self._entra(request.form)

    def _entra(self, form: Mapping[str, str]) -> Response:
        if (form.get("grant_type"), form.get("scope")) != ("client_credentials", f"{RESOURCE}/.default"):
            return _refused("AADSTS70011: The provided scope is not valid.")
        client = form.get("client_id", "")
        if form.get("client_secret", "") and self.principals.get(client) == form["client_secret"]:
            return self._granted(f"service principal {client}")
        if form.get("client_assertion_type") == JWT_BEARER and self.federated.get(client) == form["client_assertion"]:
            return self._granted(f"workload identity {client}")
        # As Entra ID does, it repeats in its words what it was sent.
        return _refused(f"AADSTS7000215: Invalid client secret provided: {dict(form)}")

    def _managed(self, request: Request) -> Response:
        if request.headers.get("metadata") != "true" or request.params.get("resource") != RESOURCE:
            return failure(400, "bad_request")
        ids = [value for key, value in request.params.items() if key in {"client_id", "msi_res_id", "mi_res_id"}]
        identity = "".join(ids)
        if identity not in self.managed:
            return Response(400, b'{"error":"invalid_request","error_description":"Identity not found"}')
        return self._granted(f"managed identity {identity}".rstrip())

    def _granted(self, who: str) -> Response:
        self.logins.append(who)
        token = f"canary-token-{uuid.uuid4()}"
        self._tokens[token] = self._now() + self.token_life
        return self._json({"access_token": token, "expires_in": self.token_life, "token_type": "Bearer"})


def failure(status: int, code: str, *, inner: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """An error in the form of Key Vault's. Its message is one that must not be repeated."""
    error: Object = {"code": code, "message": "canary-message of the server"}
    if inner:
        error["innererror"] = {"code": inner}
    headers_sent = {"Content-Type": "application/json", **(headers or {})}
    return Response(status, msgspec.json.encode({"error": error}), headers_sent)


def _refused(words: str) -> Response:
    body: Object = {"error": "invalid_client", "error_description": words}
    return Response(401, msgspec.json.encode(body), {"Content-Type": "application/json"})
