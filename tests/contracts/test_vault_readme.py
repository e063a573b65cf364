"""The README's commands for Vault, run as they stand there, give the program the rights that it uses."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from secrets_manager.backends.base import Folder, Source
from tests.contracts.test_vault_tokens import approle, ask
from tests.contracts.vault import backend_of, client_of
from tests.doubles.vault_tokens import Credentials
from tests.readme import blocks
from tests.real.openbao import BINARY, OpenBao


@pytest.fixture
def credentials(openbao_alone: OpenBao, tmp_path: Path) -> Credentials:
    """What the last two commands print."""
    openbao_alone.request("DELETE", "sys/auth/approle")  # the README enables it
    (tmp_path / "vault").symlink_to(BINARY)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "BAO_ADDR": openbao_alone.url,
        "BAO_TOKEN": openbao_alone.root_token,
    }

    def run(command: str) -> str:
        return subprocess.run(
            ["sh", "-ec", command], check=True, stdout=subprocess.PIPE, text=True, env=environment
        ).stdout

    (policy, *_), (listing,), (logins, *_) = blocks("Vault", "sh"), blocks("Vault", "hcl"), blocks("AppRole", "sh")
    commands = [policy.replace("\nEND\n", f"\n{listing}END\n"), *re.split(r"(?<!\\)\n", logins.strip())]
    printed = [run(command) for command in commands]
    return Credentials(*printed[-2:])


async def test_program_reads_and_lists_and_looks_after_its_token(
    openbao_alone: OpenBao, credentials: Credentials
) -> None:
    openbao_alone.write_kv("secret/data/shop/app", {"k": "v"})

    async with backend_of(openbao_alone, credentials) as backend:
        document = await backend.read(Source("secret/data/shop/app"))
        listed = await backend.markers(Folder("secret/data/shop"))
    async with client_of(openbao_alone) as client:
        token = await approle(credentials).login(client)
        asked = [("GET", "lookup-self"), ("POST", "renew-self"), ("POST", "revoke-self")]
        replies = [await ask(client, method, operation, token.secret) for method, operation in asked]

    assert (dict(document.values), list(listed)) == ({"k": "v"}, ["app"])
    assert [reply.status for reply in replies] == [200, 200, 204]
    assert token.policies == {"secrets-manager"}
