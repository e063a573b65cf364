"""A real OpenBao in development mode: everything in memory, unsealed, with `secret/` as KV version 2.

One server serves a whole test run. Tests keep apart by names of their own (`openbao.fresh("app")`), and one that needs
a server for himself, to kill or to pause, takes `openbao_alone`.
"""

import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import pytest

from fake_kubernetes.documents import Json, Object, at, parse, text
from secrets_manager.demo.openbao import SELF_RULES
from tests.doubles.vault_tokens import Credentials
from tests.real.program import Program, free_port

BINARY = Path(sys.executable).parent / "bao"
TELEMETRY = 'telemetry {\n  prometheus_retention_time = "1h"\n  disable_hostname = true\n}\n'
READY_WITHIN = 30.0
LOG = "openbao.log"
AUDIT = "audit.log"


class OpenBao:
    """What a test may do with the server, as root. Paths are full ones, as definitions have them: secret/data/app."""

    def __init__(self, url: str, *, token: str, program: Program, folder: Path) -> None:
        self.url = url
        self.root_token = token
        self.program = program
        self._folder = folder
        self._http = httpx.Client(
            base_url=f"{url}/v1/", headers={"X-Vault-Token": token}, timeout=60, trust_env=False, verify=False
        )

    def __repr__(self) -> str:
        return f"OpenBao({self.url})"

    @property
    def ca_file(self) -> Path:
        """The authority of its certificate, when it speaks TLS."""
        return next(self._folder.glob("*-ca.pem"))

    def fresh(self, prefix: str = "test") -> str:
        """A name not used before, for a path, a mount, a policy or a role."""
        return f"{prefix}-{secrets.token_hex(4)}"

    def serves(self) -> bool:
        """Whether it answers requests: it runs, is unsealed, and has everything mounted."""
        try:
            self.request("GET", "secret/config")  # the last thing that the development mode makes
        except httpx.HTTPError:
            return False
        return True

    def request(self, method: str, path: str, body: Json = None, *, wrapped: bool = False) -> Object:
        """One request, perhaps with its reply wrapped. Raises: httpx.HTTPStatusError, with Vault's words in it."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"X-Vault-Wrap-TTL": "60"} if wrapped else {}
        reply = self._http.request(method, quote(path), content=content, headers=headers)
        if not reply.is_success:
            message = f"{method} {path}: {reply.status_code} {reply.text}"
            raise httpx.HTTPStatusError(message, request=reply.request, response=reply)
        return parse(reply.content) if reply.content else {}

    def mount_kv1(self, name: str) -> None:
        self.request("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "1"}})

    def mount_kv2(self, name: str) -> None:
        self.request("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "2"}})

    def write_kv(self, path: str, data: Object | None) -> None:
        """Write all keys of a path; for KV version 2 that makes a version."""
        self.request("POST", path, {"data": data} if "/data/" in path else data)

    def delete_kv(self, path: str) -> None:
        """Delete the newest version, or all there is of a path of KV version 1."""
        self.request("DELETE", path)

    def undelete_kv(self, path: str) -> None:
        """Undelete the newest version."""
        metadata = self.request("GET", _in(path, "metadata"))
        self.request("PUT", _in(path, "undelete"), {"versions": [at(metadata, "data", "current_version")]})

    def delete_later(self, path: str) -> None:
        """Have each version that is written from now on deleted after an hour. There may be none yet."""
        self.request("POST", _in(path, "metadata"), {"delete_version_after": "1h"})

    def destroy_kv(self, path: str) -> None:
        """Destroy the newest version for good."""
        metadata = self.request("GET", _in(path, "metadata"))
        self.request("PUT", _in(path, "destroy"), {"versions": [at(metadata, "data", "current_version")]})

    def forget_kv(self, path: str) -> None:
        """Delete all versions: the next write begins again with version 1."""
        self.request("DELETE", _in(path, "metadata"))

    def policy(self, name: str, *paths: str, more: str = "") -> None:
        """Allows reading these paths; a * at the end stands for whatever follows. `more`: rules in HCL.

        Of auth methods and the system it allows what has an effect.
        """
        rules = "\n".join(f'path "{path}" {{ capabilities = {_capabilities(path)} }}' for path in paths)
        self.request("PUT", f"sys/policies/acl/{name}", {"policy": rules + more})

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
        """A role that one can log in as. Times in seconds, 0 for what is not set."""
        role = f"auth/approle/role/{name}"
        self.request(
            "POST",
            role,
            {
                "token_policies": list(policies),
                "token_ttl": token_ttl,
                "token_max_ttl": token_max_ttl,
                "token_period": token_period,
                "token_num_uses": token_num_uses,
                "token_type": token_type,
                "token_no_default_policy": not default_policy,
            },
        )
        role_id = text(self.request("GET", f"{role}/role-id"), "data", "role_id")
        return Credentials(role_id, text(self.request("POST", f"{role}/secret-id"), "data", "secret_id"))

    def reader(self, *paths: str, default_policy: bool = True) -> Credentials:
        """A role that may read these paths and maintain its token, and nothing else."""
        name = self.fresh("reader")
        self.policy(name, *paths, more="" if default_policy else SELF_RULES)
        return self.approle(name, policies=(name,), default_policy=default_policy)

    def wrapped_secret_id(self, name: str) -> str:
        """A wrapping token with a new secret_id of the role in it."""
        return text(self.request("POST", f"auth/approle/role/{name}/secret-id", {}, wrapped=True), "wrap_info", "token")

    def limited_secret_id(self, name: str, *, uses: int = 0, ttl: int = 0) -> str:
        """A new secret_id of the role for so many logins, and so many seconds; 0 for no limit."""
        limits: Object = {"num_uses": uses, "ttl": f"{ttl}s"}
        return text(self.request("POST", f"auth/approle/role/{name}/secret-id", limits), "data", "secret_id")

    def wrapped_wrongly(self) -> str:
        """A wrapping token of something else."""
        return text(self.request("POST", "sys/wrapping/wrap", {"secret_id": "x"}, wrapped=True), "wrap_info", "token")

    def change_policies(self, name: str, *policies: str) -> None:
        """For the logins to come; tokens keep what they have."""
        self.request("POST", f"auth/approle/role/{name}/policies", {"token_policies": list(policies)})

    def revoke_token(self, secret: str) -> None:
        self.request("POST", "auth/token/revoke", {"token": secret})

    def revoke_tokens_of_approle(self) -> None:
        """Kills every token that came from an AppRole login."""
        self.request("PUT", "sys/leases/revoke-prefix/auth/approle/login")

    @contextmanager
    def sealed(self) -> Generator[None]:
        # It serves before it prints the key.
        self.program.wait_until(lambda: self._unseal_key() is not None, seconds=READY_WITHIN)
        self.request("PUT", "sys/seal")
        try:
            yield
        finally:
            self.request("PUT", "sys/unseal", {"key": self._unseal_key()})
            self.program.wait_until(self.serves, seconds=READY_WITHIN)

    def _unseal_key(self) -> str | None:
        found = re.search(r"Unseal Key: (\S+)\n", (self._folder / LOG).read_text())
        return found and found[1]

    def count(self, method: str, path: str) -> int:
        """How often this was asked for, by any client, at whatever outcome; the server's own start is in it too."""
        return sum(1 for each in self._audited() if (_METHODS.get(each.operation), each.path) == (method, path))

    def reads(self) -> list[str]:
        """The path of every read since the server started, by any client, in their order."""
        return [each.path for each in self._audited() if each.operation == "read"]

    def requested(self) -> list[str]:
        """The path of every request since the server started, by any client, in their order."""
        return [each.path for each in self._audited()]

    def counted(self, operation: str) -> int:
        """How many reads (or lists) of `secret/` the server counted in its metrics."""
        text = self._http.get("sys/metrics", params={"format": "prometheus"}).text
        found = re.search(rf"^vault_route_{operation}_secret__count (\d+)", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def _audited(self) -> "list[_Audited]":
        lines = (self._folder / AUDIT).read_bytes().splitlines()
        entries = [msgspec.json.decode(line, type=_Entry) for line in lines]
        return [entry.request for entry in entries if entry.type == "request"]

    def close(self) -> None:
        self._http.close()


def takes(bao: OpenBao, path: str, data: Object) -> bool:
    """Whether a write succeeds: a new mount of KV version 2 needs a moment."""
    try:
        bao.write_kv(path, data)
    except httpx.HTTPError:
        return False
    return True


class _Audited(msgspec.Struct):
    operation: str = ""
    path: str = ""


class _Entry(msgspec.Struct):
    type: str
    request: _Audited


_METHODS = {"read": "GET", "update": "POST", "create": "POST", "delete": "DELETE", "list": "LIST"}


def _capabilities(path: str) -> str:
    return '["update"]' if path.startswith(("auth/", "sys/")) else '["read", "list"]'


def _in(path: str, endpoint: str) -> str:
    return path.replace("/data/", f"/{endpoint}/", 1)


@contextmanager
def running_openbao(
    folder: Path, *, tls: bool = False, audited: bool = True, configuration: str = ""
) -> Generator[OpenBao]:
    """A server of one's own, with AppRole mounted, gone at the end. `folder` takes all its files.

    What it should have besides, such as more listeners, stands in `configuration`.

    To keep an audit of every request costs the server as much as the requests do: a benchmark wants none.
    """
    port, token = free_port(), f"root-{secrets.token_hex(8)}"
    file = folder / "openbao.hcl"
    audit = f'audit "file" "tests" {{\n  options {{ file_path = "{folder / AUDIT}" }}\n}}\n'
    file.write_text(TELEMETRY + (audit if audited else "") + configuration)
    command = [str(BINARY), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={token}"]
    command += [f"-dev-listen-address=127.0.0.1:{port}", f"-config={file}"]
    if tls:
        command += ["-dev-tls", f"-dev-tls-cert-dir={folder}"]
    scheme = "https" if tls else "http"
    with Program(command, log=folder / LOG) as program:
        bao = OpenBao(f"{scheme}://127.0.0.1:{port}", token=token, program=program, folder=folder)
        try:
            program.start()
            program.wait_until(bao.serves, seconds=READY_WITHIN)
            bao.request("POST", "sys/auth/approle", {"type": "approle"})
            yield bao
        finally:
            bao.close()


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    """The server that all tests share."""
    with _temporary_folder() as folder, running_openbao(folder) as bao:
        yield bao


@pytest.fixture
def openbao_alone(tmp_path: Path) -> Iterator[OpenBao]:
    """A server for this test alone: `openbao_alone.program` can be paused, resumed and killed."""
    with running_openbao(tmp_path) as bao:
        yield bao


@contextmanager
def _temporary_folder() -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="openbao-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
