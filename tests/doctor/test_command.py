"""`secrets-manager doctor` on the command line: exit codes and formats."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from secrets_manager.cli.flags import given
from secrets_manager.cli.main import main
from secrets_manager.config import Setting
from tests.real.program import free_port


@pytest.fixture(autouse=True)
def nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Neither a cluster nor a Vault, and a log that is left as it was."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("VAULT_SECRET_ID", "canary-secret")
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]


def test_failures_end_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--vault.role-id=canary-role"]) == 1

    shown = capsys.readouterr()
    lines = [line.split()[:2] for line in shown.out.splitlines()]
    assert ["failure", "kubernetes"] in lines
    assert ["failure", "vault-connection"] in lines
    assert ["warning", "configuration"] in lines, "a role_id on the command line"
    assert "canary" not in shown.out + shown.err


def test_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--vault.role-id=r", "-o", "json"]) == 1

    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {tuple(each) for each in checks} == {("check", "state", "message", "fix")}
    assert {each["state"] for each in checks} == {"warning", "failure", "skipped"}


@pytest.mark.parametrize(
    "argv", [["doctor"], ["doctor", "--nope"], ["doctor", "shop/db"], ["doctor", "--vault.role-id=r", "-o", "yaml"]]
)
def test_wrong_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2

    assert capsys.readouterr().out == ""


def test_how_each_setting_was_given_is_known() -> None:
    flags = {"vault.url": "https://a", "vault.role-id": "r", "kubeconfig": "x"}
    environ = {"VAULT_ADDR": "https://b", "VAULT_ROLE_ID": "r", "VAULT_NAMESPACE": "n", "VAULT_SECRET_ID": " "}

    assert given(flags, environ) == [
        Setting("vault.url", "VAULT_ADDR", by_flag=True, by_variable=True, differ=True),
        Setting("vault.namespace", "VAULT_NAMESPACE", by_variable=True),
        Setting("vault.role-id", "VAULT_ROLE_ID", secret=True, by_flag=True, by_variable=True),
        Setting("kubeconfig", by_flag=True),
    ]
