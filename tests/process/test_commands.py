"""The commands of the documents for users of definitions, run as they stand there against the real program."""

import base64
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from secrets_manager.controller import crd
from secrets_manager.demo.api.documents import parse
from tests.documents import blocks, commands
from tests.process.running import Namespace, SecretsManager
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.shell import run_shell

VALUES = {"username": "app", "password": "hunter2"}


class Shop(Namespace):
    """The namespace of the examples in a cluster of its own, where the program is at work."""

    def __init__(self, cluster: ControlPlane, bao: OpenBao, folder: Path) -> None:
        super().__init__(cluster, "shop")
        self.bao = bao
        self.folder = folder
        credentials = bao.reader("secret/data/shop/*")
        self.environment = {
            "KUBECONFIG": str(cluster.kubeconfig),
            "VAULT_ADDR": bao.url,
            "VAULT_ROLE_ID": credentials.role_id,
            "VAULT_SECRET_ID": credentials.secret_id,
        }

    def run(self, command: str) -> str:
        return run_shell(command, environment=self.environment, folder=self.folder)

    def apply(self, manifest: str) -> None:
        """Create the definition, and wait until it is in sync."""
        self.cluster.kubectl("apply", "-f", "-", stdin=manifest)
        self.wait_for_reason("shop-database", "Synced")


@pytest.fixture
def shop(own_control_plane: ControlPlane, openbao_alone: OpenBao, tmp_path: Path) -> Iterator[Shop]:
    openbao_alone.write_kv("secret/data/shop/db", {**VALUES})
    openbao_alone.write_kv("secret/data/shop/keystore", {"p12": base64.b64encode(b"\x00").decode()})
    for number in (1, 2, 3):
        openbao_alone.write_kv("secret/data/shop/api", {"account": f'{{"token": "token-{number}"}}'})
    own_control_plane.install(parse(msgspec.json.encode(crd.definition())))
    own_control_plane.kubectl("create", "namespace", "shop")
    made = Shop(own_control_plane, openbao_alone, tmp_path)
    with SecretsManager(tmp_path, flags=(), environment=made.environment) as program:
        program.started()
        yield made


def without_ages(table: str) -> list[str]:
    return re.sub(r"\b\d+s\b", "_s", table).split()


def test_kubectl_prints_of_the_readmes_definition_what_is_shown_there(shop: Shop) -> None:
    (manifest,), (shown,) = blocks("README.md#a-definition", "yaml"), blocks("README.md#a-definition", "")
    (get,) = commands("README.md#a-definition")
    shop.apply(manifest)

    assert without_ages(shop.run(get)) == without_ages(shown)
    assert shop.values("database") == VALUES


def test_the_example_of_all_fields_is_read_waited_for_listed_and_checked(shop: Shop) -> None:
    (manifest,) = blocks("docs/definitions.md#example", "yaml")
    (wait,), (listed,) = (
        commands("docs/definitions.md#waiting-for-a-definition"),
        commands("docs/operations.md#troubleshooting"),
    )
    (sync,), (check,) = commands("docs/definitions.md#annotations"), commands("docs/definitions.md#without-a-cluster")
    shop.apply(manifest)

    assert shop.values("database") == {**VALUES, "keystore.p12": "\x00", "api-token": "token-3"}
    assert "condition met" in shop.run(wait)
    assert "shop-database" in shop.run(listed)
    (events,) = commands("docs/definitions.md#events")
    wait_until(lambda: "Synced" in shop.run(events))
    reads = partial(shop.bao.count, "GET", "secret/data/shop/db")
    before = reads()
    shop.run(sync)
    wait_until(lambda: reads() > before)
    (shop.folder / "deploy" / "definitions").mkdir(parents=True)
    (shop.folder / "deploy" / "definitions" / "shop.yaml").write_text(manifest)
    checked = shop.run(check)
    assert [key for key in ("username", "password", "keystore.p12", "api-token") if key not in checked] == []
    assert VALUES["password"] not in checked
