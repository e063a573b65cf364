import base64
import os
import ssl
import stat
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from secrets_manager.config import KubeConfig
from secrets_manager.kube.client import open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.errors import CredentialsError, Unreachable
from secrets_manager.kube.kubeconfig import Kubeconfig
from secrets_manager.kube.objects import ObjectKey
from tests.kube.certificates import Authority
from tests.kube.things import THINGS, thing

Fields = dict[str, object]

URL = "https://cluster.example:6443"


def write(
    path: Path, *, cluster: Fields | None = None, user: Fields | None = None, context: Fields | None = None
) -> Path:
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": URL} | (cluster or {})}],
        "users": [{"name": "u", "user": {"token": "hunter2"} if user is None else user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"} | (context or {})}],
    }
    path.write_bytes(msgspec.json.encode(document))
    return path


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def plugin(folder: Path, status: str) -> Fields:
    """A login plugin that counts its runs in the file `runs`, and prints `status` with the count filled in."""
    script = folder / "plugin"
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib\n"
        f"runs = pathlib.Path({str(folder / 'runs')!r})\n"
        "runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')\n"
        f"print({status!r} % {{'run': len(runs.read_text())}})\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}}


def credential(*, lives_for: timedelta) -> str:
    expires = (datetime.now(UTC) + lives_for).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        f'"status": {{"token": "token-%(run)d", "expirationTimestamp": "{expires}"}}}}'
    )


def test_token_and_address_and_namespace_are_of_the_context(tmp_path: Path) -> None:
    access = Kubeconfig(str(write(tmp_path / "config", context={"namespace": "team"}))).look(thorough=True)

    assert (access.url, access.namespace, access.authorization) == (URL, "team", "Bearer hunter2")
    assert (access.proxy, access.server_name) == ("", "")
    assert access.context.verify_mode == ssl.CERT_REQUIRED


def test_proxy_and_server_name_and_skipped_verification_are_of_the_cluster(tmp_path: Path) -> None:
    cluster: Fields = {
        "proxy-url": "http://proxy:3128",
        "tls-server-name": "api.example",
        "insecure-skip-tls-verify": True,
    }
    access = Kubeconfig(str(write(tmp_path / "config", cluster=cluster))).look(thorough=True)

    assert (access.proxy, access.server_name) == ("http://proxy:3128", "api.example")
    assert access.context.verify_mode == ssl.CERT_NONE


def test_proxy_of_the_environment_is_not_taken_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")

    assert Kubeconfig(str(write(tmp_path / "config"))).look(thorough=True).proxy == ""


def test_several_files_are_merged_and_paths_are_relative_to_theirs(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    authority = Authority(one)
    contexts = [{"name": "far", "context": {"cluster": "far", "user": "far"}}]
    (one / "config").write_bytes(msgspec.json.encode({"current-context": "near", "contexts": contexts}))
    clusters = [
        {"name": "far", "cluster": {"server": "https://far.example", "certificate-authority": "../one/authority.crt"}}
    ]
    (two / "config").write_bytes(
        msgspec.json.encode({"clusters": clusters, "users": [{"name": "far", "user": {"tokenFile": "token"}}]})
    )
    (two / "token").write_text("from-file")
    paths = os.pathsep.join([str(tmp_path / "missing"), str(one / "config"), str(two / "config")])

    access = Kubeconfig(paths, context="far").look(thorough=True)

    assert (access.url, access.authorization) == ("https://far.example", "Bearer from-file")
    assert len(access.context.get_ca_certs()) == 1
    assert authority.certificate.exists()


def test_login_plugin_runs_once_while_its_token_lives(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential(lives_for=timedelta(hours=1)))
    source = Kubeconfig(str(write(tmp_path / "config", user=user)))

    tokens = [source.look(thorough=thorough).authorization for thorough in (True, False, False, True)]

    assert tokens == ["Bearer token-1", "Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_login_plugin_runs_again_when_its_token_is_about_to_expire(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential(lives_for=timedelta(minutes=1)))
    source = Kubeconfig(str(write(tmp_path / "config", user=user)))
    first = source.look(thorough=True).authorization
    second = source.look(thorough=False).authorization

    assert first != second


@pytest.mark.parametrize("printed", ["hunter2", '{"kind": "hunter2"}'])
def test_login_plugin_that_fails_is_told_with_the_next_step(printed: str, tmp_path: Path) -> None:
    config = write(tmp_path / "config", user=plugin(tmp_path, printed))

    with pytest.raises(CredentialsError) as caught:
        Kubeconfig(str(config)).look(thorough=True)

    assert str(caught.value) == (
        f"the current context of the kubeconfig {config} brings neither a token nor a client certificate; "
        f"`KUBECONFIG={config} kubectl version` may tell more"
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"hunter2: [", "ParserError"),
        (b"hunter2", "ConfigException"),
        (b'{"users": {"hunter2": 1}}', "TypeError"),
        (b'{"contexts": [], "clusters": [], "current-context": "hunter2"}', "ConfigException"),
        (b"\xff\xfe\xff", "ReaderError"),
    ],
)
def test_kubeconfig_that_is_none_is_told_without_its_content(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)

    with pytest.raises(CredentialsError) as caught:
        Kubeconfig(str(path), context="c").look(thorough=True)

    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"
    assert str(caught.value).startswith(f"context 'c' of the kubeconfig {path} can't be used: ")


