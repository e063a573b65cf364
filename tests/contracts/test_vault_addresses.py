"""Connections to a real OpenBao: with all kinds of certificates, by a Unix socket, and in a namespace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secrets_manager.backends import Source, TlsFailed
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.backends.vault.client import open_vault_client, vault_certificates
from secrets_manager.backends.vault.health import get_health
from secrets_manager.config import VaultConfig
from secrets_manager.errors import UsageError
from secrets_manager.net.tls import UnusableFile
from tests.backends.vault.recorded import RecordedMetrics
from tests.kube.certificates import Authority
from tests.real.openbao import OpenBao, running_openbao, takes
from tests.real.program import free_port

MUTUAL = """
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = "{certificate}"
  tls_key_file = "{key}"
  tls_client_ca_file = "{authority}"
  tls_require_and_verify_client_cert = true
}}
listener "unix" {{
  address = "{socket}"
}}
"""


pytestmark = pytest.mark.real


class Addresses:
    """One OpenBao with a listener that wants a client's certificate, and a Unix socket."""

    def __init__(self, bao: OpenBao, folder: Path, *, port: int, authority: Authority) -> None:
        self.bao = bao
        self.url = f"https://127.0.0.1:{port}"
        self.socket = f"unix://{folder}/bao.sock"
        self.authority = authority
        self.trusted = authority.certificate
        self.client_cert, self.client_key = authority.issue("client")

    def config(
        self,
        *,
        ca_cert: Path | None = None,
        ca_cert_bytes: str = "",
        ca_path: Path | None = None,
        server_name: str = "",
        client: bool = True,
    ) -> VaultConfig:
        return VaultConfig(
            url=self.url,
            ca_cert=str(ca_cert or ""),
            ca_cert_bytes=ca_cert_bytes,
            ca_path=str(ca_path or ""),
            tls_server_name=server_name,
            client_cert=str(self.client_cert) if client else "",
            client_key=str(self.client_key) if client else "",
        )


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    folder = tmp_path_factory.mktemp("openbao")
    authority, port = Authority(folder), free_port()
    certificate, key = authority.issue("server", alternative="DNS:vault.test")
    configuration = MUTUAL.format(
        port=port,
        cluster_port=free_port(),
        certificate=certificate,
        key=key,
        authority=authority.certificate,
        socket=folder / "bao.sock",
    )
    with running_openbao(folder, configuration=configuration) as bao:
        yield Addresses(bao, folder, port=port, authority=authority)


async def version(config: VaultConfig) -> str:
    async with open_vault_client(config) as client:
        server = await get_health(client)
    return server.version if server else ""


async def failure(config: VaultConfig) -> str:
    with pytest.raises(TlsFailed) as caught:
        await version(config)
    return str(caught.value)


async def test_authorities_in_a_file_a_name_and_a_certificate_of_ours(addresses: Addresses) -> None:
    assert await version(addresses.config(ca_cert=addresses.trusted, server_name="vault.test")) == "2.7.2"


async def test_authorities_in_a_folder(addresses: Addresses, tmp_path: Path) -> None:
    other = Authority(tmp_path, name="other")
    (tmp_path / "other.key").unlink()
    (tmp_path / "ours.pem").write_bytes(addresses.trusted.read_bytes())
    (tmp_path / ".hidden").write_text("no certificate")

    assert await version(addresses.config(ca_path=tmp_path, server_name="vault.test")) == "2.7.2"
    with pytest.raises(TlsFailed):
        await version(addresses.config(ca_cert=other.certificate, ca_path=tmp_path, server_name="vault.test"))


async def test_authorities_in_a_text(addresses: Addresses, tmp_path: Path) -> None:
    """A file wins over it, and it over a folder."""
    other, ours = Authority(tmp_path).certificate, addresses.trusted.read_text()

    config = addresses.config(ca_cert_bytes=ours, ca_path=tmp_path / "none", server_name="vault.test")
    assert await version(config) == "2.7.2"
    with pytest.raises(TlsFailed):
        await version(addresses.config(ca_cert=other, ca_cert_bytes=ours, server_name="vault.test"))


