import ssl
import subprocess
from pathlib import Path

import pytest

from secrets_manager.net.tls import Tls, UnusableFile, client_context
from tests.kube.certificates import Authority


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, *, name: str = "api.example") -> str:
    """Let both speak in memory; return the name that the client asked for."""
    asked = ""

    def remember(_: ssl.SSLObject, wanted: str | None, __: ssl.SSLContext) -> None:
        nonlocal asked
        asked = wanted or ""

    server.sni_callback = remember
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        for side in tuple(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
    return asked


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", alternative="DNS:api.example"))
    return context


def test_authority_need_not_be_the_root(authority: Authority, server: ssl.SSLContext, tmp_path: Path) -> None:
    assert shake_hands(client_context(ca_file=str(tmp_path / "server.crt")), server) == "api.example"


def test_authorities_of_the_tests_satisfy_strict_clients(authority: Authority, server: ssl.SSLContext) -> None:
    """As every client is by default from Python 3.13 on."""
    client = client_context(ca_file=str(authority.certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    assert shake_hands(client, server) == "api.example"


def test_server_of_another_authority_is_refused(server: ssl.SSLContext, tmp_path: Path) -> None:
    other = Authority(tmp_path, name="other")

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(ca_file=str(other.certificate)), server)


def test_server_of_another_name_is_refused(authority: Authority, server: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'other'"):
        shake_hands(client_context(ca_file=str(authority.certificate)), server, name="other")


def test_unverified_server_is_taken_as_it_is(server: ssl.SSLContext) -> None:
    assert shake_hands(client_context(verify=False), server, name="other") == "other"


def test_server_name_is_asked_for_in_place_of_the_host(authority: Authority, server: ssl.SSLContext) -> None:
    tls = Tls(client_context(ca_file=str(authority.certificate)), server_name="api.example")

    assert shake_hands(tls, server, name="10.0.0.1") == "api.example"


@pytest.mark.parametrize("server_name", ["", "api.example."])
def test_host_that_ends_with_a_dot_is_asked_for_without_it(
    authority: Authority, server: ssl.SSLContext, server_name: str
) -> None:
    tls = Tls(client_context(ca_file=str(authority.certificate)), server_name=server_name)

    assert shake_hands(tls, server, name="api.example.") == "api.example"


def test_exchanged_context_counts_from_the_next_connection_on(
    authority: Authority, server: ssl.SSLContext, tmp_path: Path
) -> None:
    tls = Tls(client_context(ca_file=str(Authority(tmp_path, name="other").certificate)))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls, server)

    tls.current = client_context(ca_file=str(authority.certificate))

    assert shake_hands(tls, server) == "api.example"


def test_every_file_of_a_folder_counts_but_hidden_ones(
    authority: Authority, server: ssl.SSLContext, tmp_path: Path
) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "any name").write_bytes(authority.certificate.read_bytes())
    (folder / "..data").mkdir()
    (folder / ".hidden").write_text("no certificate")

    assert shake_hands(client_context(ca_folder=str(folder)), server) == "api.example"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "can't be read (No such file or directory)"),
        ("", "can't be used (NO_CERTIFICATE_OR_CRL_FOUND)"),
        ("hello", "can't be used (NO_CERTIFICATE_OR_CRL_FOUND)"),
    ],
)
def test_file_that_can_not_be_used_is_named(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)

    with pytest.raises(UnusableFile) as caught:
        client_context(ca_file=str(file))

    assert str(caught.value) == f"{file} {why}"


def test_authorities_may_be_a_text(authority: Authority, server: ssl.SSLContext) -> None:
    trust = client_context(ca_pem="# für api\n" + authority.certificate.read_text())

    assert shake_hands(trust, server) == "api.example"


@pytest.mark.parametrize("text", ["hunter2", "schön"])
def test_text_that_can_not_be_used_is_not_shown(text: str) -> None:
    with pytest.raises(UnusableFile) as caught:
        client_context(ca_pem=text)

    assert str(caught.value) == "the PEM text of authorities can't be used (no PEM)"


def test_key_of_another_certificate_is_refused_by_name(authority: Authority) -> None:
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")

    with pytest.raises(UnusableFile) as caught:
        client_context(cert_file=str(certificate), key_file=str(key))

    assert str(caught.value) == f"{certificate} with {key} can't be used (KEY_VALUES_MISMATCH)"


def test_key_with_a_password_is_refused_without_a_prompt(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("one")
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(encrypted)]
    subprocess.run(command, check=True)

    with pytest.raises(UnusableFile):
        client_context(cert_file=str(certificate), key_file=str(encrypted))


def test_empty_folder_trusts_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile) as caught:
        client_context(ca_folder=str(tmp_path))

    assert str(caught.value) == f"{tmp_path} has no files in it"
