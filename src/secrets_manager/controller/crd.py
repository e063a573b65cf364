"""Generate the CRD from the structs of definition.py.

The schema is structural (apiextensions.k8s.io/v1): references are inlined, null and defaults are omitted. The
validation rules are in rules.py. An existing definition that breaks a rule stays, and its status can be written.
"""

import msgspec
import yaml

from secrets_manager.controller.definition import KIND, Status
from secrets_manager.controller.rules import ANY_KEY, GROUP, KEYS_ONLY, KNOWN_SOURCE, REQUIRED_KEYS, validations
from secrets_manager.controller.spec import Spec

Schema = dict[str, object]

_INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
"""The only union of types in a structural schema."""
_UNOBSERVED: Schema = {"default": {"observedGeneration": Status().observed_generation}}
"""The status of a new object: to kstatus, which GitOps tools use, an object without any is ready."""

_RULES_OF_SPEC = (ANY_KEY, KNOWN_SOURCE, KEYS_ONLY, *(needed.rule for needed in REQUIRED_KEYS))

NAME = f"secretdefinitions.{GROUP}"

_HEADER = "# Made by `secrets-manager crd` from the program's own types; changes here are lost.\n"


def manifest() -> str:
    """Return the CustomResourceDefinition as YAML."""
    return _HEADER + yaml.safe_dump(definition(), sort_keys=False, width=110)


def definition() -> Schema:
    """Return the CustomResourceDefinition as an object."""
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
                "categories": ["secrets-manager"],
            },
            "scope": "Namespaced",
            "preserveUnknownFields": False,  # a CRD made by v1beta1 keeps it true otherwise, which forbids defaults
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "selectableFields": [{"jsonPath": ".spec.name"}],
                    "schema": {"openAPIV3Schema": schema()},
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


def schema() -> Schema:
    """Return the structural schema of a definition."""
    return {
        "description": "A Secret, and the sources of its values.",
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural(Spec) | validations(*_RULES_OF_SPEC),
            "status": _structural(Status) | _UNOBSERVED,
        },
    }


class _JsonSchema(msgspec.Struct, frozen=True):
    """The part of JSON Schema that msgspec generates for our structs."""

    ref: str = msgspec.field(name="$ref", default="")
    type: str = ""
    description: str = ""
    format: str = ""
    any_of: tuple["_JsonSchema", ...] = msgspec.field(name="anyOf", default=())
    items: "_JsonSchema | None" = None
    properties: dict[str, "_JsonSchema"] = {}
    required: list[str] = []
    additional_properties: "_JsonSchema | bool" = msgspec.field(name="additionalProperties", default=False)
    enum: list[str] = []
    max_items: int | None = msgspec.field(name="maxItems", default=None)
    max_properties: int | None = msgspec.field(name="maxProperties", default=None)
    max_length: int | None = msgspec.field(name="maxLength", default=None)
    list_type: str = msgspec.field(name="x-kubernetes-list-type", default="")
    list_map_keys: list[str] = msgspec.field(name="x-kubernetes-list-map-keys", default_factory=list)
    validations: list[dict[str, str]] = msgspec.field(name="x-kubernetes-validations", default_factory=list)

    @property
    def copied_keywords(self) -> Schema:
        """The keywords that a structural schema takes unchanged."""
        keywords: Schema = {
            "type": self.type,
            "format": self.format,
            "enum": self.enum,
            "maxItems": self.max_items,
            "maxProperties": self.max_properties,
            "maxLength": self.max_length,
            "required": self.required,
            "x-kubernetes-list-type": self.list_type,
            "x-kubernetes-list-map-keys": self.list_map_keys,
            "x-kubernetes-validations": self.validations,
        }
        return {keyword: value for keyword, value in keywords.items() if value}


def _structural(struct: type[msgspec.Struct]) -> Schema:
    (root,), components = msgspec.json.schema_components([struct], ref_template="{name}")
    parts = msgspec.convert(components, dict[str, _JsonSchema])
    return _inline(msgspec.convert(root, _JsonSchema), parts)


def _inline(schema: _JsonSchema, parts: dict[str, _JsonSchema]) -> Schema:
    if schema.ref:
        return _inline(parts[schema.ref], parts) | schema.copied_keywords
    if schema.any_of:
        kinds = [option for option in schema.any_of if option.type != "null"]
        structural = _inline(kinds[0], parts) if len(kinds) == 1 else _INT_OR_STRING
        return _described(structural, schema.description)
    structural = schema.copied_keywords
    if schema.properties:
        structural["properties"] = {name: _inline(part, parts) for name, part in schema.properties.items()}
    if isinstance(schema.additional_properties, _JsonSchema):
        structural["additionalProperties"] = _inline(schema.additional_properties, parts)
    if schema.items is not None:
        structural["items"] = _inline(schema.items, parts)
    return _described(structural, schema.description)


def _described(schema: Schema, description: str) -> Schema:
    return {"description": " ".join(description.split()), **schema} if description else schema
