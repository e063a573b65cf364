"""creationPolicy Merge on the real API server: beside other writers, and where definitions or namespaces go."""

import base64
import json
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_kubernetes.documents import Json, Object, items, text
from tests.process.running import World, world
from tests.real.cluster import ControlPlane, KubectlError, kubeconfig
from tests.real.kube_api import wait_until
from tests.real.network import Passed, network
from tests.real.openbao import OpenBao

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def seen() -> list[Passed]:
    """All requests of the program."""
    return []


@pytest.fixture
def here(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path, seen: list[Passed]) -> Iterator[World]:
    with network(control_plane, "us", see=seen.append) as links:
        login = kubeconfig(tmp_path / "kubeconfig", url=links["us"].url, token=control_plane.admin_token)
        with world(control_plane, openbao, tmp_path, kubeconfig=login) as made:
            yield made


def merge(here: World, name: str, keys: dict[str, str], *, into: str = "app") -> None:
    here.define(name, keys, name=into, creationPolicy="Merge")


def theirs(here: World, **values: str) -> None:
    """Apply a Secret of another client by kubectl."""
    apply(here, values, manager="helm")


def apply(here: World, values: Mapping[str, str], *, manager: str, force: bool = False) -> None:
    data: Object = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    document: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"}, "data": data}
    flags = ["--server-side", f"--field-manager={manager}", *(["--force-conflicts"] if force else [])]
    here.cluster.kubectl("--namespace", here.namespace, "apply", *flags, "-f", "-", stdin=json.dumps(document))


def writes(seen: list[Passed]) -> list[str]:
    return [f"{each.method} {each.target}" for each in seen if each.method in WRITES and "/secrets/" in each.target]


@contextmanager
def rewriting(here: World) -> Generator[list[str]]:
    """Rewrite another key of the Secret each second, as its own controller would. Yields the values."""
    values: list[str] = []
    stop = threading.Event()

    def run() -> None:
        with here.cluster.client_for(here.cluster.admin_token) as client:
            while not stop.wait(1.0):
                value = f"theirs-{len(values)}"
                data = {"token": base64.b64encode(value.encode()).decode()}
                client.patch(
                    here.path_of_secret("app"),
                    params={"fieldManager": "rotator"},
                    headers={"Content-Type": "application/merge-patch+json"},
                    content=json.dumps({"data": data}),
                ).raise_for_status()
                values.append(value)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield values
    finally:
        stop.set()
        thread.join()


def test_two_writers_lose_no_key_and_neither_writes_at_rest(here: World, seen: list[Passed]) -> None:
    theirs(here, token="theirs", other="theirs")
    place = here.write("app", k="ours-1") + "#k"
    merge(here, "ours", {"password": place})
    here.program.started()
    here.wait_for("app", {"token": "theirs", "other": "theirs", "password": "ours-1"})
    here.wait_for_reason("ours", "Synced")

    with rewriting(here) as values:
        here.write("app", k="ours-2")
        wait_until(lambda: (here.values("app") or {}).get("password") == "ours-2")
        before, rewrites = writes(seen), len(values)
        wait_until(lambda: len(values) >= rewrites + 5)
        assert writes(seen) == before
        here.write("app", k="ours-3")
        wait_until(lambda: (here.values("app") or {}).get("password") == "ours-3")
    assert here.values("app") == {"token": values[-1], "other": "theirs", "password": "ours-3"}

    time.sleep(1)
    version, before = here.version(here.path_of_secret("app")), writes(seen)
    time.sleep(3)
    assert (here.changes_of_secrets(since=version), writes(seen)) == ([], before)


