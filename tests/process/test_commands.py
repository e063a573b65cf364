"""The commands of the documents for users of definitions, run as they stand there against the real program."""

import base64
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fake_kubernetes.documents import at
from tests.definitions import CRD
from tests.documents import blocks, commands
from tests.process.running import API_VERSION, Namespace, SecretsManager
from tests.real.cluster import ControlPlane, running_cluster
from tests.real.control_plane import binaries_or_skip
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao, running_openbao
from tests.real.shell import run_shell

pytestmark = pytest.mark.real

DATABASE = {"username": "app", "password": "hunter2"}
EXAMPLE = DATABASE | {"keystore.p12": "\x00", "api-token": "token-3"}
"""What the Secret of the example in docs/definitions.md holds."""


class Shop(Namespace):
    """The namespace and the folder of the examples, in servers of their own."""

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

    def fill(self) -> None:
        self.bao.write_kv("secret/data/shop/db", {**DATABASE})
        self.bao.write_kv("secret/data/shop/smtp", {"host": "bWFpbA==", "reply_to": "bWU="})
        self.bao.write_kv("secret/data/shop/keystore", {"p12": base64.b64encode(b"\x00").decode()})
        for number in (1, 2, 3):
            self.bao.write_kv("secret/data/shop/api", {"account": f'{{"token": "token-{number}"}}'})

    def run(self, command: str) -> str:
        return run_shell(command, environment=self.environment, folder=self.folder)

    def apply(self, manifest: str) -> None:
        """Create or change the definition, and wait until its status says so."""
        self.cluster.kubectl("apply", "-f", "-", stdin=manifest)
        wait_until(self._is_observed)

    def _is_observed(self) -> bool:
        definition = self.definition("shop-database")
        return at(definition, "status", "observedGeneration") == at(definition, "metadata", "generation")


@pytest.fixture(scope="module")
def shop(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with running_cluster(binaries_or_skip(pytestconfig)) as cluster, running_openbao(folder) as bao:
        cluster.install(CRD)
        cluster.kubectl("create", "namespace", "shop")
        made = Shop(cluster, bao, folder)
        made.fill()
        with SecretsManager(folder, flags=(), environment=made.environment) as program:
            program.started()
            yield made


@pytest.fixture
def example() -> str:
    """The definition of single keys."""
    (manifest,) = blocks("docs/definitions.md#single-keys", "yaml")
    return manifest


@pytest.fixture
def synced(shop: Shop, example: str) -> Shop:
    """The place where the example is in sync."""
    shop.apply(example)
    assert shop.values("database") == EXAMPLE
    return shop


def without_ages(table: str) -> list[str]:
    return re.sub(r"\b\d+s\b", "_s", table).split()


def test_kubectl_prints_of_the_readmes_definition_what_is_shown_there(shop: Shop) -> None:
    (manifest,), (shown,) = blocks("README.md#a-definition", "yaml"), blocks("README.md#a-definition", "")
    (get,) = commands("README.md#a-definition")
    shop.apply(manifest)

    assert without_ages(shop.run(get)) == without_ages(shown)
    assert shop.values("database") == {
        "password": "hunter2",
        "url": "postgresql://app@db/shop",
        "SMTP_host": "bWFpbA==",
        "SMTP_reply_to": "bWU=",
    }


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("whole-secrets", {"DB_PASSWORD": "hunter2", "SMTP_host": "mail", "SMTP_reply_to": "me"}),
        ("templates", {"url": "postgresql://app:hunter2@db.shop:5432/shop"}),
    ],
)
def test_the_other_examples_make_what_they_say(shop: Shop, section: str, values: dict[str, str]) -> None:
    (spec,) = blocks(f"docs/definitions.md#{section}", "yaml")
    head = f"apiVersion: {API_VERSION}\nkind: SecretDefinition\nmetadata: {{name: {section}, namespace: shop}}\n"
    shop.cluster.kubectl("apply", "-f", "-", stdin=f"{head}{spec.replace('version: 3', 'version: 1')}")
    try:
        shop.wait_for("shop", values)
    finally:
        shop.kubectl("delete", "secretdefinition", section)
        shop.wait_for("shop", None)


def test_the_example_can_be_waited_for_and_is_listed(synced: Shop) -> None:
    (wait,), (listing,) = (
        commands("docs/definitions.md#waiting-for-a-definition"),
        commands("docs/operations.md#troubleshooting"),
    )

    assert "condition met" in synced.run(wait)
    assert "shop-database" in synced.run(listing)


def test_events_of_the_example_are_shown(synced: Shop) -> None:
    (events,) = commands("docs/definitions.md#events")

    wait_until(lambda: "Synced" in synced.run(events))


def test_an_annotation_triggers_a_read(shop: Shop, example: str) -> None:
    (annotate,) = commands("docs/definitions.md#annotations")
    shop.apply(example.replace("refreshInterval: 1m", "refreshInterval: 1h"))  # no poll comes in between
    reads = partial(shop.bao.count, "GET", "secret/data/shop/db")
    before = reads()

    shop.run(annotate)

    wait_until(lambda: reads() > before)


def test_the_example_passes_the_checks_of_a_pipeline_and_is_explained(synced: Shop, example: str) -> None:
    check, plan, explain = commands("docs/definitions.md#render-plan-and-explain")
    definitions = synced.folder / "deploy" / "definitions"
    definitions.mkdir(parents=True)
    (definitions / "shop.yaml").write_text(example)

    lines = synced.run(check).splitlines()
    planned, explained = synced.run(plan), synced.run(explain)

    assert sorted(line.partition("key ")[2] for line in lines) == sorted(f"{key}: ok" for key in EXAMPLE)
    assert planned.splitlines()[0].endswith(": Secret database would stay as it is")
    assert explained.startswith("shop/shop-database: Secret database would stay as it is\n")
