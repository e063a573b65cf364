import re
from datetime import datetime

import msgspec
import pytest
import yaml

from fake_kubernetes.documents import Json, Object, at, items, mapping, parse, text
from fake_kubernetes.kinds import defined_by
from fake_kubernetes.schemas import causes, fitted
from fake_kubernetes.tables import table
from secrets_manager.controller.crd import definition, manifest
from secrets_manager.controller.definition import Condition, SourceStatus, Status
from secrets_manager.controller.spec import (
    DataFrom,
    DataSource,
    NamedSource,
    RolloutRestartTarget,
    SecretMetadata,
    Spec,
)
from tests.documents import ROOT, blocks
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


def test_file_in_deploy_is_what_the_program_prints() -> None:
    assert (ROOT / "deploy" / "crd.yaml").read_text() == manifest()


def test_the_first_line_names_the_command_that_makes_it() -> None:
    assert "`secrets-manager crd`" in manifest().splitlines()[0]


def test_names_are_those_of_the_original_and_a_category() -> None:
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
            "categories": ["secrets-manager"],
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


def test_kubectl_get_shows_what_the_readme_shows() -> None:
    (kind,) = defined_by(loaded())
    now = datetime.fromisoformat("2026-01-02T12:00:06Z")
    ready: Object = {"type": "Ready", "status": "True", "reason": "Synced", "message": "Secret database is in sync"}
    in_sync = definition_with(
        {"name": "database"},
        metadata={"name": "shop-database", "creationTimestamp": "2026-01-02T12:00:00Z"},
        status={"conditions": [ready], "lastSyncTime": "2026-01-02T12:00:01Z"},
    )

    shown = table(kind, [in_sync], now=now)

    heads = [(text(head, "name").upper(), at(head, "priority")) for head in items(shown, "columnDefinitions")]
    (row,) = items(shown, "rows")
    printed = [re.split(r" {2,}", line) for line in blocks("README.md#a-definition", "")[0].splitlines()]
    assert printed == [[name for name, priority in heads if priority == 0], items(row, "cells")[:-1]]
    assert (heads[-1], items(row, "cells")[-1]) == (("MESSAGE", 1), "Secret database is in sync")


def test_every_part_of_the_schema_is_structural() -> None:
    allowed = {"type", "description", "format", "required", "properties", "items", "additionalProperties", "enum"}
    allowed |= {"default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations"}
    allowed |= {"maxItems", "maxProperties", "maxLength"}
    types = {"object", "array", "string", "integer", "boolean"}

    asked = "Version to stay at, a number or a text, where the backend counts them; without it, the newest."
    assert [node for node in nodes(schema()) if node.keys() - allowed or at(node, "type") not in types] == [
        *[{"description": asked, **INT_OR_STRING}] * 3,
        {"description": "Version that was read, where the backend counts them.", **INT_OR_STRING},
    ]


@pytest.mark.parametrize("word", ["$ref", "$defs", "anyOf", "title", "null"])
def test_nothing_is_left_of(word: str) -> None:
    assert word not in manifest().split()
    assert [node for node in nodes(schema()) if word in node or at(node, "type") == word] == []


@pytest.mark.parametrize(
    ("struct", "path"),
    [
        (Spec, ("spec",)),
        (DataSource, ("spec", "keysMap")),
        (DataFrom, ("spec", "dataFrom")),
        (NamedSource, ("spec", "sources")),
        (SecretMetadata, ("spec", "metadata")),
        (RolloutRestartTarget, ("spec", "rolloutRestartTargets")),
        (Status, ("status",)),
        (Condition, ("status", "conditions")),
        (SourceStatus, ("status", "sources")),
    ],
)
def test_every_field_that_is_decoded_is_declared(struct: type[msgspec.Struct], path: tuple[str, ...]) -> None:
    node: Json = schema()
    for step in path:
        node = at(node, "properties", step)
    node = at(node, "additionalProperties") or at(node, "items") or node

    assert tuple(mapping(node, "properties")) == struct.__struct_encode_fields__


def test_every_field_that_users_write_is_explained() -> None:
    of_spec = mapping(schema(), "properties", "spec")

    unexplained = [node for node in nodes(of_spec) if not at(node, "description")]
    assert [node for node in unexplained if node.keys() - {"type", "maxLength"}] == []  # items of lists and maps


def test_new_definition_has_a_status_that_speaks_of_no_generation() -> None:
    assert [node["default"] for node in nodes(schema()) if "default" in node] == [{"observedGeneration": -1}]
    assert at(schema(), "properties", "status", "default") == {"observedGeneration": -1}


def test_conditions_are_a_list_by_type() -> None:
    conditions = at(schema(), "properties", "status", "properties", "conditions")

    assert (at(conditions, "x-kubernetes-list-type"), at(conditions, "x-kubernetes-list-map-keys")) == ("map", ["type"])


def test_definitions_can_be_selected_by_the_name_of_their_secret() -> None:
    assert at(version(), "selectableFields") == [{"jsonPath": ".spec.name"}]


def test_a_field_of_the_original_has_no_limit_which_would_hide_the_words_of_its_rules() -> None:
    limits = {"enum", "pattern", "minLength", "maxLength", "maxItems", "minProperties", "maxProperties"}
    spec = mapping(schema(), "properties", "spec", "properties")
    read = mapping(spec, "keysMap", "additionalProperties", "properties")
    fields = [spec["name"], spec["type"], spec["keysMap"], *(read[name] for name in ("path", "key", "encoding"))]

    assert [field for field in fields if mapping(field).keys() & limits] == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"keysMap": {"pw": PW}}, "spec.name", id="no name"),
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
