import io
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.backends import (
    BackendError,
    Document,
    Source,
    SourceForbidden,
    SourceNotFound,
    TimedOut,
    Unavailable,
)
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.config import Config, VaultConfig
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.errors import UsageError
from secrets_manager.inputs.documents import read_all
from secrets_manager.inputs.manifests import Manifests, load
from secrets_manager.inputs.progress import announced
from secrets_manager.render.command import render
from secrets_manager.render.rendering import Rendering, evaluate, render_check, render_secrets

DEFINITION = """\
apiVersion: secrets-manager.tuenti.io/v1alpha1
kind: SecretDefinition
metadata:
  name: shop-database
  namespace: shop
  uid: 7f0c
  labels: {team: shop}
  annotations: {secrets-manager.tuenti.io/force-sync: now}
spec:
  name: database
  keysMap:
    username: {path: secret/data/shop/db, key: username}
    password: {path: secret/data/shop/db, key: password}
    keystore.p12: {path: secret/data/shop/keystore, key: p12, encoding: base64}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\n"

DB = Source("secret/data/shop/db")
KEYSTORE = Source("secret/data/shop/keystore")
POLICY = PathPolicy((), lambda path: parse_path(path).segments)


def document(**values: str | None) -> Document:
    return Document(values=values, marker="1", version=1)


Held = Mapping[Source, Document | BackendError]

FULL: dict[Source, Document | BackendError] = {
    DB: document(username="app", password="hunter2"),
    KEYSTORE: document(p12="AAEC"),
}


def manifests(text: str) -> Manifests:
    return load(["-"], stdin=io.StringIO(text))


def rendered(text: str, held: Held = FULL) -> Rendering:
    return render_secrets(evaluate(found, held, POLICY) for found in manifests(text).found)


def checked(text: str, held: Held = FULL) -> Rendering:
    return render_check(evaluate(found, held, POLICY) for found in manifests(text).found)


WHOLE = """\
apiVersion: secrets-manager.tuenti.io/v1alpha1
kind: SecretDefinition
metadata: {name: shop, namespace: shop}
spec:
  name: shop
  immutable: true
  metadata: {labels: {example.com/tier: db}}
  sources:
    db: {path: secret/data/shop/db}
  dataFrom:
    - {source: db, include: [user*]}
  keysMap:
    url: {template: "postgresql://{{ db.username }}:{{ db.password }}@db/shop"}
"""


def test_whole_documents_templates_and_all_that_is_said_of_the_secret_are_rendered() -> None:
    assert rendered(WHOLE) == Rendering(
        """\
---
kind: Secret
apiVersion: v1
metadata:
  name: shop
  namespace: shop
  labels:
    example.com/tier: db
    app.kubernetes.io/managed-by: secrets-manager
  annotations:
    secrets-manager.tuenti.io/copied: example.com/tier;
type: Opaque
data:
  url: cG9zdGdyZXNxbDovL2FwcDpodW50ZXIyQGRiL3Nob3A=
  username: YXBw
immutable: true
""",
        [],
        complete=True,
    )


def test_check_names_each_key_of_a_document_and_each_problem() -> None:
    shop = "shop/shop (standard input, document 1)"
    assert checked(WHOLE).text == f"{shop}: key url: ok\n{shop}: key username: ok\n"
    assert checked(WHOLE, {DB: document(password="hunter2")}).text == (
        f"{shop}: SourceInvalid: dataFrom[0]: secret/data/shop/db has no key that include and exclude leave: "
        "correct the globs\n"
        f"{shop}: SourceNotFound: key url: 'username' at secret/data/shop/db does not exist: "
        "write it, or correct the name\n"
    )


def test_secret_is_what_the_controller_would_write_without_owner_uid_and_time() -> None:
    assert rendered(DEFINITION) == Rendering(
        """\
---
kind: Secret
apiVersion: v1
metadata:
  name: database
  namespace: shop
  labels:
    team: shop
    app.kubernetes.io/managed-by: secrets-manager
  annotations:
    secrets-manager.tuenti.io/copied: team;
type: Opaque
data:
  keystore.p12: AAEC
  password: aHVudGVyMg==
  username: YXBw