def test_kubeconfig_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = f"{tmp_path}/one:{tmp_path}/two"

    with pytest.raises(CredentialsError, match=f"^there is nothing in the kubeconfig {missing}$"):
        Kubeconfig(missing).look(thorough=True)


def test_repr_tells_no_token(tmp_path: Path) -> None:
    access = Kubeconfig(str(write(tmp_path / "config"))).look(thorough=True)

    assert access.authorization == "Bearer hunter2"
    assert repr(access) == f"Access({URL!r})"


def test_entry_that_is_incomplete_is_told_without_its_token(tmp_path: Path) -> None:
    config = write(tmp_path / "config", user={"token": "hunter2", "auth-provider": {"name": "oidc", "config": {}}})

    with pytest.raises(CredentialsError) as caught:
        Kubeconfig(str(config)).look(thorough=True)

    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"server": "cluster.example"}, "server must be a URL"),
        ({"proxy-url": "socks5://user:hunter2@proxy"}, "proxy-url must be a URL"),
    ],
)
def test_url_of_another_kind_is_refused(cluster: Fields, message: str, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=message) as caught:
        Kubeconfig(str(write(tmp_path / "config", cluster=cluster))).look(thorough=True)

    assert "hunter2" not in str(caught.value)


def test_keys_in_the_kubeconfig_are_not_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    certificate, key = Authority(tmp_path).issue("me")
    user: Fields = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    source = Kubeconfig(str(write(tmp_path / "config", user=user)))
    source.look(thorough=True)
    source.look(thorough=True)

    assert list(scratch.iterdir()) == []


async def serve_thing(stream: trio.SSLStream[trio.SocketStream]) -> None:
    try:
        async with stream:
            await stream.receive_some()
            body = msgspec.json.encode(thing("a", version=1))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    except (trio.BrokenResourceError, ssl.SSLError):
        pass


@pytest.mark.parametrize("inline", [False, True], ids=["files", "data"])
@pytest.mark.parametrize("name", ["api.example", "other.example"])
async def test_client_certificate_logs_in_at_the_server_of_that_name(
    name: str, tmp_path: Path, *, inline: bool
) -> None:
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("server", alternative="DNS:api.example"))
    server.load_verify_locations(authority.certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    certificate, key = authority.issue("me")
    user: Fields = {"client-certificate": str(certificate), "client-key": str(key)}
    trusted: Fields = {"certificate-authority": str(authority.certificate)}
    if inline:
        user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
        trusted = {"certificate-authority-data": b64(authority.certificate)}

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, host="127.0.0.1"), serve_thing, 0, server)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        cluster: Fields = {"server": f"https://127.0.0.1:{port}", "tls-server-name": name, **trusted}
        config = write(tmp_path / "config", cluster=cluster, user=user)
        found = await find_cluster(KubeConfig(kubeconfig=str(config)), environ={})
        async with open_client(found) as client:
            if name == "api.example":
                assert await client.get(THINGS, ObjectKey("ns", "a")) == thing("a", version=1)
            else:
                with pytest.raises(Unreachable, match=r"certificate is not valid for 'other\.example'"):
                    await client.get(THINGS, ObjectKey("ns", "a"))
        nursery.cancel_scope.cancel()
