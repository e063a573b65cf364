import base64
import os
import ssl
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from secrets_manager.config import KubeConfig
from secrets_manager.kube import plugin as plugins
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
    """A plugin that counts its runs in the file `runs`, and prints `status` with the count filled in."""
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
    return credential_until((datetime.now(UTC) + lives_for).strftime("%Y-%m-%dT%H:%M:%SZ"))


def credential_until(expires: str) -> str:
    return (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        f'"status": {{"token": "token-%(run)d", "expirationTimestamp": "{expires}"}}}}'
    )


def test_token_and_address_and_namespace_are_of_the_context(tmp_path: Path) -> None:
    loaded = Kubeconfig(str(write(tmp_path / "config", context={"namespace": "team"}))).load(refresh=True)

    assert (loaded.url, loaded.namespace, loaded.authorization) == (URL, "team", "Bearer hunter2")
    assert (loaded.proxy, loaded.server_name) == ("", "")
    assert loaded.context.verify_mode == ssl.CERT_REQUIRED


def test_proxy_and_server_name_and_skipped_verification_are_of_the_cluster(tmp_path: Path) -> None:
    cluster: Fields = {
        "proxy-url": "http://proxy:3128",
        "tls-server-name": "api.example",
        "insecure-skip-tls-verify": True,
    }
    loaded = Kubeconfig(str(write(tmp_path / "config", cluster=cluster))).load(refresh=True)

    assert (loaded.proxy, loaded.server_name) == ("http://proxy:3128", "api.example")
    assert loaded.context.verify_mode == ssl.CERT_NONE


def test_proxy_of_the_environment_is_not_taken_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")

    assert Kubeconfig(str(write(tmp_path / "config"))).load(refresh=True).proxy == ""


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

    loaded = Kubeconfig(paths, context="far").load(refresh=True)

    assert (loaded.url, loaded.authorization) == ("https://far.example", "Bearer from-file")
    assert len(loaded.context.get_ca_certs()) == 1
    assert authority.certificate.exists()