async def test_certificate_of_another_name(addresses: Addresses) -> None:
    assert await failure(addresses.config(ca_cert=addresses.trusted)) == (
        f"Vault at {addresses.url} has a certificate that is not trusted (IP address mismatch, certificate is not "
        "valid for '127.0.0.1'.): check its CA and its host name"
    )


async def test_server_that_wants_a_certificate_of_ours(addresses: Addresses) -> None:
    config = addresses.config(ca_cert=addresses.trusted, server_name="vault.test", client=False)

    assert await failure(config) == (
        f"Vault at {addresses.url} refused the TLS connection (TLSV13_ALERT_CERTIFICATE_REQUIRED): "
        "does it require a client certificate?"
    )


async def test_certificates_that_are_exchanged_are_used_without_a_restart(addresses: Addresses, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(Authority(tmp_path, name="other").certificate.read_bytes())
    config = addresses.config(ca_cert=ca_file, server_name="vault.test")
    certificates = vault_certificates(config)

    async with open_vault_client(config, certificates=certificates) as client:
        with pytest.raises(TlsFailed):
            await get_health(client)
        ca_file.write_text("half a certif")
        with pytest.raises(UnusableFile):
            await certificates._reload()
        ca_file.write_bytes(addresses.trusted.read_bytes())
        await certificates._reload()
        server = await get_health(client)

    assert server


async def test_socket_of_this_machine(addresses: Addresses) -> None:
    path = f"secret/data/{addresses.bao.fresh()}"
    addresses.bao.write_kv(path, {"k": "v"})
    credentials = addresses.bao.reader(path)
    config = VaultConfig(url=addresses.socket, role_id=credentials.role_id, secret_id=credentials.secret_id)

    async with open_vault(config, RecordedMetrics()) as backend:
        document = await backend.read(Source(path))
        quoted = repr(backend)

    assert document.values == {"k": "v"}
    assert addresses.socket in quoted


async def test_unknown_certificate_is_trusted_only_if_verification_is_disabled(tmp_path: Path) -> None:
    with running_openbao(tmp_path, tls=True) as bao:
        with pytest.raises(TlsFailed):
            await version(VaultConfig(url=bao.url))
        assert await version(VaultConfig(url=bao.url, skip_verify=True)) == "2.7.2"
        assert await version(VaultConfig(url=bao.url, ca_cert=str(bao.ca_file))) == "2.7.2"


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_file_that_can_not_be_used_ends_it_at_once(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)

    with pytest.raises(UsageError, match=f"certificates for Vault: {file} can't be"):
        await version(VaultConfig(ca_cert=str(file)))


async def test_namespace(openbao: OpenBao) -> None:
    """With its own mounts, logins and policies; sys/health is the same for all of them."""
    name = openbao.fresh("team")
    openbao.request("POST", f"sys/namespaces/{name}")
    openbao.request("POST", f"{name}/sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    openbao.request("POST", f"{name}/sys/auth/approle", {"type": "approle"})
    openbao.request(
        "PUT", f"{name}/sys/policies/acl/app", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'}
    )
    openbao.request("POST", f"{name}/auth/approle/role/app", {"token_policies": ["app"], "role_id": f"{name}-app"})
    response = openbao.request("POST", f"{name}/auth/approle/role/app/secret-id")
    data = response["data"]
    assert isinstance(data, dict)
    openbao.program.wait_until(lambda: takes(openbao, f"{name}/secret/data/app", {"k": "v"}), seconds=10)
    config = VaultConfig(url=openbao.url, namespace=name, role_id=f"{name}-app", secret_id=str(data["secret_id"]))
    metrics = RecordedMetrics()

    async with open_vault(config, metrics) as backend:
        document = await backend.read(Source("secret/data/app"))
        server = await get_health(backend._client)

    assert document.values == {"k": "v"}
    assert server
    assert metrics.requests == [("login", "200"), ("read", "200"), ("health", "200")]
