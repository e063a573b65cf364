"""`secrets-manager render` as a process, between files and a real OpenBao."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.real.openbao import OpenBao

SECRET = "hunter2"


def definition(home: str, *keys: str, name: str = "database") -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
            "kind": "SecretDefinition",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"name": name, "keysMap": {key: {"path": f"{home}/db", "key": key} for key in keys}},
        }
    )


def render(bao: OpenBao, home: str, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    credentials = bao.reader(f"{home}/*")
    environ = {
        **os.environ,
        "VAULT_ADDR": bao.url,
        "VAULT_ROLE_ID": credentials.role_id,
        "VAULT_SECRET_ID": credentials.secret_id,
    }
    command = [sys.executable, "-m", "secrets_manager", "render", *argv]
    return subprocess.run(command, input=stdin, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_secret_is_printed_as_kubectl_takes_it(openbao: OpenBao) -> None:
    home = f"secret/data/{openbao.fresh()}"
    openbao.write_kv(f"{home}/db", {"username": "app", "password": SECRET})

    done = render(openbao, home, "-f", "-", stdin=definition(home, "username", "password"))

    assert (done.returncode, done.stderr) == (0, "")
    assert list(yaml.safe_load_all(done.stdout)) == [
        {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {
                "name": "database",
                "namespace": "shop",
                "labels": {"app.kubernetes.io/managed-by": "secrets-manager"},
            },
            "type": "Opaque",
            "data": {"username": "YXBw", "password": "aHVudGVyMg=="},
        }
    ]


def test_path_is_read_once_and_the_token_is_given_back(openbao: OpenBao) -> None:
    home = f"secret/data/{openbao.fresh()}"
    openbao.write_kv(f"{home}/db", {"username": "app", "password": SECRET})
    text = definition(home, "username", "password") + "---\n" + definition(home, "password", name="other")
    revoked = openbao.count("POST", "auth/token/revoke-self")

    done = render(openbao, home, "--check", "-f", "-", stdin=text)

    assert done.returncode == 0
    assert openbao.count("GET", f"{home}/db") == 1
    assert openbao.count("POST", "auth/token/revoke-self") == revoked + 1


def test_an_unresolved_key_is_reported_without_any_value_and_the_exit_code_is_1(
    openbao: OpenBao, tmp_path: Path
) -> None:
    home = f"secret/data/{openbao.fresh()}"
    openbao.write_kv(f"{home}/db", {"username": SECRET})
    (tmp_path / "good.yaml").write_text(definition(home, "username", name="good"))
    (tmp_path / "half.yaml").write_text(definition(home, "username", "password", name="half"))

    checked = render(openbao, home, "--check", "-f", str(tmp_path))
    printed = render(openbao, home, "-f", f"{tmp_path}/good.yaml", "-f", f"{tmp_path}/half.yaml")

    missing = (
        f"shop/half ({tmp_path}/half.yaml, document 1): SourceNotFound: key password: 'password' at {home}/db "
        "does not exist: write it, or correct the name"
    )
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout.splitlines() == [
        f"shop/good ({tmp_path}/good.yaml, document 1): key username: ok",
        f"shop/half ({tmp_path}/half.yaml, document 1): key username: ok",
        missing,
    ]
    assert (printed.returncode, printed.stderr) == (1, f"secrets-manager: {missing}\n")
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(printed.stdout)] == ["good"]