def test_login_plugin_runs_once_while_its_token_lives(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential(lives_for=timedelta(hours=1)))
    loader = Kubeconfig(str(write(tmp_path / "config", user=user)))

    tokens = [loader.load(refresh=refresh).authorization for refresh in (True, False, False, True)]

    assert tokens == ["Bearer token-1", "Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_login_plugin_runs_again_when_its_token_is_about_to_expire(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential(lives_for=timedelta(minutes=1)))
    loader = Kubeconfig(str(write(tmp_path / "config", user=user)))
    first = loader.load(refresh=True).authorization
    second = loader.load(refresh=False).authorization

    assert first != second


@pytest.mark.parametrize(
    ("expires", "again"),
    [("0001-01-01T00:00:00Z", False), ("0001-01-01T00:00:01Z", True), ("9999-12-31T23:59:59-14:00", False)],
    ids=["Go's zero time", "long ago", "never"],
)
def test_login_plugin_runs_again_as_client_go_runs_it(expires: str, tmp_path: Path, *, again: bool) -> None:
    user = plugin(tmp_path, credential_until(expires))
    loader = Kubeconfig(str(write(tmp_path / "config", user=user)))
    first = loader.load(refresh=True).authorization
    second = loader.load(refresh=False).authorization

    assert (first != second) is again


def test_login_plugin_whose_token_has_no_end_runs_once(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential_until("never").replace('"never"', "null"))
    loader = Kubeconfig(str(write(tmp_path / "config", user=user)))

    assert loader.load(refresh=True).authorization == loader.load(refresh=False).authorization


def test_login_plugin_needs_no_package_that_the_image_lacks(tmp_path: Path) -> None:
    status = credential(lives_for=timedelta(hours=1))
    config = write(tmp_path / "config", user=plugin(tmp_path, status))
    as_in_the_image = (
        "import sys; sys.modules['kubernetes'] = None; from secrets_manager.kube.kubeconfig import Kubeconfig; "
        f"print(Kubeconfig({str(config)!r}).load(refresh=True).authorization)"
    )

    done = subprocess.run([sys.executable, "-c", as_in_the_image], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("Bearer token-1\n", "")


def test_login_plugin_may_bring_a_client_certificate(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("me")
    status = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
    whole = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    config = write(tmp_path / "config", user=plugin(tmp_path, msgspec.json.encode(whole).decode()))
    loader = Kubeconfig(str(config))
    first, second = loader.load(refresh=True), loader.load(refresh=False)

    assert (first.authorization, second.context) == ("", first.context)


def test_login_plugin_is_not_run_for_a_user_with_a_token(tmp_path: Path) -> None:
    user = plugin(tmp_path, credential(lives_for=timedelta(hours=1))) | {"token": "mine"}

    assert Kubeconfig(str(write(tmp_path / "config", user=user))).load(refresh=True).authorization == "Bearer mine"
    assert not (tmp_path / "runs").exists()


def test_client_certificate_that_is_replaced_is_taken_at_the_next_load(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("me")
    loader = Kubeconfig(str(write(tmp_path / "config", user={"client-certificate": "me.crt", "client-key": "me.key"})))
    configs = [loader.load(refresh=True), loader.load(refresh=False)]
    authority.issue("me")
    configs.append(loader.load(refresh=False))

    assert [each.context is configs[0].context for each in configs] == [True, True, False]


def test_authority_that_is_replaced_is_taken_at_the_next_load(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    loader = Kubeconfig(str(write(tmp_path / "config", cluster={"certificate-authority": "authority.crt"})))
    configs = [loader.load(refresh=True), loader.load(refresh=False)]
    Authority(tmp_path, name="new").certificate.rename(authority.certificate)
    configs.append(loader.load(refresh=False))

    assert configs[1].context is configs[0].context
    names = [str(each.context.get_ca_certs()[0]["subject"][0][0][1]) for each in configs]
    assert names == ["authority", "authority", "new"]


def test_token_is_taken_though_the_authority_can_not_be_read_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    cluster: Fields = {"certificate-authority": "authority.crt"}
    loader = Kubeconfig(str(write(tmp_path / "config", cluster=cluster, user={"tokenFile": "token"})))
    (tmp_path / "token").write_text("first")
    configs = [loader.load(refresh=True)]
    text = authority.certificate.read_text()
    authority.certificate.unlink()
    for token in ("second", "third", "fourth"):
        (tmp_path / "token").write_text(token)
        configs.append(loader.load(refresh=token == "third"))

    assert [each.authorization.removeprefix("Bearer ") for each in configs] == ["first", "second", "third", "fourth"]
    assert all(each.context is configs[0].context for each in configs)
    why = f"{authority.certificate} can't be read (No such file or directory): correct its path, or write it"
    assert [record.__dict__["fields"] for record in caplog.records] == [{"error": why}]

    authority.certificate.write_text(text)
    Authority(tmp_path, name="new").certificate.rename(authority.certificate)
    assert loader.load(refresh=False).context is not configs[0].context


def test_authority_that_is_missing_is_reported_unless_it_is_not_needed(tmp_path: Path) -> None:
    cluster: Fields = {"certificate-authority": "none.crt"}

    assert failure(write(tmp_path / "config", cluster=cluster)) == (
        f"{tmp_path}/none.crt can't be read (No such file or directory): correct its path, or write it"
    )
    unverified = write(tmp_path / "config", cluster=cluster | {"insecure-skip-tls-verify": True})
    assert Kubeconfig(str(unverified)).load(refresh=True).context.verify_mode == ssl.CERT_NONE


def failure(config: Path | str, *, context: str = "") -> str:
    """What is wrong with a login, without where it comes from."""
    loader = Kubeconfig(str(config), context=context)
    with pytest.raises(CredentialsError) as caught:
        loader.load(refresh=True)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"
    return str(caught.value).removeprefix(f"{loader} can't be used: ")


EMPTY_STATUS = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {}}'


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("hunter2", "prints no ExecCredential of the requested version"),
        ('{"kind": "hunter2"}', "prints no ExecCredential of the requested version"),
        ("[]", "prints no ExecCredential of the requested version"),
        (EMPTY_STATUS.replace("status", "state"), "prints no ExecCredential of the requested version"),
        (EMPTY_STATUS, "prints neither a token nor a client certificate with its key"),
        (EMPTY_STATUS.replace("{}", '{"token": 7}'), "prints no ExecCredential"),
        (
            EMPTY_STATUS.replace("{}", '{"expirationTimestamp": "hunter2"}'),
            "prints no ExecCredential",
        ),
        (credential_until("2030-01-01T00:00:00"), "prints no ExecCredential"),
    ],
)
def test_login_plugin_that_prints_no_credential_is_reported(printed: str, why: str, tmp_path: Path) -> None:
    config = write(tmp_path / "config", user=plugin(tmp_path, printed))

    assert failure(config) == f"the credential plugin ./plugin {why}"


def failing(folder: Path, script: str, **more: object) -> Path:
    """A kubeconfig whose plugin is this shell script."""
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    entry: Fields = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}
    return write(folder / "config", user={"exec": entry | more})


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Please log in:\nazd login' >&2; exit 3", r"ends with exit code 3: Please log in:\nazd login"),
        ("exit 1", "ends with exit code 1 and no output"),
        ("printf 'word %0400d' 1 >&2; exit 1", "ends with exit code 1: word…"),
    ],
    ids=["words", "no words", "too many"],
)
def test_login_plugin_that_fails_is_reported_in_its_own_words(script: str, why: str, tmp_path: Path) -> None:
    assert failure(failing(tmp_path, script)) == f"the credential plugin ./plugin {why}"