""",
        [],
        complete=True,
    )


def test_keys_for_a_secret_of_others_are_rendered_without_labels() -> None:
    merging = DEFINITION.replace("  name: database", "  name: database\n  creationPolicy: Merge")
    text = rendered(merging).text
    assert "password: aHVudGVyMg==" in text
    assert "labels" not in text


def test_definition_without_a_namespace_leads_to_a_secret_without_one() -> None:
    assert "namespace" not in rendered(DEFINITION.replace("  namespace: shop\n", "")).text


WHERE = "shop/shop-database (standard input, document 1)"


def test_definition_that_does_not_resolve_leads_to_no_half_secret() -> None:
    held = FULL | {DB: document(username="app"), KEYSTORE: SourceForbidden("path 'secret/data/shop/keystore' is taboo")}

    assert rendered(DEFINITION, held) == Rendering(
        "",
        [
            f"{WHERE}: SourceForbidden: key keystore.p12: path 'secret/data/shop/keystore' is taboo",
            (
                f"{WHERE}: SourceNotFound: key password: 'password' at secret/data/shop/db does not exist: "
                "write it, or correct the name"
            ),
        ],
        complete=False,
    )


def test_the_others_are_printed_when_one_does_not_resolve() -> None:
    other = DEFINITION.replace("secret/data/shop/", "secret/data/bank/").replace("name: database", "name: bank")
    held = FULL | {Source("secret/data/bank/db"): Unavailable("down"), Source("secret/data/bank/keystore"): FULL[DB]}

    rendering = rendered(f"{other}---\n{DEFINITION}", held)

    assert rendering.text == rendered(DEFINITION).text
    assert not rendering.complete


def test_check_has_a_line_for_each_key_and_no_value() -> None:
    assert checked(DEFINITION) == Rendering(
        f"{WHERE}: key keystore.p12: ok\n{WHERE}: key password: ok\n{WHERE}: key username: ok\n", [], complete=True
    )


def test_check_reports_what_is_wrong_with_a_key() -> None:
    held = FULL | {KEYSTORE: document(p12="not base64: hunter2")}

    assert checked(DEFINITION, held) == Rendering(
        (
            f"{WHERE}: key password: ok\n"
            f"{WHERE}: key username: ok\n"
            f"{WHERE}: SourceInvalid: key keystore.p12: 'p12' at secret/data/shop/keystore: "
            "the value is not base64: encode it, or remove encoding: base64\n"
        ),
        [],
        complete=False,
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "  name: database\n",
            "  name: Data_Base\n",
            (
                f"{WHERE}: DefinitionInvalid: spec.name 'Data_Base' can't be the name of a Secret: "
                "use at most 253 lower case letters, digits, '-' and '.'"
            ),
        ),
        (
            "  name: shop-database\n",
            "",
            "standard input, document 1: DefinitionInvalid: it has no metadata.name",
        ),
        (
            "{team: shop}",
            "{team: 1}",
            (
                "standard input, document 1: DefinitionInvalid: it can't be read: "
                "metadata.labels[...] must be a text, and is a number: write it in quotes"
            ),
        ),
        (
            "keysMap:",
            "keysMaps:",
            (
                f"{WHERE}: DefinitionInvalid: there is no field spec.keysMaps: "
                "correct its name or place, for kubectl refuses it"
            ),
        ),
    ],
    ids=["name of the Secret", "no name", "label", "no keysMap"],
)
def test_invalid_definition_is_reported_before_any_read(old: str, new: str, line: str) -> None:
    assert checked(DEFINITION.replace(old, new), {}) == Rendering(f"{line}\n", [], complete=False)


def test_other_objects_are_passed_over_with_a_remark() -> None:
    foreign = DEFINITION.replace("v1alpha1", "v9")

    loaded = manifests(f"{CONFIG_MAP}---\n{DEFINITION}---\n# nothing\n---\n{foreign}---\njust text\n")

    assert [found.location for found in loaded.found] == ["standard input, document 2"]
    assert loaded.skipped == [
        "standard input, document 1 is skipped: it is ConfigMap v1",
        "standard input, document 4 is skipped: it is SecretDefinition secrets-manager.tuenti.io/v9",
        "standard input, document 5 is skipped: it is not a Kubernetes object",
    ]


def test_lists_of_kubectl_are_read_item_by_item() -> None:
    item = "".join(f"  {line}" for line in DEFINITION.splitlines(keepends=True))

    loaded = manifests(f"apiVersion: v1\nkind: List\nitems:\n-\n{item}-\n{item}")

    assert [found.location for found in loaded.found] == [
        "standard input, document 1, item 1",
        "standard input, document 1, item 2",
    ]


def test_folder_is_read_through_in_the_order_of_names_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/notes.txt", ".git/x.yaml", "c.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "b.yaml").write_text(DEFINITION)
    (tmp_path / "a/z.yml").write_text("\ufeff" + DEFINITION)
    (tmp_path / "a/notes.txt").write_text("{{")
    (tmp_path / ".git/x.yaml").write_text("{{")
    (tmp_path / "c.json").write_text(
        '{"apiVersion": "secrets-manager.tuenti.io/v1alpha1", "kind": "SecretDefinition",'
        ' "metadata": {"name": "x"}, "spec": {"name": "x", "keysMap": {}}}'
    )

    loaded = load([str(tmp_path)], stdin=io.StringIO())

    assert [found.location for found in loaded.found] == [
        f"{tmp_path}/{name}, document 1" for name in ("a/z.yml", "b.yaml", "c.json")
    ]


NO_VALUE = "standard input is not YAML: it has an invalid character, date or number, or is nested too deep"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\n", "standard input is not YAML in line 2: expected ',' or ']', but got '<stream end>'"),
        ("a: \x07", NO_VALUE),
        ("a: 2026-99-99", NO_VALUE),
        ("a: !!bool b", NO_VALUE),
        ("a: !!int ''", NO_VALUE),
        ("- " * 5000, NO_VALUE),
        ("", "there is no SecretDefinition of secrets-manager.tuenti.io/v1alpha1 in -"),
        (
            CONFIG_MAP,
            (
                "there is no SecretDefinition of secrets-manager.tuenti.io/v1alpha1 in -: "
                "standard input, document 1 is skipped: it is ConfigMap v1"
            ),
        ),
        (
            f"{CONFIG_MAP}---\n{DEFINITION.replace('v1alpha1', 'v1')}---\n{CONFIG_MAP}",
            (
                "there is no SecretDefinition of secrets-manager.tuenti.io/v1alpha1 in -: "
                "standard input, document 2 is skipped: it is SecretDefinition secrets-manager.tuenti.io/v1"
            ),
        ),
    ],
    ids=[
        "syntax",
        "character",
        "date",
        "bool",
        "int",
        "depth",
        "empty",
        "other-kinds-only",
        "another-version",
    ],
)
def test_file_that_is_of_no_use_ends_it_all_in_one_line(text: str, line: str) -> None:
    with pytest.raises(UsageError) as raised:
        manifests(text)

    assert str(raised.value) == line


def test_half_a_surrogate_pair_spoils_no_other_document() -> None:
    half = DEFINITION.replace(
        "{path: secret/data/shop/db, key: username}", '{path: secret/data/shop/db, key: "a\\ud83d"}'
    )

    made = rendered(f"{half}---\n{DEFINITION.replace('name: database', 'name: other')}")

    assert "name: other" in made.text


def test_definition_that_contains_itself() -> None:
    loaded = manifests(DEFINITION.replace("spec:", "spec: &spec\n  more: *spec"))

    assert [found.definition for found in loaded.found] == [
        "it can't be read: it has a value that JSON can't represent"
    ]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        load([f"{tmp_path}/none.yaml"], stdin=io.StringIO())

    assert str(raised.value) == f"{tmp_path}/none.yaml can't be read: No such file or directory"


def test_closed_standard_input_is_reported() -> None:
    with pytest.raises(UsageError, match="standard input is closed: name a file"):
        load(["-"], stdin=None)


def test_file_whose_name_is_not_utf_8_is_named_by_what_can_be_encoded(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"a\xff.yaml")
    file.write_text(DEFINITION)

    (found,) = load([str(file)], stdin=None).found

    assert found.location == rf"{tmp_path}/a\xff.yaml, document 1"


class Shelf:
    """A backend in memory. Each read takes a second."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.reads: list[Source] = []

    async def read(self, source: Source) -> Document:
        self.reads.append(source)
        await trio.sleep(1)
        result = self._held[source]
        if isinstance(result, BackendError):
            raise result
        return result

    async def maintain(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()


async def test_each_source_is_read_once_a_few_at_a_time(autojump_clock: MockClock) -> None:
    error = SourceNotFound("nothing there")
    held: dict[Source, Document | BackendError] = {Source(f"secret/data/{number}"): FULL[DB] for number in range(7)}
    held[KEYSTORE] = error
    shelf = Shelf(held)
    began = trio.current_time()

    documents = await read_all(shelf, held, concurrency=4)

    assert documents == held
    assert len(shelf.reads) == 8
    assert trio.current_time() - began == 2


async def test_store_that_answers_nothing_is_given_up_after_the_first_reads(autojump_clock: MockClock) -> None:
    """The others fail at once, without the details of those reads."""
    held: dict[Source, Document | BackendError] = {
        Source(f"secret/data/{number}"): TimedOut(f"no answer for {number}", store="no answer") for number in range(200)
    }
    shelf = Shelf(held)
    began = trio.current_time()

    documents = await read_all(shelf, held, concurrency=4)

    assert trio.current_time() - began <= 2
    assert len(shelf.reads) < 8
    assert set(map(type, documents.values())) == {TimedOut}
    assert [str(each) for each in documents.values()].count("no answer") == 200 - len(shelf.reads)


async def test_store_that_answers_is_asked_for_all(autojump_clock: MockClock) -> None:
    held: dict[Source, Document | BackendError] = {
        Source(f"secret/data/{number}"): Unavailable("the mount is down") for number in range(20)
    }
    shelf = Shelf(held)

    await read_all(shelf, held, concurrency=4)

    assert len(shelf.reads) == 20


async def test_what_takes_longer_is_announced(autojump_clock: MockClock) -> None:
    said: list[str] = []
    for seconds in (0.5, 3):
        with announced(said.append, f"waiting for {seconds} s ..."):
            await trio.sleep(seconds)
    await trio.sleep(5)

    assert said == ["waiting for 3 s ..."]


def test_vault_that_is_down_is_a_problem_of_each_key(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(DEFINITION)
    config = Config(vault=VaultConfig(url="http://127.0.0.1:1", role_id="the-role", secret_id="the-secret"))

    rendering = render(config, [str(file)], stdin=io.StringIO(), check=True)

    where = f"shop/shop-database ({file}, document 1)"
    assert not rendering.complete
    assert [line.partition(": key ")[0] for line in rendering.text.splitlines()] == [f"{where}: BackendUnavailable"] * 3
