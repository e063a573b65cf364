import msgspec
import pytest
import yaml

from secrets_manager.controller.crd import definition, manifest
from secrets_manager.controller.definition import Condition, DataSource, SourceStatus, Spec, Status
from secrets_manager.demo.api.documents import Json, Object, at, items, mapping, parse
from secrets_manager.demo.api.schemas import causes, fitted
from tests.gen import NOW, spec


def loaded() -> Object:
    document: Object = yaml.safe_load(manifest())
    return document


def version() -> Json:
    (only,) = items(loaded(), "spec", "versions")
    return only


def schema() -> Object:
    return mapping(version(), "schema", "openAPIV3Schema")


def nodes(node: Object) -> list[Object]:
    """The schema and all schemas within it."""
    inner = [*mapping(node, "properties").values(), at(node, "items"), at(node, "additionalProperties")]
    return [node, *(deeper for part in inner if isinstance(part, dict) for deeper in nodes(part))]


def definition_with(spec: Json, **fields: Json) -> Object:
    return {
        "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
        "kind": "SecretDefinition",
        "metadata": {"name": "db"},
        "spec": spec,
        **fields,
    }


PW: Object = {"path": "secret/data/db", "key": "password"}


def test_yaml_says_what_the_object_says() -> None:
    assert loaded() == definition()


def test_yaml_tells_that_it_is_made() -> None:
    assert manifest().splitlines()[0] == (
        "# Made by `secrets-manager crd` from the program's own types; changes here are lost."
    )


def test_names_are_those_of_the_original() -> None:
    assert at(loaded(), "metadata", "name") == "secretdefinitions.secrets-manager.tuenti.io"
    assert (at(loaded(), "spec", "group"), at(loaded(), "spec", "scope"), at(loaded(), "spec", "names")) == (
        "secrets-manager.tuenti.io",
        "Namespaced",
        {
            "kind": "SecretDefinition",
            "listKind": "SecretDefinitionList",
            "plural": "secretdefinitions",
            "singular": "secretdefinition",
            "shortNames": ["sdef"],
        },
    )


INT_OR_STRING: Object = {"x-kubernetes-int-or-string": True}


def test_one_version_is_served_and_stored_with_a_status_of_its_own() -> None:
    assert {name: at(version(), name) for name in ("name", "served", "storage", "subresources")} == {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
    }


