"""What users of kubectl do with definitions on the real API server: wait, select, explain, prune."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fake_kubernetes.documents import Json, Object, text
from tests.process.running import API_VERSION, World, world
from tests.real.cluster import ControlPlane, KubectlError
from tests.real.openbao import OpenBao


@pytest.fixture
def here(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, openbao, tmp_path) as made:
        yield made


def test_wait_ends_with_the_truth(here: World) -> None:
    here.define("good", {"k": here.write("good", k="value") + "#k"})
    here.cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": here.namespace}}
    )
    here.define("taken", {"k": f"{here.home}/good#k"})
    with pytest.raises(KubectlError, match="timed out"):
        here.kubectl("wait", "sdef/good", "--for=condition=Ready", "--timeout=1s")

    here.program.started()

    here.kubectl("wait", "sdef/good", "--for=condition=Ready", "--timeout=30s")
    here.kubectl("wait", "sdef/taken", "--for=condition=Stalled", "--timeout=30s")
    here.kubectl("wait", "sdef/good", "--for=jsonpath={.status.observedGeneration}=1", "--timeout=30s")


def test_definitions_are_found_by_category_and_by_their_secret(here: World) -> None:
    here.define("one", {"k": "secret/data/x#k"}, name="first")
    here.define("two", {"k": "secret/data/x#k"}, name="second")

    names = "--output=jsonpath={.items[*].metadata.name}"
    assert here.kubectl("get", "secrets-manager", names) == "one two"
    assert here.kubectl("get", "sdef", "--field-selector=spec.name=second", names) == "two"


def test_explain_has_words_for_each_field(here: World) -> None:
    words = {
        "spec.keysMap.version": "Version to stay at, a number or a text",
        "spec.refreshInterval": "such as 1m30s",
        "status.conditions": "Generation of the spec that this condition speaks of.",
        "status.conditions.status": "ENUM: True False Unknown",
        "status.observedGeneration": "-1 until there is one",
    }

    printed = {field: " ".join(here.kubectl("explain", f"sdef.{field}").split()) for field in words}

    assert {field: text for field, text in printed.items() if words[field] not in text} == {}


def test_prune_by_an_applyset_leaves_the_secret(here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL_APPLYSET", "true")
    keys: Json = {"k": {"path": here.write("app", k="value"), "key": "k"}}
    definition: Object = {
        "apiVersion": API_VERSION,
        "kind": "SecretDefinition",
        "metadata": {"name": "app", "labels": {"team": "shop"}},
        "spec": {"name": "app", "keysMap": keys},
    }
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "definition.json").write_bytes(msgspec.json.encode(definition))
    # Another Secret in the set has kubectl list all Secrets for those to prune.
    (folder / "secret.json").write_text('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "beside"}}')
    apply = ("apply", "--prune", "--applyset=shop", f"--filename={folder}")
    here.program.started()
    here.kubectl(*apply)
    here.wait_for("app", {"k": "value"})
    before = here.secret("app")

    printed = here.kubectl(*apply)

    assert "pruned" not in printed
    assert text(here.secret("app"), "metadata", "uid") == text(before, "metadata", "uid")
    assert text(here.secret("app"), "metadata", "labels", "team") == "shop"
    (folder / "secret.json").unlink()
    assert "secret/beside pruned" in here.kubectl(*apply)
    assert here.values("app") == {"k": "value"}
