"""A real OpenBao that keeps its storage, as in production: it starts sealed, and may be killed and started again."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
import msgspec

from fake_kubernetes.documents import items, parse, text
from tests.real.openbao import BINARY, LOG, READY_WITHIN, OpenBao
from tests.real.program import Program, free_port

CONFIGURATION = """
storage "raft" {{
  path = "{folder}/storage"
  node_id = "{name}"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
"""


class StoredOpenBao(OpenBao):
    """As root, who holds the one share of the key."""

    def __init__(self, url: str, *, token: str, key: str, program: Program, folder: Path) -> None:
        super().__init__(url, token=token, program=program, folder=folder)
        self._key = key

    @classmethod
    def initialized(cls, url: str, *, program: Program, folder: Path) -> Self:
        shares = msgspec.json.encode({"secret_shares": 1, "secret_threshold": 1})
        reply = httpx.put(f"{url}/v1/sys/init", content=shares, timeout=READY_WITHIN, trust_env=False)
        answer = parse(reply.raise_for_status().content)
        (key,) = items(answer, "keys_base64")
        return cls(url, token=text(answer, "root_token"), key=str(key), program=program, folder=folder)

    def serves(self) -> bool:
        """Whether it leads. One that does not yet, answers reads and no writes."""
        try:
            self.request("GET", "sys/health")
        except httpx.HTTPError:
            return False
        return True

    def _unseal_key(self) -> str:
        return self._key

    def unseal(self) -> None:
        self.request("PUT", "sys/unseal", {"key": self._key})
        self.program.wait_until(self.serves, seconds=READY_WITHIN)

    def start(self) -> None:
        """Start it again, with all that it had stored."""
        self.program.start()
        self.program.wait_until(lambda: _answers(self.url), seconds=READY_WITHIN)
        self.unseal()

    @classmethod
    def joined(cls, leader: Self, url: str, *, program: Program, folder: Path) -> Self:
        """A further node of the leader's cluster."""
        bao = cls(url, token=leader.root_token, key=leader._key, program=program, folder=folder)
        bao.request("POST", "sys/storage/raft/join", {"leader_api_addr": leader.url})
        bao.request("PUT", "sys/unseal", {"key": leader._key})
        return bao


@contextmanager
def running_node(folder: Path, *, configuration: str = "") -> Generator[tuple[str, Program]]:
    """A server without anything in it, in a folder of its own, by whose name others know it: its URL, and itself."""
    port, cluster_port = free_port(), free_port()
    (folder / "storage").mkdir()
    file = folder / "openbao.hcl"
    file.write_text(
        CONFIGURATION.format(folder=folder, name=folder.name, port=port, cluster_port=cluster_port) + configuration
    )
    url = f"http://127.0.0.1:{port}"
    with Program([str(BINARY), "server", f"-config={file}"], log=folder / LOG) as program:
        program.start()
        program.wait_until(lambda: _answers(url), seconds=READY_WITHIN)
        yield url, program


@contextmanager
def running_stored_openbao(folder: Path, *, configuration: str = "") -> Generator[StoredOpenBao]:
    """A server with AppRole mounted, and `secret/` as KV version 2, in a folder of its own."""
    with running_node(folder, configuration=configuration) as (url, program):
        bao = StoredOpenBao.initialized(url, program=program, folder=folder)
        try:
            bao.request("PUT", "sys/unseal", {"key": bao._key})
            program.wait_until(bao.serves, seconds=READY_WITHIN)
            bao.mount_kv2("secret")
            bao.request("POST", "sys/auth/approle", {"type": "approle"})
            program.wait_until(lambda: _upgraded(bao), seconds=READY_WITHIN)
            yield bao
        finally:
            bao.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/sys/seal-status", trust_env=False, timeout=5).is_success
    except httpx.HTTPError:
        return False


def _upgraded(bao: OpenBao) -> bool:
    """For a moment, a new mount of KV version 2 answers that it upgrades from version 1."""
    try:
        bao.request("GET", "secret/config")
    except httpx.HTTPError:
        return False
    return True
