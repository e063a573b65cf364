"""`secrets-manager explain` and `plan` as processes, on the real API server and a real OpenBao.

Both log in with rights to read alone, so a write would fail.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from fake_kubernetes.documents import Json, Object, at, items, mapping, parse, text
from tests.process.running import API_VERSION, World, world
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

CANARY = "canary-hunter2"
NEXT_CANARY = "canary-hunter-the-third"
DEFINITIONS: Json = {
    "apiGroups": ["secrets-manager.tuenti.io"],
    "resources": ["secretdefinitions"],
    "verbs": ["get", "list"],
}
SECRETS: Json = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}
READING: list[Json] = [DEFINITIONS, SECRETS]


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str

    @property
    def explained(self) -> list[Json]:
        return items(parse(self.stdout.encode()), "definitions")


@pytest.fixture
def here(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, openbao, tmp_path) as made:
        yield made


class Commands:
    """Runs the commands in a world as a user with these rights."""

    def __init__(self, world: World, folder: Path, rules: list[Json]) -> None:
        token = world.cluster.service_account_token(world.namespace, "reader", rules=rules)
        kubeconfig = world.cluster.kubeconfig_for(token, name=f"reader-{world.namespace}")
        self.environment = {**os.environ, **world.environment, "KUBECONFIG": str(kubeconfig)}
        self._folder = folder

    def run(self, *argv: str, stdin: str = "", **environment: str) -> Done:
        command = [sys.executable, "-m", "secrets_manager", *argv]
        done = subprocess.run(
            command, input=stdin, env=self.environment | environment,
            cwd=self._folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        canaries = {CANARY, NEXT_CANARY} | {base64.b64encode(each.encode()).decode() for each in (CANARY, NEXT_CANARY)}
        assert [each for each in canaries if each in done.stdout + done.stderr] == []
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def commands(here: World, tmp_path: Path) -> Commands:
    return Commands(here, tmp_path, READING)


def manifest(here: World, name: str, *keys: str, **metadata: Json) -> Object:
    path = f"{here.home}/db"
    return {
        "apiVersion": API_VERSION,
        "kind": "SecretDefinition",
        "metadata": {"name": name, "namespace": here.namespace, **metadata},
        "spec": {"name": name, "keysMap": {key: {"path": path, "key": key} for key in keys}},
    }


def synced(here: World) -> None:
    """The definition db is in sync."""
    here.write("db", username="app", password=CANARY)
    here.cluster.apply(manifest(here, "db", "username", "password"))
    here.program.started()
    here.wait_for_reason("db", "Synced")


def test_a_change_is_explained_before_the_controller_makes_it(here: World, commands: Commands) -> None:
    synced(here)
    here.program.terminate()
    here.write("db", username="app", password=NEXT_CANARY)
    before = here.version(here.path_of_secret())

    done = commands.run("explain", f"{here.namespace}/db")
    as_json = commands.run("explain", "-o", "json", "-n", here.namespace, "db")

    lines = done.stdout.splitlines()
    assert (done.code, done.stderr) == (0, "")
    assert lines[:4] == [
        f"{here.namespace}/db: Secret db would be changed",
        "  Owner     SecretDefinition db (this definition)",
        f"  Keys      ~ password  {len(NEXT_CANARY)} bytes, was {len(CANARY)}",
        "              username  3 bytes",
    ]
    assert lines[4].startswith(f"  Sources   {here.home}/db, version 2, changed 20")
    assert lines[5] == f"  Reads     Vault at {here.bao.url}, as the AppRole of auth/approle"
    assert "            Synced: Secret db is in sync" in lines
    (explained,) = as_json.explained
    assert (text(explained, "action"), at(explained, "keys", "0")) == ("change", None)
    assert [text(key, "change") for key in items(explained, "keys")] == ["changed", "same"]
    assert here.changes_of_secrets(since=before) == []

    here.program.started()
    here.wait_for("db", {"username": "app", "password": NEXT_CANARY})
    assert commands.run("explain", f"{here.namespace}/db").stdout.startswith(
        f"{here.namespace}/db: Secret db would stay as it is\n"
    )


def test_all_definitions_of_a_namespace_and_those_of_files_are_explained(
    here: World, commands: Commands, tmp_path: Path
) -> None:
    here.write("db", username="app", password=CANARY)
    for name in ("one", "two"):
        here.cluster.apply(manifest(here, name, "username"))
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(manifest(here, "one", "password")))

    whole = commands.run("explain", "-n", here.namespace, "-o", "json")
    of_file = commands.run("explain", "-f", "one.yaml", "-o", "json")

    assert [text(each, "name") for each in whole.explained] == ["one", "two"]
    (one,) = of_file.explained
    assert [text(key, "name") for key in items(one, "keys")] == ["username"], "it is explained as it is in the cluster"


def test_a_namespace_without_definitions_is_no_problem(here: World, commands: Commands) -> None:
    done = commands.run("explain", "-n", here.namespace)
    as_json = commands.run("explain", "-n", here.namespace, "--output=json")

    assert done == Done(0, "", f"secrets-manager: there is no SecretDefinition in namespace {here.namespace}\n")
    assert (as_json.code, as_json.explained) == (0, [])


def test_a_definition_that_does_not_exist_ends_with_1(here: World, commands: Commands) -> None:
    done = commands.run("explain", f"{here.namespace}/nope")

    assert (done.code, done.stderr) == (1, "")
    assert done.stdout == (
        f"{here.namespace}/nope: can't be explained\n"
        f"  Problem   DefinitionNotFound: there is no SecretDefinition {here.namespace}/nope: "
        "correct the name, or the context of the kubeconfig\n"
    )


def test_without_the_right_to_read_secrets_the_rest_is_explained(here: World, tmp_path: Path) -> None:
    synced(here)
    commands = Commands(here, tmp_path, [DEFINITIONS])

    done = commands.run("explain", f"{here.namespace}/db")

    assert done.code == 1
    lines = done.stdout.splitlines()
    assert lines[0] == f"{here.namespace}/db: Secret db can't be compared"
    assert lines[1].startswith("  Problem   SecretUnreadable: Secret db can't be read: GET /api/v1/")
    assert lines[1].endswith(
        f": let this user get and list Secrets in namespace {here.namespace}, or use the controller's kubeconfig"
    )
    assert lines[2:4] == [f"  Keys      ? password  {len(CANARY)} bytes", "            ? username  3 bytes"]
    assert "            Synced: Secret db is in sync" in lines


def test_without_any_right_it_says_which_is_missing(here: World, tmp_path: Path) -> None:
    here.cluster.apply(manifest(here, "db", "username"))
    commands = Commands(here, tmp_path, [SECRETS])

    explained = commands.run("explain", f"{here.namespace}/db")
    listed = commands.run("explain", "-n", here.namespace)
    planned = commands.run("plan", "-f", "-", stdin=yaml.safe_dump(manifest(here, "db", "username")))

    step = f"let this user get secretdefinitions in namespace {here.namespace}"
    assert (explained.code, listed.code, planned.code) == (1, 1, 1)
    assert step in explained.stdout
    assert step in planned.stdout
    assert "403 Forbidden" in listed.stderr
    assert listed.stdout == ""


def test_while_vault_is_down_the_rest_is_explained(here: World, commands: Commands) -> None:
    synced(here)

    done = commands.run("explain", f"{here.namespace}/db", VAULT_ADDR="http://127.0.0.1:1")
    planned = commands.run(
        "plan", "-f", "-", stdin=yaml.safe_dump(manifest(here, "db", "username")), VAULT_ADDR="http://127.0.0.1:1"
    )

    assert (done.code, planned.code) == (1, 1)
    assert "Problem   BackendUnavailable: key password: Vault at http://127.0.0.1:1 can't be reached" in done.stdout
    assert "  Owner     SecretDefinition db (this definition)\n" in done.stdout
    assert "            Synced: Secret db is in sync" in done.stdout.splitlines()


def test_plan_ends_with_3_until_it_is_applied_and_then_with_0(here: World, commands: Commands, tmp_path: Path) -> None:
    here.write("db", username="app", password=CANARY)
    file = tmp_path / "db.yaml"
    file.write_text(yaml.safe_dump(manifest(here, "db", "username", labels={"team": "shop"})))
    here.program.started()

    created = commands.run("plan", "-f", str(file))
    here.kubectl("apply", "-f", str(file))
    here.wait_for_reason("db", "Synced")
    applied = commands.run("plan", "-f", str(file))
    file.write_text(yaml.safe_dump(manifest(here, "db", "username", "password")))
    changed = commands.run("plan", "-f", str(file), "-o", "json")
    here.kubectl("apply", "-f", str(file))
    here.wait_for("db", {"username": "app", "password": CANARY})
    again = commands.run("plan", "-f", str(file))

    where = f"{here.namespace}/db ({file}, document 1)"
    assert created == Done(
        3,
        f"{where}: Secret db would be created\n"
        "  Keys      + username  3 bytes\n"
        "Secrets: 1 to create, 0 to change, 0 to delete. Definitions with a problem: 0\n",
        "",
    )
    assert (applied.code, again.code) == (0, 0)
    assert applied.stdout.startswith(f"{where}: Secret db would stay as it is\n")
    (one,) = changed.explained
    assert changed.code == 3
    assert [(text(key, "name"), text(key, "change")) for key in items(one, "keys")] == [
        ("password", "added"),
        ("username", "same"),
    ]
    copied = "metadata.annotations[secrets-manager.tuenti.io/copied]"
    assert items(one, "fields") == [copied, "metadata.labels[team]"]
    assert "team" not in mapping(here.secret("db"), "metadata", "labels")


def test_a_problem_of_one_definition_ends_plan_with_1(here: World, commands: Commands) -> None:
    here.write("db", username="app", password=CANARY)
    good, bad = manifest(here, "good", "username"), manifest(here, "bad", "username", "nope")
    spec: Object = {"name": "broken", "keysMaps": {}}
    broken = {**manifest(here, "broken", "username"), "spec": spec}

    nameless = {**good, "metadata": {"namespace": here.namespace}}

    done = commands.run("plan", "-f", "-", stdin=yaml.safe_dump_all([good, bad, broken, nameless]))
    explained = commands.run("explain", "-f", "-", stdin=yaml.safe_dump(nameless))

    assert done.code == 1
    fault = "can't be explained\n  Problem   DefinitionInvalid: it has no metadata.name\n"
    assert f"standard input, document 4: {fault}" in done.stdout
    assert explained == Done(1, f"standard input, document 1: {fault}", "")
    assert f"{here.namespace}/good (standard input, document 1): Secret good would be created\n" in done.stdout
    assert "  Problem   SourceNotFound: key nope: 'nope' at " in done.stdout
    assert "  Problem   DefinitionInvalid: there is no field spec.keysMaps: " in done.stdout
    assert done.stdout.endswith("Secrets: 1 to create, 0 to change, 0 to delete. Definitions with a problem: 3\n")


def test_an_api_server_that_is_down_is_one_line(here: World, commands: Commands, tmp_path: Path) -> None:
    content: Object = parse(Path(commands.environment["KUBECONFIG"]).read_bytes())
    (cluster,) = items(content, "clusters")
    assert isinstance(cluster, dict)
    cluster["cluster"] = {"server": "http://127.0.0.1:1"}
    (tmp_path / "down").write_bytes(msgspec.json.encode(content))

    done = commands.run("explain", f"{here.namespace}/db", KUBECONFIG=str(tmp_path / "down"))

    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("secrets-manager: GET /apis/secrets-manager.tuenti.io/v1alpha1/namespaces/")
    assert done.stderr.count("\n") == 1
