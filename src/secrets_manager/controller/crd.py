"""The CRD's manifest, made from the structs of definition.py: what is decoded is what is declared.

The schema is structural (apiextensions.k8s.io/v1): references are put in place, null and defaults are left out. It
refuses nothing that the CRD of the Go original took; what else may be wrong with an object its condition tells.
"""

import msgspec
import yaml

from secrets_manager.controller.definition import GROUP, KIND, Spec, Status

Schema = dict[str, object]

_INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
"""The only choice between types that a structural schema knows."""

NAME = f"secretdefinitions.{GROUP}"

_HEADER = "# Made by `secrets-manager crd` from the program's own types; changes here are lost.\n"


def manifest() -> str:
    """The CustomResourceDefinition as YAML."""
    return _HEADER + yaml.safe_dump(definition(), sort_keys=False, width=110)


def definition() -> Schema:
    """The CustomResourceDefinition as an object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "secretdefinitions",
                "singular": "secretdefinition",
                "shortNames": ["sdef"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def _columns() -> list[Schema]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    return [
        _column("Secret", ".spec.name"),
        _column("Ready", f"{ready}.status"),
        _column("Reason", f"{ready}.reason"),
        _column("Last sync", ".status.lastSyncTime", "date"),
        _column("Age", ".metadata.creationTimestamp", "date"),
        _column("Message", f"{ready}.message") | {"priority": 1},
    ]


def _column(name: str, path: str, kind: str = "string") -> Schema:
    return {"name": name, "type": kind, "jsonPath": path}


def _schema() -> Schema:
    return {
        "description": "A Secret that is wanted, and where its values are read.",
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural(Spec),
            "status": _structural(Status),
        },
    }


class _JsonSchema(msgspec.Struct, frozen=True):
    """The part of JSON Schema that msgspec makes for our structs."""

    ref: str = msgspec.field(name="$ref", default="")
    type: str = ""
    description: str = ""
    format: str = ""
    any_of: tuple["_JsonSchema", ...] = msgspec.field(name="anyOf", default=())
    items: "_JsonSchema | None" = None
    properties: dict[str, "_JsonSchema"] = {}
    required: tuple[str, ...] = ()
    additional_properties: "_JsonSchema | bool" = msgspec.field(name="additionalProperties", default=False)


def _structural(struct: type[msgspec.Struct]) -> Schema:
    (root,), components = msgspec.json.schema_components([struct], ref_template="{name}")
    parts = msgspec.convert(components, dict[str, _JsonSchema])
    return _inline(msgspec.convert(root, _JsonSchema), parts)


def _inline(schema: _JsonSchema, parts: dict[str, _JsonSchema]) -> Schema:
    if schema.ref:
        return _described(_inline(parts[schema.ref], parts), schema.description)
    if schema.any_of:
        kinds = [option for option in schema.any_of if option.type != "null"]
        structural = _inline(kinds[0], parts) if len(kinds) == 1 else _INT_OR_STRING
        return _described(structural, schema.description)
    structural = {"type": schema.type}
    if schema.format:
        structural["format"] = schema.format
    if schema.required:
        structural["required"] = list(schema.required)
    if schema.properties:
        structural["properties"] = {name: _inline(part, parts) for name, part in schema.properties.items()}
    if isinstance(schema.additional_properties, _JsonSchema):
        structural["additionalProperties"] = _inline(schema.additional_properties, parts)
    if schema.items is not None:
        structural["items"] = _inline(schema.items, parts)
    return _described(structural, schema.description)


def _described(schema: Schema, description: str) -> Schema:
    return {"description": " ".join(description.split()), **schema} if description else schema