JWT = "eyJhbGciOiJIUzI1NiJ9.e30.hunter2"


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (JWT, {}),
        ("Bearer hunter2-hunter2-hunter2", {}),
        ("bad: hunter2", {"env": [{"name": "CLIENT_SECRET", "value": "hunter2"}]}),
        ("bad: hunter2", {"args": ["login", "--password=hunter2"]}),
        ("bad: hunter2", {"args": ["login", "--token", "hunter2"]}),
    ],
    ids=["token", "header", "variable", "flag", "flag and value"],
)
def test_words_of_a_login_plugin_that_may_hold_a_secret_are_withheld(words: str, more: Fields, tmp_path: Path) -> None:
    assert failure(failing(tmp_path, f"echo '{words}' >&2; exit 1", **more)) == (
        "the credential plugin ./plugin ends with exit code 1; its output is withheld: it may contain a secret"
    )


def test_words_of_a_login_plugin_may_name_what_is_no_secret(tmp_path: Path) -> None:
    more: Fields = {"env": [{"name": "AWS_PROFILE", "value": "prod"}], "args": ["eks", "get-token", "--output", "json"]}

    assert failure(failing(tmp_path, "echo 'no profile prod' >&2; exit 1", **more)).endswith(": no profile prod")


@pytest.mark.parametrize(
    ("more", "hint"),
    [({}, "install it, or correct its path"), ({"installHint": "see https://x.example"}, "see https://x.example")],
)
def test_login_plugin_that_is_missing_is_reported_with_what_to_do(more: Fields, hint: str, tmp_path: Path) -> None:
    entry: Fields = {"apiVersion": "client.authentication.k8s.io/v1", "command": "kubelogin-that-is-none"}
    config = write(tmp_path / "config", user={"exec": entry | more})

    assert failure(config) == f"the credential plugin kubelogin-that-is-none is not there: {hint}"


def test_login_plugin_that_can_not_be_run_is_reported(tmp_path: Path) -> None:
    config = failing(tmp_path, "exit 0")
    (tmp_path / "plugin").chmod(0o600)

    assert failure(config) == "the credential plugin ./plugin can't be run: Permission denied"


@pytest.mark.parametrize(
    "more",
    [
        {"command": "a\0b"},
        {"args": ["hunter2\0"]},
        {"env": [{"name": "A", "value": "hunter2\0"}]},
        {"env": [{"name": "A=B", "value": "hunter2"}]},
    ],
    ids=["command", "argument", "value", "name"],
)
def test_login_plugin_whose_entry_no_program_can_be_given_is_reported(more: Fields, tmp_path: Path) -> None:
    entry: Fields = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}
    config = write(tmp_path / "config", user={"exec": entry | more})

    assert failure(config).endswith(
        "can't be run: its command, args or env have a character that they can't have, or a name with `=`"
    )