def test_kubectl_get_shows_the_state_at_a_glance() -> None:
    assert [
        (at(column, "name"), at(column, "jsonPath")) for column in items(version(), "additionalPrinterColumns")
    ] == [
        ("Secret", ".spec.name"),
        ("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        ("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        ("Last sync", ".status.lastSyncTime"),
        ("Age", ".metadata.creationTimestamp"),
        ("Message", '.status.conditions[?(@.type=="Ready")].message'),
    ]


def test_every_part_of_the_schema_is_structural() -> None:
    allowed = {"type", "description", "format", "required", "properties", "items", "additionalProperties"}
    types = {"object", "array", "string", "integer"}

    assert [node for node in nodes(schema()) if node.keys() - allowed or at(node, "type") not in types] == [
        {"description": "Version to stay at, where the backend counts them; without it, the newest.", **INT_OR_STRING},
        {"description": "Version that was read, where the backend counts them.", **INT_OR_STRING},
    ]


@pytest.mark.parametrize("word", ["$ref", "$defs", "anyOf", "default", "title", "null"])
def test_nothing_is_left_of(word: str) -> None:
    assert word not in manifest().replace("(the default)", "").split()
    assert [node for node in nodes(schema()) if word in node or at(node, "type") == word] == []


@pytest.mark.parametrize(
    ("struct", "path"),
    [
        (Spec, ("spec",)),
        (DataSource, ("spec", "keysMap")),
        (Status, ("status",)),
        (Condition, ("status", "conditions")),
        (SourceStatus, ("status", "sources")),
    ],
)
def test_every_field_that_is_decoded_is_declared(
    struct: type[Spec | DataSource | Status | Condition | SourceStatus], path: tuple[str, ...]
) -> None:
    node: Json = schema()
    for step in path:
        node = at(node, "properties", step)
    node = at(node, "additionalProperties") or at(node, "items") or node

    assert tuple(mapping(node, "properties")) == struct.__struct_encode_fields__


def test_every_field_that_users_write_is_explained() -> None:
    of_spec = mapping(schema(), "properties", "spec")

    assert [node for node in nodes(of_spec) if not at(node, "description")] == []


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(definition_with({"name": "db", "keysMap": {"pw": PW}}), id="smallest"),
        pytest.param(definition_with({"name": "db", "keysMap": {}}), id="no keys"),
        pytest.param(definition_with({"name": "", "keysMap": {"": {"path": "", "key": ""}}}), id="empty texts"),
        pytest.param(definition_with({"name": "db", "type": "", "keysMap": {"pw": PW}}), id="empty type"),
        pytest.param(definition_with({"name": "db", "type": "my/own", "keysMap": {"pw": PW}}), id="own type"),
        pytest.param(definition_with({"name": "db", "keysMap": {"pw": PW | {"encoding": ""}}}), id="empty encoding"),
        pytest.param(definition_with({"name": "db", "keysMap": {"pw": PW | {"encoding": "rot13"}}}), id="any encoding"),
        pytest.param(definition_with({"name": "db", "keysMap": {"pw": PW}}, status={}), id="empty status"),
        pytest.param(
            definition_with({"name": "db", "keysMap": {"pw": PW}}) | {"metadata": {}}, id="no name of its own"
        ),
        pytest.param({"metadata": {"name": "db"}}, id="no spec"),
    ],
)
def test_what_the_crd_of_the_original_took_is_taken(document: Object) -> None:
    unknown: list[str] = []

    assert list(causes(schema(), document)) == []
    assert (fitted(schema(), {**document, "metadata": {}}, unknown=unknown), unknown) == (
        {**document, "metadata": {}},
        [],
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"keysMap": {"pw": PW}}, "spec.name", id="no name"),
        pytest.param({"name": "db"}, "spec.keysMap", id="no keysMap"),
        pytest.param({"name": "db", "keysMap": {"pw": {"key": "a"}}}, "spec.keysMap.pw.path", id="no path"),
        pytest.param({"name": "db", "keysMap": {"pw": {"path": "a"}}}, "spec.keysMap.pw.key", id="no key"),
        pytest.param({"name": 5, "keysMap": {}}, "spec.name", id="name is a number"),
        pytest.param({"name": "db", "keysMap": []}, "spec.keysMap", id="keysMap is a list"),
        pytest.param(
            {"name": "db", "keysMap": {"pw": PW | {"encoding": 64}}}, "spec.keysMap.pw.encoding", id="encoding"
        ),
    ],
)
def test_what_the_original_refused_is_refused(spec: Json, field: str) -> None:
    assert [cause.field for cause in causes(schema(), definition_with(spec))] == [field]


def test_status_that_the_program_writes_is_taken_whole() -> None:
    full = Status(
        conditions=(
            Condition(
                type="Ready",
                status="True",
                reason="Synced",
                message="Secret db is in sync",
                last_transition_time=NOW,
                observed_generation=3,
            ),
        ),
        observed_generation=3,
        last_sync_time=NOW,
        secret_name="db",
        sources=(SourceStatus(path="secret/data/db", version=7), SourceStatus(path="kv1/app")),
    )
    document = definition_with(as_json(spec()), status=as_json(full))
    unknown: list[str] = []

    assert list(causes(schema(), document)) == []
    assert fitted(schema(), document | {"metadata": {}}, unknown=unknown) == document | {"metadata": {}}
    assert unknown == []


@pytest.mark.parametrize("version", [3, "3", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"])
def test_a_version_is_a_number_or_a_text(version: Json) -> None:
    document = definition_with({"name": "db", "keysMap": {"pw": PW | {"version": version}}})

    assert list(causes(schema(), document)) == []


def as_json(struct: Spec | Status) -> Object:
    return parse(msgspec.json.encode(struct))