def test_kubectl_apply_beside_us_conflicts_on_our_keys_alone(here: World) -> None:
    theirs(here, token="theirs")
    merge(here, "ours", {"password": here.write("app", k="ours") + "#k"})
    merge(here, "second", {"token": here.write("token", k="second") + "#k"})
    here.program.started()
    here.wait_for("app", {"token": "theirs", "password": "ours"})
    here.wait_for_reason("second", "SecretNotOwned")
    assert "key token is owned by manager helm" in here.message("second")

    with pytest.raises(KubectlError, match=r'conflict with "secrets-manager-merge/ours": \.data\.password'):
        theirs(here, token="theirs", password="taken")
    theirs(here, token="changed")
    here.wait_for("app", {"token": "changed", "password": "ours"})

    apply(here, {"password": "taken"}, manager="thief", force=True)
    here.wait_for_reason("ours", "SecretNotOwned")
    assert "key password is owned by manager thief" in here.message("ours")
    assert here.values("app") == {"token": "changed", "password": "taken"}

    here.cluster.patch(
        here.path_of_definition("ours"), {"metadata": {"annotations": {"secrets-manager.tuenti.io/adopt": "true"}}}
    )
    here.wait_for("app", {"token": "changed", "password": "ours"})
    here.wait_for_reason("ours", "Synced")
    wait_until(lambda: ("KeysAdopted", "ours") in here.events())


def test_nothing_but_keys_is_written(here: World) -> None:
    here.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "example.org/special",
            "metadata": {"name": "app", "namespace": here.namespace, "labels": {"a": "b"}, "annotations": {"c": "d"}},
        }
    )
    before = here.secret("app") or {}
    merge(here, "ours", {"password": here.write("app", k="ours") + "#k"})
    here.program.started()
    here.wait_for("app", {"password": "ours"})
    after = here.secret("app") or {}
    for field in ("uid", "labels", "annotations", "creationTimestamp"):
        assert metadata_of(after, field) == metadata_of(before, field)
    assert (after["type"], "ownerReferences" in str(after)) == ("example.org/special", False)
    assert {text(each, "manager") for each in items(after, "metadata", "managedFields")} == {
        "python-httpx",
        "secrets-manager-merge/ours",
    }
    here.cluster.delete(here.path_of_definition("ours"))
    here.wait_for("app", {})


def metadata_of(secret: Object, field: str) -> Json:
    metadata = secret["metadata"]
    return metadata.get(field) if isinstance(metadata, dict) else None


def test_a_secret_that_is_made_later_and_made_again(here: World) -> None:
    merge(here, "ours", {"password": here.write("app", k="ours") + "#k"})
    here.program.started()
    here.wait_for_reason("ours", "SecretRejected")
    assert here.secret("app") is None
    theirs(here, token="theirs")
    here.wait_for("app", {"token": "theirs", "password": "ours"})
    here.cluster.delete(here.path_of_secret("app"))
    here.wait_for_reason("ours", "SecretRejected")
    theirs(here, token="again")
    here.wait_for("app", {"token": "again", "password": "ours"})


def test_keys_leave_with_definitions_that_are_deleted_while_we_are_up_and_while_we_are_down(here: World) -> None:
    theirs(here, token="theirs")
    place = here.write("app", k="ours") + "#k"
    for name in ("first", "second", "third"):
        merge(here, name, {name: place})
    here.program.started()
    here.wait_for("app", {"token": "theirs", "first": "ours", "second": "ours", "third": "ours"})
    here.cluster.delete(here.path_of_definition("first"))
    here.wait_for("app", {"token": "theirs", "second": "ours", "third": "ours"})

    here.program.kill()
    here.cluster.delete(here.path_of_definition("second"))
    here.program.started()
    here.wait_for("app", {"token": "theirs", "third": "ours"})


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_namespace_is_deleted(here: World, *, up: bool) -> None:
    theirs(here, token="theirs")
    merge(here, "ours", {"password": here.write("app", k="ours") + "#k"})
    here.program.started()
    here.wait_for("app", {"token": "theirs", "password": "ours"})
    if not up:
        here.program.kill()
    path = f"/api/v1/namespaces/{here.namespace}"
    here.cluster.delete(path)
    wait_until(lambda: here.cluster.find(path) is None, seconds=60)
    assert here.program.running is up