def test_login_plugin_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its processes keeps the pipe open, which ends with the last of them. One that was not killed says so."""
    monkeypatch.setattr(plugins, "RUN_TIMEOUT", 0.1)
    os.mkfifo(tmp_path / "alive")
    os.mkfifo(tmp_path / "over")
    with os.fdopen(os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as alive:
        child = "(read line <over; echo child >&3) &"
        config = failing(tmp_path, f"exec 3>alive; echo begun >&3; {child} sleep 20; echo parent >&3")

        assert failure(config) == "the credential plugin ./plugin takes longer than 0.1 s: see what it waits for"

        with (tmp_path / "over").open("r+b", buffering=0) as over:
            over.write(b"\n")
            os.set_blocking(alive.fileno(), True)
            assert alive.read() in (b"begun\n", b"")


def test_login_plugin_is_told_of_the_cluster_where_it_asks_for_that(tmp_path: Path) -> None:
    script = """printf '%s' "$MINE $KUBERNETES_EXEC_INFO" >passed; exit 1"""
    entry: Fields = {"env": [{"name": "MINE", "value": "ours"}], "provideClusterInfo": True}
    path = failing(tmp_path, script, **entry)
    document = msgspec.json.decode(path.read_bytes())
    document["clusters"][0]["cluster"]["extensions"] = [
        {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "us"}}
    ]
    path.write_bytes(msgspec.json.encode(document))

    assert failure(path) == "the credential plugin ./plugin ends with exit code 1 and no output"

    mine, _, passed = (tmp_path / "passed").read_text().partition(" ")
    info = msgspec.json.decode(passed)
    assert mine == "ours"
    assert (info["apiVersion"], info["kind"]) == ("client.authentication.k8s.io/v1", "ExecCredential")
    assert info["spec"]["interactive"] is False
    assert (info["spec"]["cluster"]["server"], info["spec"]["cluster"]["config"]) == (URL, {"audience": "us"})


def test_login_plugin_without_an_api_version_is_reported(tmp_path: Path) -> None:
    config = write(tmp_path / "config", user={"exec": {"command": "x"}})

    assert failure(config) == "exec needs a command and an apiVersion, and env names with values: add them"


NO_CONTEXT = "it has no context: add one, or choose another file with --kubeconfig"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hunter2: [", "{path} is no YAML in line 1: correct it"),
        (b"a: *hunter2", "{path} is no YAML in line 1: correct it"),
        (b"hunter2", "{path} is not as a kubeconfig has it: Expected `object`, got `str`"),
        (
            b'{"users": {"hunter2": 1}}',
            "{path} is not as a kubeconfig has it: Expected `array`, got `object` - at `$.users`",
        ),
        (
            b'{"users": [{"name": "u", "user": "hunter2"}]}',
            "{path} is not as a kubeconfig has it: Expected `object`, got `str` - at `$.users[0].user`",
        ),
        (b'{"contexts": [], "clusters": [], "current-context": "hunter2"}', NO_CONTEXT),
        (b"\xff\xfe\xff", "{path} is no YAML: it is not UTF-8"),
        (b"a: !!bool hunter2", "{path} is no YAML: correct it"),
        (b"a: !!int ''", "{path} is no YAML: correct it"),
        (b"a: !!timestamp hunter2", "{path} is no YAML: correct it"),
        (b"a: 2026-99-99", "{path} is no YAML: correct it"),
        (b"a: 1\n---\nb: 2", "{path} has a second document, which begins in line 2: take out the `---`"),
        (b"---\na: 1\n\n---\n", "{path} has a second document, which begins in line 4: take out the `---`"),
        (b"a: &hunter2\n- *hunter2", "{path} is nested too deep: correct it"),
        (b"", NO_CONTEXT),
        (b"# nothing\n---\n", NO_CONTEXT),
        (b"contexts: null", NO_CONTEXT),
    ],
)
def test_kubeconfig_that_is_none_is_reported_without_its_content(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)

    assert failure(path, context="c") == why.format(path=path)


def test_kubeconfig_that_is_not_there_is_reported(tmp_path: Path) -> None:
    assert failure(f"{tmp_path}/one:{tmp_path}/two") == NO_CONTEXT


def test_kubeconfig_that_can_not_be_read_is_reported(tmp_path: Path) -> None:
    assert failure(tmp_path) == f"{tmp_path} can't be read (Is a directory): let this user read it"


@pytest.mark.parametrize("content", ["", "\n", "# nothing yet\n", "---\n"])
def test_empty_files_among_several_count_for_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(content)
    paths = os.pathsep.join([str(tmp_path / "empty"), str(write(tmp_path / "config")), str(tmp_path / "empty"), ""])

    assert Kubeconfig(paths).load(refresh=True).authorization == "Bearer hunter2"


def test_of_several_current_contexts_the_first_counts(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text('{"current-context": "none"}')
    paths = os.pathsep.join([str(write(tmp_path / "config")), str(other)])

    assert Kubeconfig(paths).load(refresh=True).url == URL


def test_context_that_does_not_exist_is_reported_with_those_that_do(tmp_path: Path) -> None:
    config = write(tmp_path / "config")

    assert failure(config, context="far") == (
        "it has no context 'far': choose another one by --kube-context, there is 'c'"
    )


def test_no_current_context_is_reported_with_those_that_are_there(tmp_path: Path) -> None:
    config = write(tmp_path / "config")
    config.write_text(config.read_text().replace('"current-context":"c"', '"current-context":""'))

    assert failure(config) == "it names no current context: choose one by --kube-context, there is 'c'"


@pytest.mark.parametrize(("kind", "there"), [("user", "u"), ("cluster", "c")])
def test_context_that_names_what_is_not_there_is_reported(kind: str, there: str, tmp_path: Path) -> None:
    config = write(tmp_path / "config", context={kind: "none"})

    assert failure(config) == (
        f"context 'c' names the {kind} 'none', which is not there: add it, or correct the context, there is '{there}'"
    )


def test_user_without_credentials_is_reported(tmp_path: Path) -> None:
    assert failure(write(tmp_path / "config", user={})) == (
        "user 'u' has no credentials: give it a token, a tokenFile, a client-certificate with its client-key, "
        "or a credential plugin (exec)"
    )


def test_context_without_a_user_is_anonymous(tmp_path: Path) -> None:
    loaded = Kubeconfig(str(write(tmp_path / "config", context={"user": None}))).load(refresh=True)

    assert loaded.authorization == ""


def test_user_with_a_password_logs_in_with_it(tmp_path: Path) -> None:
    user: Fields = {"username": "me", "password": "pw"}

    assert Kubeconfig(str(write(tmp_path / "config", user=user))).load(refresh=True).authorization == "Basic bWU6cHc="


def test_file_of_a_token_is_read_at_each_load_without_the_space_around_it(tmp_path: Path) -> None:
    loader = Kubeconfig(str(write(tmp_path / "config", user={"tokenFile": "tokens/mine", "token": "older"})))
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/mine").write_text("first\n")
    first = loader.load(refresh=True).authorization
    (tmp_path / "tokens/mine").write_text(" second\r\n")

    assert (first, loader.load(refresh=False).authorization) == ("Bearer first", "Bearer second")


def test_file_of_a_token_that_is_missing_or_empty_is_reported(tmp_path: Path) -> None:
    config = write(tmp_path / "config", user={"tokenFile": "mine"})
    missing = failure(config)
    (tmp_path / "mine").write_text("\n")

    assert missing == f"{tmp_path}/mine can't be read (No such file or directory): correct its path, or write it"
    assert failure(config) == f"{tmp_path}/mine is empty: write the token into it"


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        ({}, ()),
        ({"as": None, "as-groups": None}, ()),
        ({"as": "jane"}, (("Impersonate-User", "jane"),)),
        (
            {"as": "jane", "as-uid": "7", "as-groups": ["a", "b"]},
            (
                ("Impersonate-User", "jane"),
                ("Impersonate-Uid", "7"),
                ("Impersonate-Group", "a"),
                ("Impersonate-Group", "b"),
            ),
        ),
        (
            {"as": "jane", "as-user-extra": {"example.com/scope": ["x", "y"]}},
            (
                ("Impersonate-User", "jane"),
                ("Impersonate-Extra-example.com%2Fscope", "x"),
                ("Impersonate-Extra-example.com%2Fscope", "y"),
            ),
        ),
    ],
    ids=["no one", "null", "user", "uid and groups", "extra"],
)
def test_impersonation_is_sent_as_kubectl_sends_it(
    user: Fields, headers: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    loaded = Kubeconfig(str(write(tmp_path / "config", user={"token": "t"} | user))).load(refresh=True)

    assert loaded.impersonation == headers


@pytest.mark.parametrize("user", [{"as-uid": "7"}, {"as-groups": ["a"]}, {"as-user-extra": {"a": ["b"]}}])
def test_impersonation_without_a_user_is_refused(user: Fields, tmp_path: Path) -> None:
    assert failure(write(tmp_path / "config", user={"token": "t"} | user)) == (
        "as-uid, as-groups and as-user-extra need `as`: add it, or take them out"
    )


def test_impersonation_by_what_can_be_no_header_is_refused(tmp_path: Path) -> None:
    assert failure(write(tmp_path / "config", user={"token": "t", "as": "a\nb"})) == (
        "as, as-uid, as-groups or as-user-extra hold a character that no name has: correct it"
    )


@pytest.mark.parametrize(
    ("user", "cluster", "why"),
    [
        ({"client-certificate": "none.crt"}, {}, "{folder}/none.crt can't be read (No such file or directory)"),
        ({"client-certificate-data": "YQ=="}, {}, "a client-certificate and its client-key belong together"),
        ({"client-certificate-data": "a"}, {}, "client-certificate-data is not base64: replace it"),
        (
            {"client-certificate-data": "YQ==", "client-key-data": "YQ=="},
            {},
            "the PEM text of the client certificate and its key can't be used",
        ),
        ({"token": "t"}, {"certificate-authority": "none.crt"}, "{folder}/none.crt can't be read (No such file"),
        ({"token": "t"}, {"certificate-authority-data": "YQ=="}, "the PEM text of authorities can't be used"),
    ],
)
def test_certificate_that_can_not_be_used_is_named(user: Fields, cluster: Fields, why: str, tmp_path: Path) -> None:
    found = failure(write(tmp_path / "config", user=user, cluster=cluster))

    assert found.startswith(why.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"tokenFile": "a\0b"}, {}),
        ({"client-certificate": "a\0b", "client-key": "c"}, {}),
        ({"token": "t"}, {"certificate-authority": "a\0b"}),
    ],
)
def test_path_that_can_not_be_is_refused(user: Fields, cluster: Fields, tmp_path: Path) -> None:
    assert r"a\x00b' can't be the path of a file" in failure(write(tmp_path / "config", user=user, cluster=cluster))


def test_names_may_be_written_with_the_surrogate_pairs_of_json(tmp_path: Path) -> None:
    config = write(tmp_path / "config", user={"username": "KEY", "password": "p"})
    config.write_text(config.read_text().replace("KEY", r"\ud83d\udd11"))

    authorization = Kubeconfig(str(config)).load(refresh=True).authorization

    assert base64.b64decode(authorization.removeprefix("Basic ")).decode() == "\N{KEY}:p"


def test_repr_shows_no_token(tmp_path: Path) -> None:
    loaded = Kubeconfig(str(write(tmp_path / "config"))).load(refresh=True)

    assert loaded.authorization == "Bearer hunter2"
    assert repr(loaded) == f"RestConfig({URL!r})"


def test_entry_that_is_incomplete_is_reported_without_its_token(tmp_path: Path) -> None:
    entry: Fields = {"name": "oidc", "config": {"client-secret": "hunter2"}}
    config = write(tmp_path / "config", user={"auth-provider": entry})

    assert failure(config) == "the auth-provider oidc fails: ConfigException"


def test_issuer_of_a_login_that_can_not_be_reached_is_reported_until_it_can(tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(b'{"exp": 1}').decode().rstrip("=")
    oidc = {"client-id": "i", "client-secret": "hunter2", "id-token": f"e30.{claims}.c2ln", "refresh-token": "hunter2"}
    entry: Fields = {"name": "oidc", "config": oidc | {"idp-issuer-url": "http://127.0.0.1:1"}}
    loader = Kubeconfig(str(write(tmp_path / "config", user={"auth-provider": entry})))

    for refresh in (True, False):
        with pytest.raises(CredentialsError, match=r"the auth-provider oidc fails: MaxRetryError$"):
            loader.load(refresh=refresh)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"server": "cluster.example"}, "its server must be a URL like https://kubernetes.example.com:6443$"),
        ({"server": "https://[::1"}, "its server must be a URL"),
        ({"server": "https://cluster.example:99999"}, "its server must be a URL"),
        ({"server": "https://cluster..example"}, "its server must be a URL"),
        (
            {"proxy-url": "socks5://user:hunter2@proxy"},
            "its proxy-url must be a URL like http://proxy.example.com:3128$",
        ),
        ({"proxy-url": "http://user:hunter2@[::1"}, "its proxy-url must be a URL"),
        ({"proxy-url": "http://user:hunter2@proxy:99999"}, "its proxy-url must be a URL"),
        ({"tls-server-name": "api..example"}, "its tls-server-name must be the name of a host"),
    ],
)
def test_address_that_can_not_be_is_refused(cluster: Fields, message: str, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=message) as caught:
        Kubeconfig(str(write(tmp_path / "config", cluster=cluster))).load(refresh=True)

    assert "hunter2" not in str(caught.value)


def test_keys_in_the_kubeconfig_are_not_written_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    certificate, key = Authority(tmp_path).issue("me")
    user: Fields = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    loader = Kubeconfig(str(write(tmp_path / "config", user=user)))

    assert loader.load(refresh=True).context is not loader.load(refresh=True).context


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
