"""The commands of docs/vault.md grant the program the rights that it uses."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fake_kubernetes.documents import at
from secrets_manager.backends import Folder, Source
from tests.contracts.test_vault_tokens import approle, ask
from tests.contracts.vault import backend_of, client_of
from tests.documents import blocks, commands
from tests.doubles.vault_tokens import Credentials
from tests.real.cluster import make_certificate
from tests.real.openbao import BINARY, OpenBao
from tests.real.shell import run_shell

Run = Callable[[str], str]


@pytest.fixture
def run(openbao_alone: OpenBao, tmp_path: Path) -> Run:
    """Runs a command with `vault` in its path, as root, and returns what it prints."""
    openbao_alone.request("DELETE", "sys/auth/approle")  # the documents enable it
    (tmp_path / "vault").symlink_to(BINARY)
    environment = {"PATH": str(tmp_path), "BAO_ADDR": openbao_alone.url, "BAO_TOKEN": openbao_alone.root_token}
    return partial(run_shell, environment=environment, folder=tmp_path)


@pytest.fixture
def credentials(run: Run) -> Credentials:
    """What the last two commands print."""
    (policy,), (listing,) = commands("docs/vault.md#policy"), blocks("docs/vault.md#listing-folders", "hcl")
    run(policy.replace("\nEND\n", f"\n{listing}END\n"))
    logins, _ = commands("docs/vault.md#approle")
    printed = [run(command) for command in re.split(r"(?<!\\)\n", logins.strip())]
    return Credentials(*printed[-2:])


async def test_program_reads_lists_and_renews_its_token(openbao_alone: OpenBao, credentials: Credentials) -> None:
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


def test_a_wrapping_token_holds_a_secret_id_of_the_role(openbao_alone: OpenBao, run: Run) -> None:
    login, wrapping = commands("docs/vault.md#approle")
    run(login)

    token = run(wrapping).strip()

    unwrapped = openbao_alone.request("POST", "sys/wrapping/unwrap", {"token": token})
    assert isinstance(at(unwrapped, "data", "secret_id"), str)


def test_the_kubernetes_role_is_that_of_the_manifests(openbao_alone: OpenBao, run: Run, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "server.crt").rename(tmp_path / "ca.crt")

    for command in commands("docs/vault.md#kubernetes"):
        run(command)

    config = at(openbao_alone.request("GET", "auth/kubernetes/config"), "data")
    assert at(config, "kubernetes_host") == "https://kubernetes.example.com:6443"
    role = at(openbao_alone.request("GET", "auth/kubernetes/role/secrets-manager"), "data")
    assert at(role, "bound_service_account_names") == ["secrets-manager"]
    assert at(role, "bound_service_account_namespaces") == ["secrets-manager"]
    assert at(role, "token_policies") == ["secrets-manager"]
